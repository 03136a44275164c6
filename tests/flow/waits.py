"""Waiting for what happens, and letting time pass."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater

PATIENCE = 30.0
"""Seconds after which what was to happen will not. It costs nothing where it happens; on a machine that stalls for
seconds a shorter one would tell of the machine."""


def pause(seconds: float) -> Deferred[None]:
    """Let time pass."""
    return deferLater(reactor, seconds, lambda: None)


@inlineCallbacks
def until(true: Any, what: str, within: float = PATIENCE) -> Any:
    """Wait for something that no Deferred tells."""
    limit = time.monotonic() + within
    while not true():
        if time.monotonic() > limit:
            raise AssertionError(f"not within {within:g} s: {what}")
        yield pause(0.03)


@inlineCallbacks
def turns(count: int = 3) -> Any:
    """Let the reactor read what has arrived, so many times."""
    for _ in range(count):
        yield pause(0)
