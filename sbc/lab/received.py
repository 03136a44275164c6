"""What an emulated push service remembers of the pushes it got, and how it tells the phones. Pure.

In: `Inbox.record(push)`. Out: the record, and a call to whoever listens on the push's token when it was accepted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_RECORDS = 20_000  # pushes remembered; the oldest go first


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPush:
    """One push request as it arrived.

    `at` is the reactor's time, `arrived_at` UTC epoch seconds; `token` is the device token (of Web Push: the
    subscription's path); `payload` the JSON object sent (of Web Push: decrypted), {} when there was none; `status` and
    `reason` what was answered; `connection` counts the service's connections from 1; `push_id` is the id given back.
    """

    provider: str
    at: float
    arrived_at: float
    token: str
    headers: Mapping[str, str]
    body: bytes
    payload: Mapping[str, Any] = field(default_factory=dict)
    status: int
    reason: str = ""
    connection: int = 0
    push_id: str = ""

    @property
    def accepted(self) -> bool:
        """The device will get it."""
        return 200 <= self.status < 300


Listener = Callable[[ReceivedPush], object]


class Inbox:
    """The record of one service and its listeners."""

    def __init__(self) -> None:
        self.pushes: deque[ReceivedPush] = deque(maxlen=MAX_RECORDS)
        self._listeners: dict[str, list[Listener]] = {}
        self._watchers: list[Listener] = []

    def listen(self, token: str, listener: Listener) -> None:
        """Call `listener` with every accepted push for `token`, as the operating system wakes an app."""
        self._listeners.setdefault(token, []).append(listener)

    def unlisten(self, token: str, listener: Listener) -> None:
        """End what `listen` began."""
        listeners = self._listeners.get(token, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            self._listeners.pop(token, None)

    def watch(self, watcher: Listener) -> None:
        """Call `watcher` with every push, accepted or not."""
        self._watchers.append(watcher)

    def record(self, push: ReceivedPush) -> None:
        """A push was answered."""
        self.pushes.append(push)
        for watcher in list(self._watchers):
            watcher(push)
        if push.accepted:
            for listener in list(self._listeners.get(push.token, ())):
                listener(push)

    def of(self, token: str) -> list[ReceivedPush]:
        """All pushes for one token, in the order of arrival."""
        return [push for push in self.pushes if push.token == token]

    def accepted(self) -> list[ReceivedPush]:
        """The pushes that were accepted."""
        return [push for push in self.pushes if push.accepted]
