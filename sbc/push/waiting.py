"""Requests that wait for room on a connection: calls before messages before the rest.  [pure]"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

# Ranks, the most urgent first.
CALL, MESSAGE, OTHER = range(3)
RANKS = 3


class Waiting(Generic[T]):
    """At most *limit* elements. When it is full the newest of the least urgent rank makes room for a more urgent
    one.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._queues: tuple[deque[T], ...] = tuple(deque() for _ in range(RANKS))
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, element: T, rank: int) -> T | None:
        """Add *element*; return who was dropped for it, *element* itself when nobody less urgent waits."""
        dropped = None
        if self._size >= self.limit:
            least = next((queue for queue in reversed(self._queues[rank + 1 :]) if queue), None)
            if least is None:
                return element
            dropped = least.pop()
            self._size -= 1
        self._queues[rank].append(element)
        self._size += 1
        return dropped

    def take(self) -> T | None:
        """The oldest of the most urgent, or ``None``."""
        for queue in self._queues:
            if queue:
                self._size -= 1
                return queue.popleft()
        return None

    def discard(self, element: T, rank: int) -> None:
        """Take *element* out if it is still there."""
        try:
            self._queues[rank].remove(element)
        except ValueError:
            return
        self._size -= 1
