"""What is told of one call: its timeline and its CDR. Outlives the request that began the call."""

from __future__ import annotations

from collections.abc import Callable

from sbc.observe.calllog import Call, CallLog


class Story:
    """The call's record, or nothing for requests that are no calls."""

    __slots__ = ("_clock_at", "_log", "call", "invite")

    def __init__(self, log: CallLog, clock_at: Callable[[], float], call: Call | None) -> None:
        self._log = log
        self._clock_at = clock_at
        self.call = call
        self.invite = call is not None

    def note(self, kind: str, detail: str) -> None:
        """Add a line to the timeline."""
        if self.call is not None:
            self._log.event(self.call, kind, detail, self._clock_at())
