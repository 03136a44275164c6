"""The timer that lets a `CallLog` write: once a second, and everything at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.logger import Logger

from sbc.observe.calllog import CallLog
from sbc.observe.lag import Timer, Timers

FLUSH_INTERVAL: Final = 1.0
"""Seconds between two batches: how old the CDR of an ended call may be before it is in the database."""


class Flushing(Service):
    """Calls `CallLog.flush` while running. `utc` answers UTC epoch seconds.

    Stop it before the store, so that the last batch finds its way.
    """

    log = Logger()

    def __init__(self, reactor: Timers, call_log: CallLog, utc: Callable[[], float]) -> None:
        self._reactor = reactor
        self._call_log = call_log
        self._utc = utc
        self._timer: Timer | None = None

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._timer = self._reactor.callLater(FLUSH_INTERVAL, self._tick)

    def stopService(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._call_log.flush(self._utc(), everything=True)
        super().stopService()  # type: ignore[no-untyped-call]

    def _tick(self) -> None:
        self._timer = self._reactor.callLater(FLUSH_INTERVAL, self._tick)
        self._call_log.flush(self._utc())
