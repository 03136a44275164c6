"""Waiting on the real reactor: for what is to happen, or for turns of the reactor. Never for time: a machine that stood
still for a second has had the time, and its processes not one turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater

PATIENCE = 60.0
"""Seconds until a test that waits gives up; only broken code waits that long."""
STEP = 0.005
"""Seconds between two looks."""
TURNS = 20
"""Turns in which what one socket says reaches the others of this process, and their answers come back."""


def until(happened: Callable[[], Any], what: str = "it") -> Deferred[Any]:
    """Fires with the first true value of `happened()`."""

    async def look() -> Any:
        end = reactor.seconds() + PATIENCE  # type: ignore[attr-defined]
        while not (found := happened()):
            assert reactor.seconds() < end, f"waited in vain for {what}"  # type: ignore[attr-defined]
            await deferLater(reactor, STEP)  # type: ignore[arg-type]
        return found

    return ensureDeferred(look())


def turns(count: int = TURNS) -> Deferred[None]:
    """Fires after so many turns of the reactor."""

    async def take() -> None:
        for _ in range(count):
            await deferLater(reactor, 0)  # type: ignore[arg-type]

    return ensureDeferred(take())
