"""Whose turn it is to begin a TLS handshake: so many a second, the rest in line. Pure.

A handshake costs a thousand times what a message costs. When all phones come back after an outage, those in line wait a
moment and calls go on meanwhile; without a line all would wait for all handshakes.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

AT_ONCE = 0.05
"""Seconds' worth of handshakes begun at once: for so long no message is looked at in the worst case."""


class Turns(Generic[T]):
    """At most `rate` a second begin in the long run, the others in the order in which they came."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._line: OrderedDict[T, None] = OrderedDict()
        self._left = 0.0
        self._at = float("-inf")

    def __len__(self) -> int:
        return len(self._line)

    def take(self, what: T, now: float) -> bool:
        """Whether `what` may begin at once; else it stands in line until `due` hands it out."""
        self._refill(now)
        if not self._line and self._left >= 1.0:
            self._left -= 1.0
            return True
        self._line[what] = None
        return False

    def due(self, now: float) -> list[T]:
        """Those whose turn has come."""
        self._refill(now)
        found = []
        while self._line and self._left >= 1.0:
            self._left -= 1.0
            found.append(self._line.popitem(last=False)[0])
        return found

    def leave(self, what: T) -> None:
        """`what` is gone; it need not have stood in line."""
        self._line.pop(what, None)

    def _refill(self, now: float) -> None:
        most = max(self.rate * AT_ONCE, 1.0)
        self._left = min(self._left + max(now - self._at, 0.0) * self.rate, most)
        self._at = now
