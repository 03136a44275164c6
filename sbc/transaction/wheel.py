"""A timer wheel for transactions: arming and disarming cost one dictionary entry each, whatever the number."""

from __future__ import annotations

from typing import Final, Generic, Protocol, TypeVar

#: Seconds per slot. Retransmissions are late by up to this much; the shortest RFC timer is ten times as long.
TICK: Final = 0.05
#: Slots. 51.2 s reach beyond every timer but C, which comes round again.
SLOTS: Final = 1024
_PER_SECOND: Final = 1 / TICK
#: Added before rounding down, so that a time made by multiplying a tick counts as that tick.
_EXACT: Final = 1e-6

NEVER: Final = float("inf")


class Timed(Protocol):
    """Something that waits. `armed` is the wheel's own: the tick it waits in, 0 when in none."""

    armed: int


T = TypeVar("T", bound=Timed)


class Wheel(Generic[T]):
    """Holds things until they are due. Moving a due time later costs nothing: it is noticed when the thing comes up.

    Two ticks may share a slot for a while; then something comes up early. Who takes it out looks at the time anyway.
    """

    __slots__ = ("_count", "_next", "_slots")

    def __init__(self) -> None:
        self._slots: list[dict[T, None]] = [{} for _ in range(SLOTS)]
        self._count = 0
        self._next = 0  # tick of the first slot that is not empty; any number when all are

    def __len__(self) -> int:
        return self._count

    def arm(self, thing: T, due: float, now: float) -> None:
        """Wake `thing` when it is due, NEVER for not at all. To be called after every change of that time."""
        armed = thing.armed
        if due == NEVER:
            if armed:
                self.disarm(thing)
            return
        tick = int(due * _PER_SECOND) + 1
        if armed:
            if armed <= tick:
                return
            self.disarm(thing)
        if self._count:
            first = self._next
            if tick >= first + SLOTS:
                tick = first + SLOTS - 1
            elif tick < first:
                tick = max(tick, int(now * _PER_SECOND) + 1)
                if tick < first:
                    self._next = tick
        else:
            first = int(now * _PER_SECOND) + 1
            self._next = tick = max(min(tick, first + SLOTS - 1), first)
        thing.armed = tick
        self._slots[tick % SLOTS][thing] = None
        self._count += 1

    def disarm(self, thing: T) -> None:
        """Forget `thing`."""
        if thing.armed:
            del self._slots[thing.armed % SLOTS][thing]
            thing.armed = 0
            self._count -= 1

    def deadline(self) -> float | None:
        """When `expire` has something to do at the earliest; None when nothing waits."""
        return self._next * TICK if self._count else None

    def expire(self, now: float) -> list[T]:
        """Take out everything that may be due; what is not, or not for the last time, the caller arms again."""
        found: list[T] = []
        reached = int(now * _PER_SECOND + _EXACT)
        while self._count and self._next <= reached:
            slot = self._slots[self._next % SLOTS]
            if slot:
                self._slots[self._next % SLOTS] = {}
                self._count -= len(slot)
                found += slot
                for thing in slot:
                    thing.armed = 0
            self._next += 1
        if self._count:
            while not self._slots[self._next % SLOTS]:
                self._next += 1
        return found
