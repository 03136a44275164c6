"""The sockets of laboratory parties: one UDP socket, or TCP connections, each seen as `Wire` objects to send on.

In: datagrams, connections. Out: whole messages with the wire they came on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.python.failure import Failure

from sbc.lab.loop import DatagramPort, Reactor, Stream
from sbc.sip import ParseError
from sbc.sip.framing import Framer, KeepAlive

MAX_DATAGRAM = 65_535  # bytes
CONNECT_TIME = 5.0  # s until a connection attempt is given up

Address = tuple[str, int]
Message = Callable[["Wire", bytes], object]
Change = Callable[["Wire"], object]


class Wire:
    """A way to one peer. `local` is what goes into Via and Contact; for a connection accepted by a listener it is the
    listener's address."""

    __slots__ = ("_cut", "_write", "local", "open", "peer", "reliable", "transport")

    def __init__(
        self,
        transport: bytes,
        local: Address,
        peer: Address,
        write: Callable[[bytes], object],
        cut: Callable[[], object] | None = None,
    ) -> None:
        self.transport = transport
        self.reliable = transport != b"UDP"
        self.local = local
        self.peer = peer
        self.open = True
        self._write = write
        self._cut = cut

    def send(self, data: bytes) -> None:
        """Send one message; silently nothing when the way is gone."""
        if self.open:
            self._write(data)

    def cut(self) -> None:
        """End a connection at once."""
        self.open = False
        if self._cut is not None:
            self._cut()

    def via(self, branch: bytes) -> bytes:
        """A Via value for a request that leaves here."""
        return b"SIP/2.0/%b %b;rport;branch=%b" % (self.transport, self.address, branch)

    @property
    def address(self) -> bytes:
        """``host:port`` of this end, for URIs."""
        host, port = self.local
        return f"[{host}]:{port}".encode() if ":" in host else f"{host}:{port}".encode()


class UdpSocket(DatagramProtocol):
    """One bound socket; a wire per peer is made when asked for."""

    noisy = False

    def __init__(self, reactor: Reactor, host: str, received: Callable[[bytes, Address], object]) -> None:
        self._reactor = reactor
        self._received = received
        self._port: DatagramPort | None = None
        self.host, self.port = host, 0

    def open(self, port: int) -> DatagramPort:
        """Bind."""
        self._port = self._reactor.listenUDP(port, self, interface=self.host, maxPacketSize=MAX_DATAGRAM)
        assert self._port is not None
        self.port = self._port.getHost().port
        return self._port

    def wire(self, peer: Address) -> Wire:
        """The way to `peer`."""
        return Wire(b"UDP", (self.host, self.port), peer, lambda data: self._send(data, peer))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Hand it on."""
        self._received(datagram, (addr[0], addr[1]))

    def stopProtocol(self) -> None:
        """The socket is closed."""
        self._port = None

    def _send(self, data: bytes, peer: Address) -> None:
        if self._port is not None:
            self._port.write(data, peer)


class SipStream(Protocol):
    """One TCP connection. A ping (double line end) is answered by a pong (RFC 5626 section 3.5.1)."""

    transport: Stream  # type: ignore[assignment]

    def __init__(self, opened: Change, message: Message, ended: Change, contact_port: int | None = None) -> None:
        self._opened, self._message, self._ended = opened, message, ended
        self._contact_port = contact_port
        self._framer = Framer()
        self.wire: Wire | None = None

    def connectionMade(self) -> None:
        """The wire exists from now on."""
        host, peer = self.transport.getHost(), self.transport.getPeer()
        local = (host.host, self._contact_port or host.port)
        write, cut = self.transport.write, self.transport.abortConnection
        self.wire = Wire(b"TCP", local, (peer.host, peer.port), write, cut)
        self._opened(self.wire)

    def dataReceived(self, data: bytes) -> None:
        """Cut the stream into messages."""
        assert self.wire is not None
        try:
            found = self._framer.feed(data)
        except ParseError:
            self.transport.abortConnection()
            return
        for message in found:
            if message is KeepAlive.PING:
                self.transport.write(KeepAlive.PONG.value)
            elif isinstance(message, bytes):
                self._message(self.wire, message)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The wire is dead."""
        if self.wire is not None:
            self.wire.open = False
            self._ended(self.wire)


class StreamFactory(Factory):
    """Accepted connections."""

    noisy = False

    def __init__(self, opened: Change, message: Message, ended: Change) -> None:
        self._ports = (opened, message, ended)
        self.contact_port: int | None = None

    def buildProtocol(self, addr: Any) -> SipStream:
        """One more."""
        return SipStream(*self._ports, self.contact_port)


class _Opening(ClientFactory):
    """One connection attempt."""

    noisy = False

    def __init__(self, done: Deferred[Wire], opened: Change, message: Message, ended: Change) -> None:
        self._done = done
        self._ports = (opened, message, ended)

    def buildProtocol(self, addr: Any) -> SipStream:
        """The connection is there."""
        opened, message, ended = self._ports

        def ready(wire: Wire) -> None:
            opened(wire)
            self._done.callback(wire)

        return SipStream(ready, message, ended)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """It is not."""
        self._done.errback(reason)


def open_stream(
    reactor: Reactor, host: str, peer: Address, opened: Change, message: Message, ended: Change
) -> Deferred[Wire]:
    """Connect from `host` (any port) to `peer`; fails with Twisted's ConnectError."""
    done: Deferred[Wire] = Deferred()
    factory = _Opening(done, opened, message, ended)
    reactor.connectTCP(peer[0], peer[1], factory, timeout=CONNECT_TIME, bindAddress=(host, 0))
    return done
