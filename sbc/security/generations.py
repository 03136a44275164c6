"""A bounded table that forgets what was not touched lately, at the cost of two dictionaries. Pure."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Generations(Generic[K, V]):
    """Holds at least the `limit` entries touched last and at most twice as many.

    When the young generation is full it becomes the old one, and what was old and not touched since is forgotten.
    """

    __slots__ = ("_limit", "_old", "_young")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """The value, which counts as touched now."""
        value = self._young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Set the value."""
        self._old.pop(key, None)
        if len(self._young) >= self._limit and key not in self._young:
            self._old = self._young
            self._young = {}
        self._young[key] = value

    def pop(self, key: K) -> None:
        """Forget the key."""
        self._young.pop(key, None)
        self._old.pop(key, None)
