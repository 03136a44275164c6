"""The end of a node: the calls that are left have some time to end by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

LOOK_EVERY = 0.1
"""Seconds between two looks whether the last call has ended."""


def drained(reactor: Any, left: Callable[[], int], end_all: Callable[[], object], patience: float) -> Deferred[None]:
    """Fires when no call is `left`; after `patience` seconds those that are get ended by `end_all`."""
    done: Deferred[None] = Deferred()
    until = reactor.seconds() + patience

    def look() -> None:
        if left() and reactor.seconds() < until:
            reactor.callLater(LOOK_EVERY, look)
            return
        try:
            end_all()
        finally:
            done.callback(None)

    look()
    return done
