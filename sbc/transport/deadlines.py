"""A coarse table of deadlines: one set a second, looked at once. Pure."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Which of many things are due. Setting, moving and forgetting a deadline costs a dictionary entry or two."""

    def __init__(self) -> None:
        self._due: dict[T, float] = {}
        self._slots: dict[int, set[T]] = {}

    def __len__(self) -> int:
        return len(self._due)

    def set(self, what: T, due: float) -> None:
        """`what` is due at `due` (seconds) and no longer at any earlier given time."""
        before = self._due.get(what)
        self._due[what] = due
        # A deadline moved back is found when its earlier slot comes up: nothing to do now.
        if before is None or due < before:
            self._slots.setdefault(int(due), set()).add(what)

    def forget(self, what: T) -> None:
        """`what` has no deadline any more."""
        self._due.pop(what, None)

    def due(self, now: float) -> Iterator[T]:
        """Everything whose deadline has passed at `now`; each is forgotten as it is handed out."""
        this = int(now)
        for slot in sorted(slot for slot in self._slots if slot <= this):
            for what in self._slots.pop(slot):
                due = self._due.get(what)
                if due is None:
                    continue
                if due <= now:
                    del self._due[what]
                    yield what
                else:
                    self._slots.setdefault(max(int(due), this + 1), set()).add(what)
