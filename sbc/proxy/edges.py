"""The way back to a proxy between the phones and us, where its connection is gone (RFC 3327, RFC 5626)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail

from sbc.proxy.reaching import transport_of
from sbc.proxy.target import Target
from sbc.sip.errors import RemoteError
from sbc.sip.values import NameAddr
from sbc.transport.flow import Destination, Flow
from sbc.transport.resolver import Resolver


class Edges:
    """Finds flows to proxies that phones registered through. `connect` gives a flow to one address."""

    def __init__(self, resolver: Resolver, connect: Callable[[Destination], Deferred[Flow]]) -> None:
        self._resolver = resolver
        self._connect = connect

    def flow(self, target: Target) -> Deferred[Flow]:
        """A flow to the first proxy on the target's path. Fails with RemoteError 503.

        Only to the address that the phone's REGISTER came from: a Path is what somebody wrote, and leads nowhere else.
        """
        return self.toward(target.path[0], target.edge)

    def toward(self, route: bytes, edge: str) -> Deferred[Flow]:
        """A flow to where this Route value leads, if that is the address `edge`. Fails with RemoteError 503."""
        try:
            uri = NameAddr.parse(route).uri
        except RemoteError as problem:
            return fail(problem)
        found = self._resolver.resolve(uri, transport_of(uri))

        def own(destinations: list[Destination]) -> Deferred[Flow]:
            fitting = [each for each in destinations if each.host == edge.strip("[]")]
            if not fitting:
                raise RemoteError(503, b"Path Leads Elsewhere")
            return self._connect(fitting[0])

        return found.addCallback(own)
