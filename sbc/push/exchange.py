"""One request to a provider, whichever HTTP carries it, and why it may get no answer.  [pure]"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sbc.push.reactors import Timer
from sbc.push.wire import Answer, Post


class LostError(Exception):
    """The request got no answer.

    ``processed`` is false when the server surely did not look at it (RFC 9113 8.7); ``final``: no other try can help.
    """

    def __init__(self, reason: str, processed: bool = True, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.processed, self.final = reason, processed, final


class Exchange:
    """One request under way. Who waits gives ``done``, called once with an ``Answer`` or a ``LostError``."""

    __slots__ = ("body", "connection", "done", "headers", "post", "rank", "size", "status", "stream", "timer")

    def __init__(self, post: Post, rank: int, done: Callable[[Answer | LostError], None]) -> None:
        self.post, self.rank = post, rank
        self.done: Callable[[Answer | LostError], None] | None = done
        self.connection: Any = None
        self.timer: Timer | None = None
        self.stream = self.status = self.size = 0
        self.headers: dict[bytes, bytes] = {}
        self.body: list[bytes] = []

    def finish(self, outcome: Answer | LostError) -> None:
        """Report the outcome, unless that has happened."""
        done, self.done = self.done, None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if done is not None:
            done(outcome)
