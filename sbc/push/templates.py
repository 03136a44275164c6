"""Message templates: JSON with keywords, checked when loaded, filled in by joining prepared pieces.  [pure]

A keyword may stand inside a text (``"ttl": "TTLNUMs"``) or, if its value is a number, bare (``"type": TYPE``). The
longest keyword that matches counts (TOUSERNAME before TO). Text after a line ``--EOF--`` is ignored. Values are
JSON-escaped. A member whose whole value is one keyword from ``DROPPED_WHEN_EMPTY`` is left out when that keyword is
empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sbc.push.tokens import FCM

# Keywords whose values are numbers, so that they may stand outside quotes.
NUMBERS = ("TYPE", "TTLNUM", "APRIORITY")
KEYWORDS = (
    *("PACKAGE", "TOKEN", "TO", "TOUSERNAME", "FROM", "FROMUSERNAME", "FROMDISPLAYNAME", "CALLID", "COLLAPSEID"),
    *("PRIORITY", "NPRIORITY", "PUSHTYPE", "SOUND", "MSG", "MESSAGE", "TITLE", "BODY", "PUSHID", *NUMBERS),
)
# Words that contain a keyword but stand for themselves.
LITERALS = ("PRIORITY_MAX", "PRIORITY_HIGH")
DROPPED_WHEN_EMPTY = ("SOUND", "COLLAPSEID")
# What is shortened first when a message is too long; a shortened CALLID or address is of little use, so they come last.
CUTTABLE = ("MESSAGE", "MSG", "BODY", "TITLE", "FROMDISPLAYNAME", "FROM", "TO", "FROMUSERNAME", "TOUSERNAME", "CALLID")
# Bytes of a template file: the largest message is 5,120.
MAX_TEMPLATE = 32 * 1024
# Bytes that every template must fit into before keywords add to it: what Web Push takes, the least of all providers.
SMALLEST_LIMIT = 3993
# Prepared forms of one template: platforms times kinds of push times empty keywords.
MAX_FORMS = 64

JsonPath = tuple[str, ...]

_FIND = re.compile("|".join(sorted((*KEYWORDS, *LITERALS), key=len, reverse=True)))
_EOF = re.compile(r"^--EOF--[ \t]*\r?$", re.MULTILINE)
# A number that no template holds by chance stands for each keyword while the JSON is taken apart.
_MARK = {name: f"7190432865{index:02d}" for index, name in enumerate(KEYWORDS)}
_NAME = {mark: name for name, mark in _MARK.items()}
_MARKED = re.compile("|".join(_NAME))


class TemplateError(ValueError):
    """A template that cannot be used; ``str()`` is ``path:line:column: what``."""

    def __init__(self, path: str, line: int, column: int, what: str) -> None:
        super().__init__(f"{path}:{line}:{column}: {what}")
        self.path, self.line, self.column, self.what = path, line, column, what


class MessageTooLongError(ValueError):
    """What cannot be cut is already longer than the provider takes."""


class Template:
    """One checked template. ``render`` fills it in."""

    def __init__(self, text: str, provider: str, path: str) -> None:
        """Check *text*; *provider* adds its own rules, *path* only names the file. Raises TemplateError."""
        self.provider, self.path = provider, path
        text = text.removeprefix("\ufeff")
        ending = _EOF.search(text)
        if ending is not None:
            text = text[: ending.start()]
        if len(text) > MAX_TEMPLATE:
            raise TemplateError(path, 1, 1, f"is longer than {MAX_TEMPLATE} characters")
        _check(text, path)
        marked = _FIND.sub(lambda match: _MARK.get(match[0], match[0]), text)
        self._tree: dict[str, Any] = json.loads(marked)
        if not isinstance(self._tree, dict):
            raise TemplateError(path, 1, 1, "must be a JSON object")
        if provider == FCM:
            self._check_fcm()
        self._forms: dict[tuple[frozenset[JsonPath], tuple[bool, ...]], list[str]] = {}
        try:
            self.render(dict.fromkeys(KEYWORDS, ""), SMALLEST_LIMIT)
        except MessageTooLongError:
            what = f"makes messages of more than {SMALLEST_LIMIT} bytes before any text"
            raise TemplateError(path, 1, 1, what) from None

    def _check_fcm(self) -> None:
        message = self._tree.get("message")
        if not isinstance(message, dict):
            raise TemplateError(self.path, 1, 1, 'needs the object "message" of the FCM HTTP v1 protocol')
        pieces = message.get("data")
        if isinstance(pieces, dict):
            # FCM takes nothing but texts here.
            message["data"] = {
                name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                for name, value in pieces.items()
            }

    def render(self, values: Mapping[str, str], limit: int, drop: frozenset[JsonPath] = frozenset()) -> bytes:
        """The message as UTF-8 JSON of at most *limit* bytes; *drop* names members to leave out.

        *values* has every keyword. Long texts are cut where needed; MessageTooLongError when that does not suffice.
        """
        empty = tuple(not values[name] for name in DROPPED_WHEN_EMPTY)
        form = self._forms.get((drop, empty))
        if form is None:
            form = self._form(drop, empty)
        body = _fill(form, values)
        return body if len(body) <= limit else _shortened(form, values, limit)

    def _form(self, drop: frozenset[JsonPath], empty: tuple[bool, ...]) -> list[str]:
        """The pieces of this template without *drop*: at even places text, at odd ones names of keywords."""
        absent = {_MARK[name] for name, missing in zip(DROPPED_WHEN_EMPTY, empty, strict=True) if missing}
        tree = _pruned(self._tree, (), drop, absent)
        text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
        form: list[str] = []
        at = 0
        for match in _MARKED.finditer(text):
            form += (text[at : match.start()], _NAME[match[0]])
            at = match.end()
        form.append(text[at:])
        if len(self._forms) >= MAX_FORMS:
            self._forms.clear()
        self._forms[drop, empty] = form
        return form


def _pruned(value: Any, path: JsonPath, drop: frozenset[JsonPath], absent: set[str]) -> Any:
    if isinstance(value, dict):
        kept = {}
        for name, member in value.items():
            place = (*path, name)
            if place not in drop and not (isinstance(member, str) and member in absent):
                kept[name] = _pruned(member, place, drop, absent)
        return kept
    if isinstance(value, list):
        return [_pruned(member, path, drop, absent) for member in value]
    return value


def _fill(form: list[str], values: Mapping[str, str]) -> bytes:
    pieces = form.copy()
    for index in range(1, len(pieces), 2):
        pieces[index] = _escaped(values[pieces[index]])
    return "".join(pieces).encode("utf-8", "replace")


_PLAIN = re.compile(r'[^"\\\x00-\x1f\x7f\ud800-\udfff]*\Z')


def _escaped(text: str) -> str:
    """*text* as it stands between the quotes of a JSON string; lone surrogates become question marks."""
    if _PLAIN.match(text):
        return text
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")


def _shortened(form: list[str], values: Mapping[str, str], limit: int) -> bytes:
    """Cut the texts of CUTTABLE, in that order, each only as far as needed."""
    cut = dict(values)
    for name in CUTTABLE:
        if name not in form or not cut[name]:
            continue
        kept, longest = 0, len(cut[name])
        # The longest beginning that fits: the length of the message grows with the length of the text.
        while kept < longest:
            middle = (kept + longest + 1) // 2
            if len(_fill(form, {**cut, name: values[name][:middle]})) <= limit:
                kept = middle
            else:
                longest = middle - 1
        cut[name] = values[name][:kept]
        body = _fill(form, cut)
        if len(body) <= limit:
            return body
    raise MessageTooLongError(f"the message is longer than {limit} bytes even with all texts cut")


def _check(text: str, path: str) -> None:
    """Raise TemplateError, with the place in *text*, unless it is JSON once the keywords are replaced."""
    pieces: list[str] = []
    origins: list[tuple[int, int]] = []  # (offset in the sample, offset in the template) of each piece
    at = size = 0
    for match in _FIND.finditer(text):
        sample = "1" if match[0] in NUMBERS else "a\\u0022b"
        for piece, origin in ((text[at : match.start()], at), (sample, match.start())):
            origins.append((size, origin))
            pieces.append(piece)
            size += len(piece)
        at = match.end()
    origins.append((size, at))
    pieces.append(text[at:])
    try:
        json.loads("".join(pieces), object_pairs_hook=_no_doubles)
    except json.JSONDecodeError as error:
        place = _origin(origins, error.pos)
        line = text.count("\n", 0, place) + 1
        column = place - text.rfind("\n", 0, place)
        raise TemplateError(path, line, column, error.msg) from None
    except ValueError as error:
        raise TemplateError(path, 1, 1, str(error)) from None
    except RecursionError:
        raise TemplateError(path, 1, 1, "is nested too deeply") from None


def _origin(origins: list[tuple[int, int]], position: int) -> int:
    start, origin = max(pair for pair in origins if pair[0] <= position)
    following = min((pair[1] for pair in origins if pair[0] > position), default=origin + position - start)
    return min(origin + position - start, following)


def _no_doubles(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f'"{name}" stands there twice in one object')
        found[name] = value
    return found
