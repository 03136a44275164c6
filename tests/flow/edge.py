"""A proxy between phones and the SBC, without any state: Path, Via and Record-Route (RFC 3327, RFC 5626)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol

from sbc.sip import Request, Response, parse
from sbc.sip.build import respond, stamp
from sbc.sip.framing import Framer, KeepAlive
from sbc.sip.values import NameAddr

Address = tuple[str, int]


class Edge(DatagramProtocol):
    """`address` (UDP) is for phones; what they send goes to the SBC at `beyond`, all over one flow.

    A phone in `gone` has lost its flow: what comes for it is answered 430. `heard` and `said` are what passed from and
    to the SBC.
    """

    noisy = False

    def __init__(self, beyond: Address, *, host: str = "127.0.0.8", tcp: bool = True, ob: bytes = b";ob") -> None:
        self.beyond, self.ob = beyond, ob
        self.heard: list[Request | Response] = []
        self.said: list[Request | Response] = []
        self.gone: set[Address] = set()
        self._port = reactor.listenUDP(0, self, interface=host)
        self.address: Address = (host, self._port.getHost().port)
        self.tcp = tcp
        self.streams: list[Stream] = []
        self._waiting: list[bytes] = []
        self._listening: Any = None
        if tcp:
            self._listening = reactor.listenTCP(self.address[1], _Accept(self), interface=host)

    def close(self) -> Any:
        """Be gone."""
        self.cut()
        if self._listening is not None:
            self._listening.stopListening()
        return self._port.stopListening()

    def cut(self) -> Callable[[], bool]:
        """The connection to the SBC breaks; gives whether it is gone. Another one may have taken its place by then."""
        cut = list(self.streams)
        for stream in cut:
            stream.transport.abortConnection()
        return lambda: not any(stream in self.streams for stream in cut)

    def requests(self, method: bytes) -> list[Request]:
        """Those of a method that came from the SBC; one that is repeated, as datagrams are, counts once."""
        found = [each for each in self.heard if isinstance(each, Request) and each.method == method]
        return list({each.render(): each for each in found}.values())

    # Phones and, over UDP, the SBC

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        if not datagram.strip():
            return
        message = parse(datagram)
        if addr == self.beyond:
            self._from_border(message)
        else:
            self._from_phone(message, addr)

    def _from_phone(self, message: Request | Response, addr: Address) -> None:
        if isinstance(message, Response):
            message.pop_top(b"via")
            self._up(message)
            return
        stamp(message, addr[0].encode(), addr[1])
        token = b"%s-%d" % (addr[0].replace(".", "_").encode(), addr[1])
        while message.routes and message.routes[0].uri.port == self.address[1]:
            message.pop_top(b"route")
        if message.method == b"REGISTER":
            message.push(b"path", self._own(token, self.ob))
        elif message.method == b"INVITE" and message.to_tag is None:
            message.push(b"record-route", self._own(token, b""))
        message.push(b"via", self._via(message))
        self._up(message)

    # The SBC

    def from_stream(self, data: bytes) -> None:
        """A message over TCP."""
        self._from_border(parse(data))

    def _from_border(self, message: Request | Response) -> None:
        self.heard.append(message)
        if isinstance(message, Response):
            message = message.copy()
            message.pop_top(b"via")
            top = message.via
            self._down(message, (top.params[b"received"].decode(), int(top.params[b"rport"])))
            return
        out = message.copy()
        stamp(out, self.beyond[0].encode(), self.beyond[1])
        assert out.routes, "the SBC sends by the Path that it was given"
        own = out.routes[0].uri
        assert own.port == self.address[1]
        out.pop_top(b"route")
        host, _, port = (own.user or b"").decode().partition("-")
        phone = (host.replace("_", "."), int(port))
        if out.method == b"INVITE":
            self._up(respond(out, 100))
            if out.to_tag is None:
                out.push(b"record-route", self._own(own.user or b"", b""))
        if phone in self.gone:
            if out.method != b"ACK":
                self._up(respond(out, 430, b"Flow Failed", to_tag=b"edge"))
            return
        out.push(b"via", self._via(out))
        self._down(out, phone)

    # Inside

    def _own(self, token: bytes, more: bytes) -> bytes:
        transport = b";transport=tcp" if self.tcp else b""
        return b"<sip:%s@%s:%d%s;lr%s>" % (token, self.address[0].encode(), self.address[1], transport, more)

    def _via(self, message: Request) -> bytes:
        branch = (message.via.branch or b"") + b".e"
        transport = b"TCP" if self.tcp else b"UDP"
        return b"SIP/2.0/%s %s:%d;branch=%s;rport" % (transport, self.address[0].encode(), self.address[1], branch)

    def _down(self, message: Request | Response, phone: Address) -> None:
        self._port.write(message.render(), phone)

    def _up(self, message: Request | Response) -> None:
        self.said.append(message)
        if not self.tcp:
            self._port.write(message.render(), self.beyond)
            return
        if self.streams:
            self.streams[-1].transport.write(message.render())
            return
        self._waiting.append(message.render())
        if len(self._waiting) == 1:
            reactor.connectTCP(*self.beyond, _Connect(self), bindAddress=(self.address[0], 0))

    def connected(self, stream: Stream) -> None:
        """There is a connection, of its or of our making."""
        self.streams.append(stream)
        for data in self._waiting:
            stream.transport.write(data)
        self._waiting.clear()

    def lost(self, stream: Stream) -> None:
        """It is gone."""
        self.streams.remove(stream)


class Stream(Protocol):
    """One connection between the edge and the SBC."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.framer = Framer(65_535)

    def connectionMade(self) -> None:
        self.edge.connected(self)

    def dataReceived(self, data: bytes) -> None:
        for item in self.framer.feed(data):
            if not isinstance(item, KeepAlive):
                self.edge.from_stream(item)

    def connectionLost(self, reason: Any = None) -> None:
        self.edge.lost(self)


class _Accept(Factory):
    noisy = False

    def __init__(self, edge: Edge) -> None:
        self.edge = edge

    def buildProtocol(self, addr: object) -> Stream:
        return Stream(self.edge)


class _Connect(_Accept, ClientFactory):
    noisy = False


def route_of(value: bytes) -> bytes:
    """The user part of a Route or Path value: the token of a flow."""
    return NameAddr.parse(value).uri.user or b""
