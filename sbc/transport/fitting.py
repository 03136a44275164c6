"""Requests that are too large for a datagram go over a stream to the same address (RFC 3261 18.1.1)."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.python.failure import Failure

from sbc.sip.errors import RemoteError
from sbc.transport.flow import Destination, Flow
from sbc.transport.limits import FAILED_DESTINATIONS, STREAM_PATIENCE, STREAMLESS_SECONDS


class Fitting:
    """Finds the flow for a request of a known size. Only for flows that we open: a phone is reached where it registered
    from. `connect` opens or reuses a connection toward one side."""

    def __init__(
        self, reactor: Any, connect: Callable[[Destination, str], "Deferred[Flow]"], clock: Callable[[], float]
    ) -> None:
        self._reactor = reactor
        self._connect = connect
        self._clock = clock
        self._streamless: dict[tuple[str, int], float] = {}

    def flow(self, flow: Flow, size: int, limit: int, side: str) -> "Deferred[Flow]":
        """`flow`, or for more than `limit` bytes (0: any number) over UDP a TCP flow to the same address and port.

        Where no TCP connection can be had in time the datagram is sent after all, as the RFC asks, and so are the next
        large ones for STREAMLESS_SECONDS.
        """
        if flow.reliable or not limit or size <= limit or self._clock() < self._streamless.get(flow.peer, 0.0):
            return succeed(flow)
        host, port = flow.peer
        stream = self._connect(Destination(b"TCP", host, port, host), side)
        stream.addTimeout(STREAM_PATIENCE, self._reactor)
        return stream.addErrback(self._refused, flow)

    def _refused(self, failure: Failure, flow: Flow) -> Flow:
        failure.trap(RemoteError, DeferredTimeout)  # type: ignore[no-untyped-call]
        now = self._clock()
        if len(self._streamless) >= FAILED_DESTINATIONS:
            self._streamless = {peer: until for peer, until in self._streamless.items() if until > now}
            if len(self._streamless) >= FAILED_DESTINATIONS:
                self._streamless.clear()
        self._streamless[flow.peer] = now + STREAMLESS_SECONDS
        return flow
