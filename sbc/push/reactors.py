"""What this room needs of a reactor, as types: time and timers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Timer(Protocol):
    """What ``callLater`` gives (``IDelayedCall``)."""

    def cancel(self) -> None: ...
    def active(self) -> bool: ...


class Clock(Protocol):
    """Monotonic seconds and timers (``IReactorTime``); ``task.Clock`` in tests."""

    def seconds(self) -> float: ...
    def callLater(self, delay: float, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any: ...
