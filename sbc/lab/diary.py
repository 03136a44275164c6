"""What happened to a party, with times, and waiting for it to happen. Pure but for the Deferreds.

In: `note(kind, detail)`. Out: the entries, and `when(kind)`, which fires with the entry, at once when it is there
already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

MAX_ENTRIES = 100_000  # entries; a party that does more in one test has run away


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `at` is the reactor's time in seconds; `detail` depends on `kind`."""

    at: float
    kind: str
    detail: Any


class Diary:
    """The entries of one party or call in order."""

    def __init__(self, clock: Callable[[], float], listener: Callable[[Entry], object] | None = None) -> None:
        self.entries: list[Entry] = []
        self._clock = clock
        self._listener = listener
        self._waiting: dict[tuple[str, int], list[Deferred[Entry]]] = {}

    def note(self, kind: str, detail: Any = None) -> None:
        """It happened now."""
        if len(self.entries) >= MAX_ENTRIES:
            raise OverflowError(f"more than {MAX_ENTRIES} entries, the last of kind {kind!r}")
        entry = Entry(self._clock(), kind, detail)
        self.entries.append(entry)
        if self._listener is not None:
            self._listener(entry)
        for waiting in self._waiting.pop((kind, len(self.all(kind))), ()):
            waiting.callback(entry)

    def all(self, kind: str) -> list[Entry]:
        """All entries of one kind."""
        return [entry for entry in self.entries if entry.kind == kind]

    def last(self, kind: str) -> Entry | None:
        """The latest of one kind."""
        return next((entry for entry in reversed(self.entries) if entry.kind == kind), None)

    def count(self, kind: str) -> int:
        """How often it happened."""
        return len(self.all(kind))

    def when(self, kind: str, count: int = 1) -> Deferred[Entry]:
        """Fires with the `count`-th entry of that kind. It may never; whoever waits adds a timeout."""
        waiting: Deferred[Entry] = Deferred(lambda gone: self._forget(kind, count, gone))
        found = self.all(kind)
        if len(found) >= count:
            waiting.callback(found[count - 1])
        else:
            self._waiting.setdefault((kind, count), []).append(waiting)
        return waiting

    def _forget(self, kind: str, count: int, gone: Deferred[Entry]) -> None:
        waiting = self._waiting.get((kind, count), [])
        if gone in waiting:
            waiting.remove(gone)
