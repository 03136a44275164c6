"""All open connections: tokens, per-source counts, deadlines; and connections opened or reused toward a destination."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Factory, connectionDone
from twisted.python.failure import Failure

from sbc.sip.errors import RemoteError
from sbc.transport.address import is_wildcard, normal_host, source_of
from sbc.transport.codec import Codec
from sbc.transport.deadlines import Deadlines
from sbc.transport.flow import Destination, Flow, Gate, Listener, Receiver
from sbc.transport.limits import (
    ALIASES,
    BANNED,
    CONNECT_WAITERS,
    FAILED_DESTINATIONS,
    LINE_SECONDS,
    PENDING_CONNECTS,
    TOO_MANY,
    TOO_MANY_FROM_SOURCE,
    TURN_SECONDS,
    Limits,
)
from sbc.transport.proxyprotocol import Preamble
from sbc.transport.stream import StreamConnection, StreamFlow
from sbc.transport.turns import Turns

Route = tuple[bytes, str, int, str]
"""What one outgoing connection serves: transport, host, port, checked name (RFC 5923 3, RFC 5922 8)."""


class UnreachableError(RemoteError):
    """No connection to the destination: 503 to whoever asked (RFC 3261 8.1.3.1)."""

    def __init__(self, why: str) -> None:
        super().__init__(503, b"Destination UnreachableError")
        self.why = why

    def __str__(self) -> str:
        return self.why


class Connections:
    """The house that stream connections live in."""

    def __init__(
        self,
        receiver: Receiver,
        limits: Limits,
        gate: Gate,
        clock: Callable[[], float],
        *,
        start_id: str,
        call_later: Callable[..., Any],
    ) -> None:
        """`start_id` tells this start of the process from others, since flow tokens outlive it in the database."""
        self.receiver = receiver
        self.limits = limits
        self.gate = gate
        self.clock = clock
        self.deadlines: Deadlines[StreamConnection] = Deadlines()
        self.all: set[StreamConnection] = set()
        self._start_id = start_id
        self._count = 0
        self._tokens: dict[str, StreamFlow] = {}
        self._routes: dict[Route, StreamFlow] = {}
        self._aliases: dict[StreamFlow, list[Route]] = {}
        self._sources: dict[str, int] = {}
        self._counted: dict[StreamConnection, str] = {}
        self._idle: list[Deferred[None]] = []
        self._turns: Turns[StreamConnection] = Turns(limits.handshakes)
        self._call_later = call_later
        self._calling: Any = None
        self.crowded: Callable[[bool], None] = lambda crowded: None
        """Told when the line for TLS handshakes is full, and when it is half empty again."""
        self._crowded = False

    # -- House

    def arrived(self, connection: StreamConnection) -> None:
        self.all.add(connection)

    def admit(self, connection: StreamConnection, host: str) -> str | None:
        if connection.outgoing:
            return None
        if not self.gate.admits(host):
            return BANNED
        if len(self.all) > self.limits.connections:
            return TOO_MANY
        source = source_of(host)
        held = self._sources.get(source, 0)
        if held >= self.limits.connections_per_source and not self.gate.exempt(host):
            return TOO_MANY_FROM_SOURCE
        self._sources[source] = held + 1
        self._counted[connection] = source
        return None

    def queue(self, connection: StreamConnection) -> bool:
        self._turns.rate = self.limits.handshakes
        if self._turns.take(connection, self.clock()):
            return True
        if not self._crowded and len(self._turns) >= self.limits.handshakes * LINE_SECONDS:
            self._crowded = True
            self.crowded(True)
        if self._calling is None:
            self._calling = self._call_later(TURN_SECONDS, self._call)
        return False

    def _call(self) -> None:
        """Begin the handshakes whose turn has come."""
        self._calling = None
        self._turns.rate = self.limits.handshakes
        for connection in self._turns.due(self.clock()):
            connection.begin_tls()
        if self._crowded and len(self._turns) < self.limits.handshakes * LINE_SECONDS / 2:
            self._crowded = False
            self.crowded(False)
        if self._turns:
            self._calling = self._call_later(TURN_SECONDS, self._call)

    def stop(self) -> None:
        """Nobody's turn comes any more."""
        if self._calling is not None and self._calling.active():
            self._calling.cancel()
        self._calling = None

    def opened(self, connection: StreamConnection) -> StreamFlow:
        self._count += 1
        word = connection.listener.transport.decode("ascii").lower()
        flow = StreamFlow(connection, f"{word}/{self._start_id}-{self._count}", connection.peer, self.clock())
        self._tokens[flow.token] = flow
        if connection.outgoing or not flow.secure:
            # A peer that connected from the very port it is reached at may be answered there; over TLS only a
            # connection whose certificate we have checked against the name may be reused (RFC 5923 8).
            self._routes.setdefault(route_of(flow), flow)
        return flow

    def closed(self, connection: StreamConnection, reason: str) -> None:
        self.all.discard(connection)
        self._turns.leave(connection)
        source = self._counted.pop(connection, None)
        if source is not None:
            left = self._sources[source] - 1
            if left:
                self._sources[source] = left
            else:
                del self._sources[source]
        flow = connection.flow
        if flow is not None:
            self._tokens.pop(flow.token, None)
            for route in (route_of(flow), *self._aliases.pop(flow, ())):
                if self._routes.get(route) is flow:
                    del self._routes[route]
            flow.ended()
        try:
            if flow is not None:
                self.receiver.lost(flow, reason)
        finally:
            if not self.all:
                waiting, self._idle = self._idle, []
                for each in waiting:
                    each.callback(None)

    # -- asked by the service

    def flow(self, token: str) -> Flow | None:
        """The open flow of that token."""
        flow = self._tokens.get(token)
        return flow if flow is not None and flow.open else None

    def reusable(self, route: Route) -> StreamFlow | None:
        """An open connection that serves this route."""
        flow = self._routes.get(route)
        return flow if flow is not None and flow.open else None

    def alias(self, flow: Flow, port: int) -> None:
        """The peer of an incoming TLS connection says, by `;alias` in its Via, that requests to `port` of its address
        may come back on it (RFC 5923 8.2).

        Believed only of who showed a certificate that our listener's authorities vouch for, and only for the names in
        that certificate: a connection to one of these names and no other is saved by it. One that we opened stays.
        """
        if not isinstance(flow, StreamFlow) or not flow.open or flow.transport != b"TLS" or flow in self._aliases:
            return
        names = sorted(name for name in flow.names() if not name.startswith("*."))[:ALIASES]
        routes: list[Route] = [(flow.transport, flow.peer[0], port, name) for name in names]
        self._aliases[flow] = [route for route in routes if self.reusable(route) is None]
        for route in self._aliases[flow]:
            self._routes[route] = flow

    def held_by(self, host: str) -> int:
        """Incoming connections counted against this address's source."""
        return self._sources.get(source_of(host), 0)

    def sweep(self) -> None:
        """Act on every deadline that has passed."""
        now = self.clock()
        for connection in self.deadlines.due(now):
            connection.due(now)

    def cut(self, source: str, reason: str) -> int:
        """End every connection of this source, an IPv4 address or IPv6 /64 (it was banned); how many there were."""
        source = source_of(source) if "/" not in source else source
        found = [connection for connection in self.all if source_of(connection.peer[0]) == source]
        for connection in found:
            connection.end(reason)
        return len(found)

    def when_empty(self) -> "Deferred[None]":
        """Fires when the last connection has gone."""
        if not self.all:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._idle.append(waiting)
        return waiting


def route_of(flow: StreamFlow) -> Route:
    """The route an open flow serves."""
    return (flow.transport, flow.peer[0], flow.peer[1], flow.name if flow.secure else "")


class Accepting(Factory):
    """Makes a connection for each accepted socket of one listener."""

    noisy = False

    def __init__(
        self,
        house: Connections,
        listener: Listener,
        codec: Callable[[], Codec],
        *,
        tls: Any = None,
        trusted: Callable[[str], bool] | None = None,
    ) -> None:
        """`trusted(host)`: whether connections from there begin with a PROXY header."""
        self.listener = listener
        self._house = house
        self._codec = codec
        self._tls = tls
        self._trusted = trusted

    def buildProtocol(self, addr: IAddress | None) -> StreamConnection:
        host = normal_host(getattr(addr, "host", ""))
        preamble = Preamble() if self._trusted is not None and self._trusted(host) else None
        return StreamConnection(self._house, self.listener, self._codec(), tls=self._tls, preamble=preamble)


class _OutgoingConnection(StreamConnection):
    """A connection we open: tells when it may carry messages, or that it never will."""

    def __init__(self, house: Connections, listener: Listener, codec: Codec, tls: Any, name: str) -> None:
        super().__init__(house, listener, codec, tls=tls, outgoing=True, name=name)
        self.made: Callable[[StreamFlow | str], None] | None = None
        self.connector: Any = None

    def _open(self) -> None:
        super()._open()
        assert self.flow is not None
        self._tell(self.flow)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        problem: str = getattr(self._tls, "problem", "")
        self._tell(self.reason or problem or reason.getErrorMessage())

    def overtime(self) -> None:
        """The time to connect is over."""
        if self.transport is None:
            self.connector.stopConnecting()
        else:
            self.end("not connected in time")

    def _tell(self, what: StreamFlow | str) -> None:
        # The connector leads back here by way of its factory: no cycle is left behind.
        made, self.made, self.connector = self.made, None, None
        if made is not None:
            made(what)


class _Dial(ClientFactory):
    """One attempt to connect, and everybody who waits for it."""

    noisy = False

    def __init__(self, connection: _OutgoingConnection, done: Callable[[StreamFlow | str], None]) -> None:
        self.waiting: list[Deferred[Flow]] = []
        self._connection: _OutgoingConnection | None = connection
        self._done: Callable[[StreamFlow | str], None] | None = done
        connection.made = done

    def give_up(self) -> None:
        """No longer try to connect."""
        if self._connection is not None:
            self._connection.overtime()

    def over(self) -> None:
        """It succeeded or failed; a connection leads to its factory, and this one must not lead back."""
        self._connection = None
        self._done = None

    def startedConnecting(self, connector: Any) -> None:
        if self._connection is not None:
            self._connection.connector = connector

    def buildProtocol(self, addr: IAddress | None) -> StreamConnection | None:
        return self._connection

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        if self._connection is not None:
            self._connection.made = None
        if self._done is not None:
            self._done(reason.getErrorMessage())


class Dialler:
    """Opens connections toward destinations, one per route, shared by all who ask meanwhile."""

    def __init__(self, reactor: Any, house: Connections) -> None:
        self._reactor = reactor
        self._house = house
        self._dials: dict[Route, _Dial] = {}
        self._failed: dict[Route, tuple[float, str]] = {}

    def connect(
        self, destination: Destination, listener: Listener, codec: Callable[[], Codec], tls: Any
    ) -> "Deferred[Flow]":
        """A flow to the destination; fails with UnreachableError."""
        name = destination.name if listener.secure else ""
        route: Route = (destination.transport, destination.host, destination.port, name)
        flow = self._house.reusable(route)
        if flow is not None:
            return succeed(flow)
        until, why = self._failed.get(route, (0.0, ""))
        if self._house.clock() < until:
            return fail(UnreachableError(why))
        dial = self._dials.get(route)
        if dial is None:
            if len(self._dials) >= PENDING_CONNECTS:
                return fail(UnreachableError("too many connections being opened"))
            dial = self._dial(route, listener, codec(), tls)
        if len(dial.waiting) >= CONNECT_WAITERS:
            return fail(UnreachableError("too many requests wait for this connection"))
        waiting: Deferred[Flow] = Deferred(lambda _: None)
        dial.waiting.append(waiting)
        return waiting

    def stop(self) -> None:
        """Give up every connection that is being opened."""
        for dial in list(self._dials.values()):
            dial.give_up()

    def _dial(self, route: Route, listener: Listener, codec: Codec, tls: Any) -> _Dial:
        limits = self._house.limits
        connection = _OutgoingConnection(self._house, listener, codec, tls, route[3])
        # The time covers the TLS and WebSocket handshakes too, which Twisted's own time-out does not.
        overtime = self._reactor.callLater(limits.connect, connection.overtime)

        def done(outcome: StreamFlow | str) -> None:
            if overtime.active():
                overtime.cancel()
            if isinstance(outcome, str):
                self._remember(route, outcome)
            dial = self._dials.pop(route)
            dial.over()
            for waiting in dial.waiting:
                if not waiting.called:
                    if isinstance(outcome, str):
                        waiting.errback(UnreachableError(outcome))
                    else:
                        waiting.callback(outcome)

        dial = self._dials[route] = _Dial(connection, done)
        local = None if is_wildcard(listener.host) else (listener.host, 0)
        self._reactor.connectTCP(route[1], route[2], dial, limits.connect * 2, local)
        return dial

    def _remember(self, route: Route, why: str) -> None:
        now = self._house.clock()
        if len(self._failed) >= FAILED_DESTINATIONS:
            self._failed = {key: value for key, value in self._failed.items() if value[0] > now}
            if len(self._failed) >= FAILED_DESTINATIONS:
                self._failed.clear()
        self._failed[route] = (now + self._house.limits.connect_pause, why)
