"""The SIP stack of a laboratory party: sockets on a loopback address, the transaction layer, its timers.

In: datagrams and streams; requests and responses of the party's core. Out: `Core` is told of new requests, CANCELs and
ACKs; whoever sent a request learns what became of it. Closing a party closes its sockets at once: it is really gone.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults

from sbc.lab.loop import Port, Reactor, Timer, close
from sbc.lab.wires import StreamFactory, UdpSocket, Wire, open_stream
from sbc.sip import ParseError, Request, Response, Uri, parse
from sbc.sip.build import stamp
from sbc.transaction.driver import Driver
from sbc.transaction.retry import RFC_RETRY, Retry
from sbc.transaction.table import ClientTransaction, ServerTransaction, TransactionTable

MAX_TRANSACTIONS = 20_000  # of one party at a time
MAX_HEARD = 20_000  # messages remembered of one party; the oldest go first
SIP_PORT = 5060


class NoAnswerError(Exception):
    """A request got no final response: it timed out, its connection died, or the party was closed."""


class Core(Protocol):
    """What is done with requests: a phone, a server."""

    def arrived(self, txn: ServerTransaction, request: Request) -> None:
        """A new request, answered through `Party.respond`."""

    def cancelled(self, txn: ServerTransaction) -> None:
        """The caller gave up this INVITE; its CANCEL is answered."""

    def acknowledged(self, ack: Request) -> None:
        """The ACK of a 2xx."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One message as it came off the wire, retransmissions included. `what` is the method or the status as text."""

    at: float
    what: str
    message: Request | Response
    transport: bytes
    peer: tuple[str, int]


class Exchange:
    """What the sender of a request wants to know: every response, and that there will be none."""

    __slots__ = ("_on_failure", "_on_response")

    def __init__(self, on_response: Callable[[Response], object], on_failure: Callable[[str], object]) -> None:
        self._on_response = on_response
        self._on_failure = on_failure

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        """A response."""
        self._on_response(response)

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        """No final response came in time."""
        self._on_failure("timed out")

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        """The connection took no more."""
        self._on_failure(reason)


class _Arrivals:
    """What the driver tells the core."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def request(self, txn: ServerTransaction, request: Request, now: float) -> None:
        """A new request."""
        self._core.arrived(txn, request)

    def cancelled(self, txn: ServerTransaction, cancel: Request, now: float) -> None:
        """A CANCEL that matched."""
        self._core.cancelled(txn)

    def ack(self, request: Request, hop: Any, now: float) -> None:
        """The ACK of a 2xx."""
        self._core.acknowledged(request)

    def stray(self, response: Response, hop: Any, now: float) -> None:
        """A response nobody waits for: the record has it, nothing else happens."""

    def unacknowledged(self, txn: ServerTransaction, now: float) -> None:
        """The ACK of a refused INVITE never came; nothing depends on it here."""


class Party:
    """A SIP element on `host`. It listens where it is told to and connects where it must."""

    def __init__(self, reactor: Reactor, host: str, core: Core) -> None:
        self.reactor = reactor
        self.host = host
        self.core = core
        self.heard: deque[Heard] = deque(maxlen=MAX_HEARD)
        self.deaf = False  # hears nothing and says nothing, its sockets stay open: a phone without a network
        self.closed = False
        self._driver = Driver(TransactionTable(limit=MAX_TRANSACTIONS), reactor.seconds, None)
        self._driver.server = _Arrivals(core)
        self._timer: Timer | None = None
        self._due = 0.0
        self._later: set[Timer] = set()
        self._udp: UdpSocket | None = None
        self._ports: list[Port] = []
        self._streams: dict[tuple[str, int], Wire] = {}

    # -- sockets ------------------------------------------------------------------------------------------------

    def listen_udp(self, port: int = 0) -> int:
        """Bind a UDP port (0: any free one) and return it."""
        socket = UdpSocket(self.reactor, self.host, self._datagram)
        self._udp = socket
        self._ports.append(socket.open(port))
        return socket.port

    def listen_tcp(self, port: int = 0) -> int:
        """Accept connections on a port (0: any free one) and return it."""
        factory = StreamFactory(self._opened, self._message, self._ended)
        listening = self.reactor.listenTCP(port, factory, interface=self.host)
        self._ports.append(listening)
        number: int = listening.getHost().port
        factory.contact_port = number
        return number

    def wire(self, transport: bytes, host: str, port: int) -> Deferred[Wire]:
        """The way to a peer: this party's UDP socket, or an open or new connection."""
        ready: Deferred[Wire] = Deferred()
        if transport == b"UDP":
            if self._udp is None:
                self.listen_udp()
            assert self._udp is not None
            ready.callback(self._udp.wire((host, port)))
            return ready
        known = self._streams.get((host, port))
        if known is not None and known.open:
            ready.callback(known)
            return ready
        return open_stream(self.reactor, self.host, (host, port), self._opened, self._message, self._ended)

    def wire_to(self, uri: Uri) -> Deferred[Wire]:
        """The way to what a SIP URI with an IP address names (RFC 3263 section 4 for such URIs)."""
        transport = (uri.transport or b"udp").upper()
        return self.wire(transport, uri.address, uri.port or SIP_PORT)

    def later(self, delay: float, call: Callable[..., object], *arguments: object) -> Timer:
        """Call after `delay` seconds, unless the party is closed before."""

        def due() -> None:
            self._later.discard(timer)
            call(*arguments)

        timer: Timer = self.reactor.callLater(delay, due)
        self._later.add(timer)
        return timer

    def close(self) -> Deferred[None]:
        """Close every socket and forget every transaction, without a word to anybody."""
        self.closed = True
        for timer in self._later:
            if timer.active():
                timer.cancel()
        self._later.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        for wire in list(self._streams.values()):
            wire.cut()
        self._streams.clear()
        ports, self._ports, self._udp = self._ports, [], None
        done: Deferred[Any] = gatherResults([close(port) for port in ports])
        return done.addCallback(lambda _: None)

    # -- requests and responses ---------------------------------------------------------------------------------

    def request(
        self,
        request: Request,
        wire: Wire,
        on_response: Callable[[Response], object],
        on_failure: Callable[[str], object],
        retry: Retry = RFC_RETRY,
    ) -> ClientTransaction | None:
        """Send in a client transaction; None when the party is closed (and `on_failure` was called)."""
        if self.closed:
            on_failure("closed")
            return None
        txn = self._driver.send(request, wire, Exchange(on_response, on_failure), retry)
        self._schedule()
        return txn

    def ask(self, request: Request, wire: Wire) -> Deferred[Response]:
        """Send; fires with the final response, or fails with `NoAnswerError`."""
        done: Deferred[Response] = Deferred()

        def answered(response: Response) -> None:
            if response.status >= 200 and not done.called:
                done.callback(response)

        def failed(reason: str) -> None:
            if not done.called:
                done.errback(NoAnswerError(f"{request.method.decode()}: {reason}"))

        self.request(request, wire, answered, failed)
        return done

    def respond(self, txn: ServerTransaction, response: Response) -> None:
        """Answer a request."""
        if not self.closed:
            self._driver.respond(txn, response)
            self._schedule()

    def put(self, message: Request | Response, wire: Wire) -> None:
        """Send outside of transactions: the ACK of a 2xx, a 2xx again."""
        if not self.closed:
            self._driver.put(message.render(), wire)

    # -- inside -------------------------------------------------------------------------------------------------

    def _datagram(self, data: bytes, peer: tuple[str, int]) -> None:
        if self._udp is not None and data.strip():
            self._message(self._udp.wire(peer), data)

    def _opened(self, wire: Wire) -> None:
        if self.closed:
            wire.cut()
            return
        self._streams[wire.peer] = wire

    def _ended(self, wire: Wire) -> None:
        if self._streams.get(wire.peer) is wire:
            del self._streams[wire.peer]
        if not self.closed:
            self._driver.lost(wire)
            self._schedule()

    def _message(self, wire: Wire, data: bytes) -> None:
        if self.closed or self.deaf:
            return
        try:
            message = parse(data)
        except ParseError:
            return
        what = message.method.decode() if isinstance(message, Request) else str(message.status)
        self.heard.append(Heard(self.reactor.seconds(), what, message, wire.transport, wire.peer))
        if isinstance(message, Request):
            stamp(message, wire.peer[0].encode(), wire.peer[1])
        self._driver.receive(message, wire)
        self._schedule()

    def _schedule(self) -> None:
        """Wake up at the table's next deadline."""
        if self.closed:
            return
        deadline = self._driver.table.deadline()
        active = self._timer is not None and self._timer.active()
        if deadline is None or (active and self._due <= deadline):
            return
        if active and self._timer is not None:
            self._timer.cancel()
        self._due = deadline
        self._timer = self.reactor.callLater(max(deadline - self.reactor.seconds(), 0.0), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._driver.tick()
        self._schedule()


def new_branch() -> bytes:
    """A Via branch nobody used before (RFC 3261 section 8.1.1.7)."""
    return b"z9hG4bK" + secrets.token_hex(10).encode()


def new_tag() -> bytes:
    """A tag, or any other identifier."""
    return secrets.token_hex(8).encode()


def wire_of(txn: ServerTransaction) -> Wire:
    """The wire a request came on: every hop of a laboratory party is one."""
    assert isinstance(txn.hop, Wire)
    return txn.hop


def failed(error: Exception) -> Deferred[Any]:
    """A Deferred that failed already."""
    unhappy: Deferred[Any] = Deferred()
    unhappy.errback(error)
    return unhappy
