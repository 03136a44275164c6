"""The way to an upper server: its addresses, and a flow to one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.sip.errors import RemoteError
from sbc.sip.message import Request
from sbc.sip.uri import Uri
from sbc.soon import when_there
from sbc.transaction.client import ClientTransaction
from sbc.transaction.server import ServerTransaction
from sbc.transport.flow import Destination, Flow
from sbc.transport.resolver import Resolver
from sbc.upper.face import via
from sbc.upper.servers import UpperServer, UpperServers

log = Logger()

RESOLVE_AGAIN = 60.0
"""Seconds after which the addresses of the upper servers are looked up anew."""
AVOIDED = 120.0
"""Seconds for which an address that did not answer is used only when the server has no other (RFC 3263 section 4.3)."""
MAX_TRIES = 4
"""Addresses of one server that one request is sent to; each may cost four seconds of silence."""


class Ways:
    """Finds flows toward upper servers, and tells `UpperServers` the addresses found on the way.

    `connect` gives a flow to one address (UDP at once, a stream reused or opened). `permits(name, address)`: whether a
    host name, or an address given as one, that a client brought up may lead to this IP address. `fitting(flow, bytes)`:
    the flow, or a stream to the same place for a request too large for a datagram.
    """

    def __init__(
        self,
        servers: UpperServers,
        resolver: Resolver,
        connect: Callable[[Destination], Deferred[Flow]],
        permits: Callable[[str, str], bool],
        fitting: Callable[[Flow, int], Deferred[Flow]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.servers = servers
        self._resolver = resolver
        self._connect = connect
        self._permits = permits
        self._fitting = fitting
        self._clock = clock
        self._known: dict[str, list[Destination]] = {}
        self._avoided: dict[tuple[str, int], float] = {}

    def locate_all(self) -> Deferred[None]:
        """Look all servers up again; keeps the old addresses of one that cannot be resolved now."""
        located = [self._locate(server) for server in self.servers.ordered]
        return DeferredList(located).addCallback(lambda _: None)

    def locate(self, server: UpperServer) -> None:
        """Look one server up, so that its requests are known by their source."""
        self._locate(server)

    def forget(self) -> None:
        """The servers have changed: look every address up again before it is used."""
        self._known.clear()

    def flow(self, server: UpperServer) -> Deferred[Flow]:
        """A flow to the server: the first of its addresses that can be reached. Fails with RemoteError 503."""
        known = self._known.get(server.name)
        if known:
            return self._first(self._best(known), server)
        return self._locate(server).addCallback(lambda found: self._first(self._best(found), server))

    def tries(self, servers: Iterable[UpperServer]) -> list[UpperServer]:
        """Each server as often as it has addresses that one request may be sent to, one after the other."""
        return [server for server in servers for _ in range(min(len(self._places(server)), MAX_TRIES) or 1)]

    def _places(self, server: UpperServer) -> set[tuple[str, int]]:
        return {(each.host, each.port) for each in self._known.get(server.name, ())}

    def failed(self, server: UpperServer, peer: tuple[str, int]) -> bool:
        """This address of the server does not answer, or says that it cannot: the others come first for a while.
        Whether there is another one to be tried."""
        now, places = self._clock(), self._places(server)
        if len(places) < 2 or peer not in places:
            return False
        self._avoided = {place: until for place, until in self._avoided.items() if until > now}
        self._avoided[peer] = now + AVOIDED
        return any(place not in self._avoided for place in places)

    def _best(self, destinations: list[Destination]) -> list[Destination]:
        """The destinations, those that are avoided last and of these the one that failed first in front."""
        if not self._avoided:
            return destinations
        now, avoided = self._clock(), self._avoided

        def bad_until(destination: Destination) -> float:
            until = avoided.get((destination.host, destination.port), 0.0)
            return until if until > now else 0.0

        return sorted(destinations, key=bad_until)

    def flow_to(self, uri: Uri, transport: bytes | None = None, *, guarded: bool = False) -> Deferred[Flow]:
        """A flow to where a URI of an upper side's route set or remote target points (RFC 3263); `guarded`: that side
        is a server that a client chose."""
        found = self._resolver.resolve(uri, transport)
        if guarded:
            found.addCallback(self._permitted, uri)
        return found.addCallback(self._first, None)

    def carry(self, request: Request, flow: Flow, then: Callable[[Flow], None]) -> None:
        """Call `then` with the flow for this very request, now or soon. It is `flow`, unless that is UDP and the
        request too large for it: then the Via says the transport it goes by, under the same branch."""

        def fitted(found: Flow) -> None:
            if found is not flow:
                request.set_top(b"via", via(found.listener, request.via.branch or b""))
            then(found)

        if flow.reliable:
            then(flow)
        else:
            when_there(self._fitting(flow, len(request.render())), fitted, Failure.raiseException)

    def _permitted(self, destinations: list[Destination], uri: Uri) -> list[Destination]:
        host = uri.host.decode("ascii", "replace").strip("[]")
        permitted = [each for each in destinations if self._permits(host, each.host)]
        if not permitted:
            raise RemoteError(403, b"Upper Server Not Allowed")
        return permitted

    def _locate(self, server: UpperServer) -> Deferred[list[Destination]]:
        def found(destinations: list[Destination]) -> list[Destination]:
            self._known[server.name] = destinations
            self.servers.located(server, [(each.host, each.port) for each in destinations])
            return destinations

        def missing(failure: Failure) -> list[Destination]:
            log.warn("cannot resolve upper server {name}: {why}", name=server.name, why=failure.getErrorMessage())
            return self._known.get(server.name, [])

        located = self._resolver.resolve(server.uri)
        if server.guarded:
            located.addCallback(self._permitted, server.uri)
        return located.addCallbacks(found, missing)

    def _first(self, destinations: list[Destination], server: UpperServer | None) -> Deferred[Flow]:
        if not destinations:
            raise RemoteError(503, b"Upper Server Not Resolved")
        rest = destinations[1:]
        flow = self._connect(destinations[0])
        if rest:
            flow.addErrback(lambda _: self._first(rest, server))
        return flow


def on_flow(flow: Deferred[Flow], then: Callable[[Flow], None], otherwise: Callable[[str], None]) -> None:
    """Call `then` with the flow, at once where it is there already, or `otherwise` with the reason why not."""
    when_there(flow, then, lambda failure: otherwise(str(refusal(failure))))


def refusal(failure: Failure) -> RemoteError:
    """The RemoteError in a failure; raises whatever else it holds, for that is our bug."""
    if isinstance(failure.value, RemoteError):
        return failure.value
    failure.raiseException()
    raise AssertionError("a failure holds an exception")


def flow_of(txn: ClientTransaction | ServerTransaction) -> Flow:
    """The flow that a transaction came on or goes over: every hop of this node is one."""
    hop = txn.hop
    assert isinstance(hop, Flow)
    return hop
