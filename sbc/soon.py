"""Results that are there already, nearly always, used without the ceremony of a callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")

log = Logger()


def when_there(deferred: Deferred[T], then: Callable[[T], object], otherwise: Callable[[Failure], object]) -> None:
    """Call `then` with the result, at once where there is one, or `otherwise` with the failure.

    Whoever calls this gives the Deferred away. What either of the two raises is our bug and logged.
    """
    if deferred.called:
        result: object = deferred.result
        if not isinstance(result, Failure | Deferred):
            try:
                then(result)  # type: ignore[arg-type]
            except Exception:  # noqa: BLE001 - as the errback below
                log.failure("what was to follow on a result failed")
            return
    deferred.addCallbacks(then, otherwise)
    deferred.addErrback(lambda failure: log.failure("what was to follow on a result failed", failure))
