"""Regular expressions of routing rules: those alone that match in a bounded time, whatever a stranger sends. Pure.

Python's matcher goes back and tries again. How often it can is read from the expression before it is compiled: the
number of ways in which it could match a text of the greatest length. An expression with more than `MAX_WAYS` is
refused, so that none is slower than in proportion to the length, times a known bound. What would make that number
unknowable (back references, looking around, names of groups) is no part of the language here.
"""

from __future__ import annotations

import re

MAX_WAYS = 100_000
"""Ways to match one text: two `.*` have 40,000 at 200 characters; a failed match then takes a millisecond or two."""
MAX_REPEAT = 200
"""The largest number in braces: no longer text is matched."""

_ESCAPED = frozenset("dDwWsS.^$*+?{}[]\\|()/-")
"""What may follow a backslash: classes of characters, and signs that stand for themselves."""
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\[\\])*\]")
_BRACES = re.compile(r"\{(\d{1,3})(,(\d{1,3})?)?\}")

Measure = tuple[int, int]
"""Of a piece: in how many ways it can match at one place, and how many characters it takes at least."""


def compiled(text: str, longest: int) -> re.Pattern[str]:
    """The expression `text`, for whole texts of up to `longest` characters, in any case of letters.

    Raises ValueError, with the end of a sentence, for what is none or could take long.
    """
    reader = _Reader(text, longest)
    ways, _ = reader.alternatives()
    if reader.at < len(text):
        raise ValueError("has a ) without a (")
    if ways > MAX_WAYS:
        raise ValueError("could take long to match: use fewer *, + and ? beside each other, or none inside ( )*")
    try:
        return re.compile(text, re.IGNORECASE | re.DOTALL)
    except re.error as mistake:
        raise ValueError(f"is no regular expression: {mistake}") from None


class _Reader:
    """Reads an expression from left to right and measures it."""

    def __init__(self, text: str, longest: int) -> None:
        self.text = text
        self.longest = longest
        self.at = 0

    def alternatives(self) -> Measure:
        """`a|b|c`, up to the end or the bracket that closes it."""
        ways, least = self._sequence()
        while self._next("|"):
            others, shortest = self._sequence()
            ways, least = ways + others, min(least, shortest)
        return ways, least

    def _sequence(self) -> Measure:
        ways, least = 1, 0
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            more, length = self._repeated(self._piece())
            ways, least = _capped(ways * more), least + length
        return ways, least

    def _piece(self) -> Measure:
        """One character, class of characters or group."""
        sign = self.text[self.at]
        if sign in "*+?{":
            raise ValueError(f"repeats nothing with {sign}")
        if sign in "^$":
            raise ValueError(f"need not say {sign}: the whole text is compared; write \\{sign} for the sign itself")
        if sign == "(":
            return self._group()
        if sign == "[":
            return self._class()
        if sign == "\\":
            if self.text[self.at + 1 : self.at + 2] not in _ESCAPED or self.at + 1 == len(self.text):
                raise ValueError(f"has {self.text[self.at : self.at + 2]!r}, which is not known here")
            self.at += 1
        self.at += 1
        return 1, 1

    def _group(self) -> Measure:
        self.at += 1
        if self._next("?") and not self._next(":"):
            raise ValueError("has a (? that is not known here: only ( ) and (?: )")
        measure = self.alternatives()
        if not self._next(")"):
            raise ValueError("has a ( without a )")
        return measure

    def _class(self) -> Measure:
        found = _CLASS.match(self.text, self.at)
        if found is None:
            raise ValueError("has a [ without a ]")
        self.at = found.end()
        return 1, 1

    def _repeated(self, piece: Measure) -> Measure:
        """The piece with the sign behind it that says how often."""
        least, most = self._times()
        self._next("?")  # as few as possible, which are as many ways
        if self._next("+"):
            raise ValueError("has a + behind a repetition, which is not known here")
        ways, length = piece
        if most is None or most > self.longest // max(1, length):
            most = max(least, self.longest // max(1, length))
        if most > 1 and length == 0:
            raise ValueError("repeats what may be empty")
        total, power = 0, _power(ways, least)
        for _ in range(least, most + 1):
            total = _capped(total + power)
            power = _capped(power * ways)
        return total, least * length

    def _times(self) -> tuple[int, int | None]:
        for sign, times in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._next(sign):
                return times
        if self.text[self.at : self.at + 1] != "{":
            return 1, 1
        found = _BRACES.match(self.text, self.at)
        if found is None:
            raise ValueError("has a { without numbers and }")
        self.at = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] else None
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise ValueError(f"has {found[0]}: numbers up to {MAX_REPEAT}, the smaller one first")
        return least, most

    def _next(self, sign: str) -> bool:
        if self.text.startswith(sign, self.at):
            self.at += 1
            return True
        return False


def _power(ways: int, times: int) -> int:
    total = 1
    for _ in range(times):
        total = _capped(total * ways)
    return total


def _capped(number: int) -> int:
    """Beyond the limit numbers need not be exact, only remain small enough to count with."""
    return min(number, MAX_WAYS + 1)
