"""Patterns of routing rules: what the operator writes for a caller or a called number. Pure.

`*` stands for any text, `?` for any one character, `#` for any one digit; all else stands for itself, letters in any
case. Each run of such signs is a capture, `{1}`, `{2}` and so on in a rewrite. Matching takes no time worth
speaking of, whatever a stranger sends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_STARS = 2
"""`*` in one pattern: each one multiplies the ways to match by the length of the text."""
MAX_LENGTH = 200
"""Characters of a pattern, and of what is matched (longer texts fit nothing but `*`)."""

_WILD = re.compile(r"[*?#]+")
_NUMBERED = re.compile(r"\{(\d)\}")


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
        if text.count("*") > MAX_STARS:
            raise ValueError(f"must not have more than {MAX_STARS} stars")
        parts, at = [], 0
        for wild in _WILD.finditer(text):
            parts += [re.escape(text[at : wild.start()]), "(", *(_SIGNS[sign] for sign in wild.group()), ")"]
            at = wild.end()
        parts.append(re.escape(text[at:]))
        return cls(text, re.compile("".join(parts), re.IGNORECASE | re.DOTALL))

    def match(self, text: str) -> tuple[str, ...] | None:
        """The captures, where the whole text fits."""
        if len(text) > MAX_LENGTH:
            return (text,) if self.text == "*" else None
        found = self._regex.fullmatch(text)
        return found.groups() if found is not None else None

    @property
    def captures(self) -> int:
        """How many captures there are."""
        return self._regex.groups


_SIGNS = {"*": ".*", "?": ".", "#": "[0-9]"}


def check_rewrite(template: str, patterns: tuple[Pattern, ...]) -> None:
    """ValueError where a rewrite names a capture that a pattern lacks."""
    wanted = max((int(number) for number in _NUMBERED.findall(template)), default=0)
    least = min((pattern.captures for pattern in patterns), default=0)
    if wanted > least:
        raise ValueError(f"names {{{wanted}}}, and the pattern has {least} captures")


def rewritten(template: str, captures: tuple[str, ...]) -> str:
    """A rewrite with its captures put in."""
    return _NUMBERED.sub(lambda found: captures[int(found[1]) - 1], template)
