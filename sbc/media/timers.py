"""Calls that are due later, for a loop without a reactor."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from time import monotonic


class Timer:
    """One call. `cancel` it as long as it was not made."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Do not make it."""
        self.call = None


class Timers:
    """Calls in the order in which they are due; `clock()` are seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._due: list[tuple[float, int, Timer]] = []
        self._number = count()

    def later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call when so many seconds are over."""
        timer = Timer(call)
        heapq.heappush(self._due, (self.clock() + seconds, next(self._number), timer))
        return timer

    def wait(self, longest: float) -> float:
        """Seconds until the next call is due, `longest` at most."""
        return max(0.0, min(longest, self._due[0][0] - self.clock())) if self._due else longest

    def run(self) -> None:
        """Make the calls that are due."""
        now = self.clock()
        while self._due and self._due[0][0] <= now:
            call = heapq.heappop(self._due)[2].call
            if call is not None:
                call()
