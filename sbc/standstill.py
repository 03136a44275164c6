"""A node that stood still, for the machine was busy elsewhere, does not take that time for the silence of others.

A reactor that goes on runs the timers that are due before it reads what arrived meanwhile: a phone that answered at
once would be pushed, a server that answered would be left, a call would go on without the registration that it waited
for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LATE = 0.2
"""Seconds that a timer is late when its node stood still; a node under load is less so."""

GRACE = 0.5
"""Seconds more, at most, for those who were waited for: some turns of the reactor, and an answer to what was only put
on its way."""


class Alarm:
    """The end of a wait for somebody else (IDelayedCall, as far as anybody asks). Late, it gives some grace, once.

    `later(seconds, call, *arguments)` is the reactor's, `clock` monotonic seconds.
    """

    __slots__ = ("_arguments", "_call", "_clock", "_due", "_later", "_timer")

    def __init__(
        self,
        later: Callable[..., Any],
        clock: Callable[[], float],
        seconds: float,
        call: Callable[..., object],
        *arguments: object,
    ) -> None:
        self._later = later
        self._clock = clock
        self._call = call
        self._arguments = arguments
        self._due = clock() + seconds
        self._timer = later(seconds, self._ring)

    def active(self) -> bool:
        """Whether it is still to come."""
        return bool(self._timer.active())

    def cancel(self) -> None:
        """It is not to come."""
        self._timer.cancel()

    def getTime(self) -> float:
        """When it comes, by the reactor's clock."""
        return float(self._timer.getTime())

    def _ring(self) -> None:
        late = self._clock() - self._due
        if late > LATE:
            self._timer = self._later(min(late, GRACE), self._call, *self._arguments)
        else:
            self._call(*self._arguments)


def forbearing(later: Callable[..., Any], clock: Callable[[], float]) -> Callable[..., Alarm]:
    """A reactor's `callLater` for waits that end when somebody else keeps silent."""

    def call_later(seconds: float, call: Callable[..., object], *arguments: object) -> Alarm:
        return Alarm(later, clock, seconds, call, *arguments)

    return call_later


def after_reading(stroke: Callable[[], object], clock: Callable[[], float], interval: float) -> Callable[[], None]:
    """What a clock calls every `interval` seconds, but for one stroke after a standstill: the next one will do."""
    due, left_out = clock() + interval, False

    def call() -> None:
        nonlocal due, left_out
        now = clock()
        late, due = now - due, now + interval
        left_out = late > LATE and not left_out
        if not left_out:
            stroke()

    return call
