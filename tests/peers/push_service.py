"""Our push room alone, in the test's process on a reactor of its own, toward push services not ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sbc.push.orders import PushOrder, PushType
from sbc.push.service import PushService
from sbc.push.tokens import PushToken
from tests.peers.program import PATIENCE

BUNDLE = "com.example.phone"


def run(service: PushService, talk: Callable[[], Deferred[Any]]) -> Any:
    """What *talk* comes to, with the service started before and stopped afterwards."""
    reactor, results = service._reactor, []

    def start() -> None:
        service.startService()
        talk().addBoth(over)

    def over(result: Any) -> None:
        results.append(result)
        service.stopService()
        reactor.callLater(0.05, reactor.stop)

    reactor.callWhenRunning(start)
    reactor.callLater(PATIENCE, reactor.crash)
    reactor.run(installSignalHandlers=False)
    return results[0]


def push(service: PushService, device: str, **more: Any) -> Deferred[Any]:
    order = PushOrder(type=PushType.CALL, tokens=(PushToken("apns", BUNDLE, device),), call_id="c1", **more)
    return service.send(order)
