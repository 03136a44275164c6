"""What media processes told of their work, one after the other.  [pure]"""

from __future__ import annotations

from sbc.media.control import Message


class Tally:
    """The counts of one engine: those of the process there is, and of what was before it."""

    def __init__(self) -> None:
        self._now: Message = {}
        self._before = {"packets": 0, "exhausted": 0}

    def __getitem__(self, name: str) -> int:
        """`streams`, `packets`, `pinned` or `exhausted`, as last heard."""
        return self._before.get(name, 0) + int(self._now.get(name, 0))

    def told(self, counts: Message) -> None:
        """All counts of the process there is."""
        self._now = counts

    def streams(self, count: int) -> None:
        """How many there are now."""
        self._now["streams"] = count

    def gone(self) -> None:
        """The process has ended."""
        self._before = {name: count + int(self._now.pop(name, 0)) for name, count in self._before.items()}
