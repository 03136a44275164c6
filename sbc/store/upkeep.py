"""The timer that keeps the database from growing: old calls, timelines, pushes, messages, bans, absent users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.store.housekeeping import CHUNK, Forget, RemoveGoneUsers, outdated
from sbc.store.operation import Operation
from sbc.store.settings import DatabaseSettings

EVERY = 600.0
"""Seconds between two rounds; the first comes so long after the start, which has better things to do."""
BREATH = 0.5
"""Seconds between two chunks of one table: after a long stop there may be millions of rows, and REGISTERs go first."""


class Writer(Protocol):
    """The part of the store that is used."""

    def write(self, operation: Operation[Any]) -> Deferred[Any]: ...


class Timer(Protocol):
    """A call to come."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """The part of the reactor that is used."""

    def callLater(self, delay: float, callable: Callable[..., object], *arguments: object) -> Timer: ...  # noqa: A002


class Upkeep(Service):
    """Removes what is too old, a chunk at a time.

    `settings` says how long rows stay, `gone_after` after how many seconds without sign of life a user is removed (0:
    never), `utc` what time it is. Start it after the store and stop it before.
    """

    log = Logger()

    def __init__(
        self,
        clock: Clock,
        store: Writer,
        *,
        settings: Callable[[], DatabaseSettings],
        gone_after: Callable[[], float],
        utc: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._store = store
        self._settings = settings
        self._gone_after = gone_after
        self._utc = utc
        self._timer: Timer | None = None

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._after(EVERY, self._round)

    def stopService(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().stopService()  # type: ignore[no-untyped-call]

    def _after(self, seconds: float, what: Callable[..., object], *arguments: object) -> None:
        if self.running:
            self._timer = self._clock.callLater(seconds, self._now, what, arguments)

    def _now(self, what: Callable[..., object], arguments: tuple[object, ...]) -> None:
        self._timer = None
        what(*arguments)

    def _round(self) -> None:
        self._next(self._due())

    def _due(self) -> Iterator[Forget | RemoveGoneUsers]:
        now_at, gone_after = self._utc(), self._gone_after()
        yield from outdated(self._settings(), now_at)
        if gone_after:
            yield RemoveGoneUsers(now_at - gone_after)

    def _next(self, due: Iterator[Forget | RemoveGoneUsers]) -> None:
        operation = next(due, None)
        if operation is None:
            self._after(EVERY, self._round)
        else:
            self._run(operation, due)

    def _run(self, operation: Forget | RemoveGoneUsers, due: Iterator[Forget | RemoveGoneUsers]) -> None:
        removed: Deferred[int] = self._store.write(operation)
        removed.addCallbacks(self._removed, self._failed, callbackArgs=(operation, due))

    def _removed(
        self, result: int, operation: Forget | RemoveGoneUsers, due: Iterator[Forget | RemoveGoneUsers]
    ) -> None:
        """`result` is how many rows went, or the user to go on after."""
        if isinstance(operation, RemoveGoneUsers):
            if result:
                self._after(BREATH, self._run, replace(operation, after=result), due)
                return
        elif result >= CHUNK:
            self._after(BREATH, self._run, operation, due)
            return
        self._next(due)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("old rows could not be removed; tried again in ten minutes", failure)
        self._after(EVERY, self._round)
