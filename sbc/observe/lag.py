"""How long the event loop lets others wait: a timer that notes how late it is called."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.application.service import Service

PROBE_INTERVAL: Final = 0.25
"""Seconds between probes: four calls a second cost nothing and see every block longer than that."""

WINDOW: Final = 10.0
"""Seconds a delay is remembered, so that a scrape each 10 s misses none."""


class Timer(Protocol):
    """A call that waits for its time (IDelayedCall)."""

    def cancel(self) -> None: ...


class Timers(Protocol):
    """What is needed of a reactor (IReactorTime)."""

    def callLater(self, delay: float, callable: Callable[..., Any], /, *args: Any) -> Timer: ...  # noqa: A002


class LagProbe(Service):
    """Measures event-loop lag while running. `worst()` is what ``sbc_event_loop_lag_seconds`` shows, `lasting()` what
    the load of the node goes by.

    `reactor` gives the timer, `monotonic` the time: the reactor's own clock is wall time, and a step of the wall clock
    is not a lag.
    """

    def __init__(self, reactor: Timers, monotonic: Callable[[], float]) -> None:
        self._reactor = reactor
        self._monotonic = monotonic
        self._delays: deque[tuple[float, float]] = deque(maxlen=int(WINDOW / PROBE_INTERVAL) + 1)
        self._timer: Timer | None = None
        self._due = 0.0

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._arm()

    def stopService(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().stopService()  # type: ignore[no-untyped-call]

    def worst(self) -> float:
        """Seconds; the longest delay within the last `WINDOW`, counting one that is still going on."""
        return max(self._seen())

    def lasting(self) -> float:
        """Seconds; for half of the last `WINDOW` the loop was at least this late. One hiccup, however long, is no load:
        a node that took it for one would refuse calls that it has all the time to serve."""
        left = WINDOW / 2
        for delay in sorted(self._seen(), reverse=True):
            left -= delay + PROBE_INTERVAL
            if left <= 0:
                return delay
        return 0.0

    def _seen(self) -> list[float]:
        """The delays of the last `WINDOW`, first the one that may still be going on."""
        now = self._monotonic()
        present = max(now - self._due, 0.0) if self._timer is not None else 0.0
        return [present, *(delay for at, delay in self._delays if at >= now - WINDOW)]

    def _arm(self) -> None:
        self._due = self._monotonic() + PROBE_INTERVAL
        self._timer = self._reactor.callLater(PROBE_INTERVAL, self._probe)

    def _probe(self) -> None:
        now = self._monotonic()
        self._delays.append((now, max(now - self._due, 0.0)))
        self._arm()
