"""One push for one request to one device, however often it is asked for.  [pure]

A request may reach us twice (an upper server that forks to two contacts of one user, one that tries again by another
way): its device is pushed once, and all who asked hear how that went.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from sbc.push.orders import PushResult

KEPT = 30.0
"""Seconds for which an accepted push stands for others about the same request: its device is on its way."""

MAX_KEPT = 10_000
"""Requests remembered, about 300 bytes each."""

Key = tuple[str, str, str]
"""The request, and provider and token of the device."""


class Recent:
    """The pushes of the last moments. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._open: dict[Key, list[Callable[[PushResult], None]]] = {}
        self._accepted: OrderedDict[Key, tuple[float, PushResult]] = OrderedDict()

    def result(self, key: Key, now: float) -> PushResult | None:
        """The accepted push that there was a moment ago."""
        at, result = self._accepted.get(key, (now - KEPT, None))
        return result if now - at < KEPT else None

    def joins(self, key: Key, told: Callable[[PushResult], None]) -> bool:
        """Whether a push is under way already; then *told* hears of its end. Else the asker has begun one."""
        waiting = self._open.get(key)
        if waiting is None:
            self._open[key] = []
            return False
        waiting.append(told)
        return True

    def forget(self, key: Key) -> None:
        """The device was told that the request is over: should it come again, so must the push."""
        self._accepted.pop(key, None)

    def ended(self, key: Key, result: PushResult, now: float) -> None:
        """The push under *key* is over."""
        if result.accepted:
            self._accepted[key] = (now, result)
            self._accepted.move_to_end(key)
            while len(self._accepted) > MAX_KEPT or next(iter(self._accepted.values()))[0] <= now - KEPT:
                self._accepted.popitem(last=False)
        for told in self._open.pop(key, ()):
            told(result)
