"""How many at once: counted places per key, as for the unanswered calls of one source. Pure."""


class Slots:
    """At most `limit` places are held per key. Memory is that of what is held."""

    __slots__ = ("_held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: dict[str, int] = {}

    def take(self, key: str) -> bool:
        """Take a place; False when all are held. Each taken place must be given back once."""
        held = self._held.get(key, 0)
        if held >= self.limit:
            return False
        self._held[key] = held + 1
        return True

    def give_back(self, key: str) -> None:
        """Give a place back. Raises KeyError when none is held: a mistake of ours."""
        held = self._held[key]
        if held > 1:
            self._held[key] = held - 1
        else:
            del self._held[key]

    def held(self, key: str) -> int:
        """Places held under this key."""
        return self._held.get(key, 0)
