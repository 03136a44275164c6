"""Gauges that need a database query: asked now and then, not at each scrape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from sbc.observe.metrics import Reading

SAMPLE_INTERVAL: Final = 30.0
"""Seconds from one sample to the next: counting millions of rows takes the database a second or two."""


class Sampled(Service):
    """The latest answer of `ask`, a function whose Deferred gives a `Reading`; `reading` fits `Metrics.watch`.

    Never asks again before the previous answer came; a failure is logged and the old value stays.
    """

    log = Logger()

    def __init__(
        self, reactor: IReactorTime, ask: Callable[[], Deferred[Reading]], interval: float = SAMPLE_INTERVAL
    ) -> None:
        self._ask = ask
        self._interval = interval
        self._latest: Reading = {}
        self._loop = LoopingCall(self._sample)
        self._loop.clock = reactor

    def reading(self) -> Reading:
        """The last value that was heard; no series at all before the first."""
        return self._latest

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._loop.start(self._interval)

    def stopService(self) -> None:
        self._loop.stop()
        super().stopService()  # type: ignore[no-untyped-call]

    def _sample(self) -> Deferred[None]:
        return self._ask().addCallbacks(
            self._heard, lambda failure: self.log.failure("a gauge's query failed", failure)
        )

    def _heard(self, reading: Reading) -> None:
        self._latest = reading
