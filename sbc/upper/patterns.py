"""Patterns of routing rules: what the operator writes for a caller or a called number. Pure.

`*` stands for any text, `?` for any one character, `#` for any one digit; all else stands for itself, letters in any
case. Each run of such signs is a capture. What stands between slashes, `/00([1-9]\\d*)/`, is a regular expression for
the whole text (see `expressions`), whose brackets are the captures. A rewrite names them `{1}`, `{2}` and so on.
Matching takes no time worth speaking of, whatever a stranger sends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sbc.upper.expressions import compiled

MAX_STARS = 2
"""`*` in one pattern: each one multiplies the ways to match by the length of the text."""
MAX_LENGTH = 200
"""Characters of a pattern, and of what is matched (longer texts fit nothing but `*`)."""

_WILD = re.compile(r"[*?#]+")
_LISTED = re.compile(r"\s*(/.*?/\s*(?=,|$)|[^,]*)(?:,|$)", re.DOTALL)
_NAMED = re.compile(r"\{(?:(caller|called)(?:\.([1-9]))?|([1-9]))\}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, read."""

    text: str
    _regex: re.Pattern[str]

    @classmethod
    def read(cls, text: str) -> Pattern:
        """ValueError, with the end of a sentence, for what is no pattern."""
        if not text or len(text) > MAX_LENGTH:
            raise ValueError(f"must have 1 to {MAX_LENGTH} characters")
        if len(text) > 2 and text[0] == text[-1] == "/":
            return cls(text, compiled(text[1:-1], MAX_LENGTH))
        if text.count("*") > MAX_STARS:
            raise ValueError(f"must not have more than {MAX_STARS} stars")
        parts, at = [], 0
        for wild in _WILD.finditer(text):
            parts += [re.escape(text[at : wild.start()]), "(", *(_SIGNS[sign] for sign in wild.group()), ")"]
            at = wild.end()
        parts.append(re.escape(text[at:]))
        return cls(text, re.compile("".join(parts), re.IGNORECASE | re.DOTALL))

    def match(self, text: str) -> tuple[str, ...] | None:
        """The captures, where the whole text fits; one that took no part is empty."""
        if len(text) > MAX_LENGTH:
            return (text,) if self.text == "*" else None
        found = self._regex.fullmatch(text)
        return found.groups("") if found is not None else None

    @property
    def captures(self) -> int:
        """How many captures there are."""
        return self._regex.groups


_SIGNS = {"*": ".*", "?": ".", "#": "[0-9]"}


def listed(text: str) -> list[str]:
    """The patterns of a text with commas; those in a regular expression part nothing."""
    return [found.strip() for found in _LISTED.findall(text) if found.strip()]


CALLER, CALLED = "caller", "called"


@dataclass(frozen=True, slots=True)
class Matched:
    """Whom a rule was fitted to: the whole name, and its captures."""

    text: str
    captures: tuple[str, ...] = ()


def check_rewrite(template: str, own: str, patterns: Mapping[str, tuple[Pattern, ...]]) -> None:
    """ValueError where a rewrite names a capture that a pattern lacks, or has another {. See `rewritten`."""
    if _NAMED.sub("", template).count("{"):
        raise ValueError("has a { that is none of {1}, {caller}, {caller.1}, {called}, {called.1}")
    for whose, theirs, ours in _NAMED.findall(template):
        least = min((pattern.captures for pattern in patterns[whose or own]), default=0)
        if int(theirs or ours or 0) > least:
            raise ValueError(f"names capture {theirs or ours}, and the pattern of {whose or own} has {least}")


def rewritten(template: str, own: str, matched: Mapping[str, Matched]) -> str:
    """A rewrite with its captures put in: `{1}` is one of the name that is written anew (`own`, CALLER or CALLED),
    `{caller.1}` and `{called.1}` are those of either, `{caller}` and `{called}` the whole names."""

    def put(found: re.Match[str]) -> str:
        one, number = matched[found[1] or own], found[2] or found[3]
        return one.captures[int(number) - 1] if number else one.text

    return _NAMED.sub(put, template)
