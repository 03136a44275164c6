"""A coarse table of deadlines: one set a second, looked at once. Pure."""

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Which of many things are due. Setting, moving and forgetting a deadline costs a few dictionary look-ups."""

    def __init__(self) -> None:
        self._due: dict[T, float] = {}
        self._slot: dict[T, int] = {}
        self._slots: dict[int, set[T]] = {}

    def __len__(self) -> int:
        return len(self._due)

    def set(self, what: T, due: float) -> None:
        """`what` is due at `due` (seconds) and no longer at any earlier given time."""
        self._due[what] = due
        slot = self._slot.get(what)
        # A deadline moved back stays where it is and is moved when its slot comes up: most move back with each message.
        if slot is None or int(due) < slot:
            if slot is not None:
                self._take_out(what, slot)
            self._put(what, int(due))

    def forget(self, what: T) -> None:
        """`what` has no deadline any more; nothing of it is kept."""
        if self._due.pop(what, None) is not None:
            self._take_out(what, self._slot.pop(what))

    def due(self, now: float) -> list[T]:
        """Everything whose deadline has passed at `now`; what is handed out is forgotten here."""
        this = int(now)
        over = []
        for slot in sorted(slot for slot in self._slots if slot <= this):
            for what in self._slots.pop(slot):
                due = self._due[what]
                if due <= now:
                    del self._due[what], self._slot[what]
                    over.append(what)
                else:
                    self._put(what, max(int(due), this + 1))
        return over

    def _put(self, what: T, slot: int) -> None:
        self._slot[what] = slot
        self._slots.setdefault(slot, set()).add(what)

    def _take_out(self, what: T, slot: int) -> None:
        there = self._slots[slot]
        there.discard(what)
        if not there:
            del self._slots[slot]
