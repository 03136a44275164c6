"""Numbers that only the database knows, asked for now and then."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from sbc.observe.metrics import Reading
from sbc.observe.sampled import SAMPLE_INTERVAL
from sbc.store import queries
from sbc.store.service import Store

log = Logger()


class Counted(Service):
    """Bindings and upper registrations by state, as they stood at the last look."""

    def __init__(self, reactor: Any, store: Store) -> None:
        self._store = store
        self._latest = queries.Counts(users=0, bindings={}, registrations={})
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def bindings(self) -> Reading:
        """Devices by (state,)."""
        return {(state,): float(count) for state, count in self._latest.bindings.items()}

    def registrations(self) -> Reading:
        """Upper registrations by (upper server, state)."""
        return {key: float(count) for key, count in self._latest.registrations.items()}

    def startService(self) -> None:
        """Look now and every `SAMPLE_INTERVAL` seconds."""
        super().startService()  # type: ignore[no-untyped-call]
        self._loop.start(SAMPLE_INTERVAL)

    def stopService(self) -> None:
        """Look no more."""
        self._loop.stop()
        super().stopService()  # type: ignore[no-untyped-call]

    def _look(self) -> object:
        return self._store.report(queries.counts).addCallbacks(
            self._seen, lambda failure: log.failure("bindings and registrations could not be counted", failure)
        )

    def _seen(self, counts: queries.Counts) -> None:
        self._latest = counts
