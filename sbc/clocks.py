"""What a node does again and again: each with an interval of its own, all stopped together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

log = Logger()


class Clocks:
    """The clocks of one node. A stroke that meets a bug is logged, and the clock goes on."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.loops: list[LoopingCall] = []

    def every(self, seconds: float, function: Callable[[], object]) -> None:
        """Call `function` now and then every so many seconds; while a Deferred that it returned is open, it waits."""

        def stroke() -> object:
            try:
                return function()
            except Exception:  # noqa: BLE001 - a clock goes on whatever happens at one of its strokes
                log.failure("what a clock of the SBC started met a bug")
                return None

        loop = LoopingCall(stroke)
        loop.clock = self._reactor
        loop.start(seconds).addErrback(lambda failure: log.failure("a clock of the SBC stopped", failure))
        self.loops.append(loop)

    def stop(self) -> None:
        """All of them."""
        for loop in self.loops:
            loop.stop()
        self.loops.clear()
