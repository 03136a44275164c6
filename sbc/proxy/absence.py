"""Devices that were called, pushed, and did not come: counted until one is not worth calling any more. Pure."""

from __future__ import annotations

from collections import OrderedDict

MAX_ABSENT = 100_000
"""Devices counted at once, about 200 bytes each; the one counted longest ago goes first. A restart forgets them all."""

SEVERAL = 3
"""Calls in a row that make `push.remove_on.subsequent_call_failure`."""


class Absences:
    """Calls in a row that each device has missed, by user id and identity."""

    def __init__(self) -> None:
        self._missed: OrderedDict[tuple[int, str], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._missed)

    def missed(self, user_id: int, identity: str, limit: int) -> bool:
        """The device did not come in time. Gives whether that makes `limit` calls in a row, and then forgets it."""
        key = (user_id, identity)
        count = self._missed.pop(key, 0) + 1
        if count >= limit:
            return True
        while len(self._missed) >= MAX_ABSENT:
            self._missed.popitem(last=False)
        self._missed[key] = count
        return False

    def came(self, user_id: int, identity: str) -> None:
        """The device registered: it is not absent."""
        self._missed.pop((user_id, identity), None)
