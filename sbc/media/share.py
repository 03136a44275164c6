"""What each of several media processes may lend of what all have in common.  [pure]"""

from __future__ import annotations

from typing import NamedTuple


class Share(NamedTuple):
    """A worker's part of what all have in common."""

    number: int = 0
    of: int = 1

    def part(self, whole: range) -> range:
        """The slice that is this worker's."""
        return whole[len(whole) * self.number // self.of : len(whole) * (self.number + 1) // self.of]

    def owner(self, whole: range, value: int) -> int:
        """The number of the worker whose slice has this value, which is in `whole`."""
        return next(number for number in range(self.of) if value in Share(number, self.of).part(whole))


def pairs(first: int, last: int) -> range:
    """The even ports of a range of which the odd one above is also in the range."""
    return range(first + first % 2, last, 2)
