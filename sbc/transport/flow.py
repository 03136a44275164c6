"""The words everybody shares: flow, listener, destination, receiver, gate.

A flow is where answers go: a remote UDP address seen from one of our sockets, or one open connection (RFC 5626 1).
"""

from dataclasses import dataclass
from typing import Protocol

from sbc.transport.address import bracketed, is_wildcard, normal_host

CLIENT, UPPER, BOTH = "client", "upper", "both"
"""The sides a listener may serve: phones, upper servers, both."""


class Listener:
    """One address we are reached at.

    `host` and `port` are where it is bound (the port becomes the real one once port 0 is bound), `dual` is whether an
    IPv6 one takes IPv4 too; `advertise_host` and `advertise_port` are what peers are told in Via, Record-Route, Contact
    and SDP; `side` is who is served: client, upper, both. A dual one has two faces: itself for peers of IPv6, `facing`
    tells another one for peers of IPv4, which no IPv6 address is any use to.
    """

    __slots__ = (
        "_advertise_four",
        "_advertise_host",
        "_advertise_port",
        "_four",
        "_uri_host",
        "advertise_host",
        "advertise_port",
        "dual",
        "host",
        "index",
        "port",
        "reliable",
        "secure",
        "side",
        "transport",
        "whole",
    )

    def __init__(
        self,
        index: int,
        transport: bytes,
        host: str,
        port: int,
        *,
        side: str = BOTH,
        advertise_host: str | None = None,
        advertise_port: int | None = None,
        advertise_four: tuple[str, int | None] | None = None,
    ) -> None:
        """`advertise_four`: what peers of IPv4 are told of a dual listener; `advertise_host`, an address of the other
        family or a name, is for the others then."""
        self.index = index
        self.transport = transport
        self.reliable = transport != b"UDP"
        self.secure = transport in (b"TLS", b"WSS")
        self.host = host
        self.side = side
        self.dual = False
        self._advertise_host = advertise_host
        self._advertise_port = advertise_port
        self._advertise_four = advertise_four
        self._four: Listener | None = None
        self.whole: Listener = self
        """The listener that this is a face of."""
        self.bound(port, None)

    def bound(self, port: int, local_host: str | None, local_four: str | None = None) -> None:
        """The socket is bound to `port`; `local_host` stands in for a wildcard address nobody could be told,
        `local_four` for that of a dual listener toward peers of IPv4."""
        self.port = port
        if self.dual:
            told = self._advertise_four or (local_four or "127.0.0.1", None)
            self._four = self._face(port, *told)
        host = self._advertise_host or (local_host if local_host and is_wildcard(self.host) else self.host)
        self.advertise_host: bytes = bracketed(host).encode("ascii")
        self.advertise_port: int = self._advertise_port or port
        self._uri_host = b"%s:%d" % (self.advertise_host, self.advertise_port)

    def _face(self, port: int, host: str, told_port: int | None) -> "Listener":
        face = Listener(
            self.index, self.transport, self.host, port, side=self.side, advertise_host=host, advertise_port=told_port
        )
        face.whole = self
        return face

    def facing(self, host: str) -> "Listener":
        """How this listener is told to a peer with this IP address."""
        return self._four if self._four is not None and ":" not in host else self

    @property
    def faces(self) -> tuple["Listener", ...]:
        """As all it is told to peers."""
        return (self,) if self._four is None else (self, self._four)

    def speak_as(self, model: "Listener") -> None:
        """Be told to peers as `model` is: for connections of a transport that nobody can reach us at."""
        self.advertise_host, self.advertise_port = model.advertise_host, model.advertise_port
        self._uri_host = model.uri_host

    @property
    def uri_host(self) -> bytes:
        """Host and port for URIs and Via, as in `203.0.113.5:5060` or `[2001:db8::5]:5060`."""
        return self._uri_host

    @property
    def ipv6(self) -> bool:
        return ":" in self.host

    def serves(self, side: str) -> bool:
        """Whether this listener may be used toward `side`."""
        return self.side in (BOTH, side)

    def __repr__(self) -> str:
        return (
            f"<Listener {self.index} {self.transport.decode().lower()}:{bracketed(self.host)}:{self.port} {self.side}>"
        )


class Flow:
    """Where messages came from and go to.

    `token` names the flow on this node (`Transports.flow` finds it again), `peer` is (IP address, port), `heard_at`
    is when the last bytes came (seconds, monotonic; 0.0 if never), `open` turns False once and for all when a
    connection ends. UDP flows are always open. `translated` is set once a request was sent from there whose Via names
    another host: there is NAT, or a proxy.
    """

    __slots__ = ("heard_at", "listener", "open", "peer", "reliable", "secure", "translated", "transport")

    def __init__(self, listener: Listener, peer: tuple[str, int], heard_at: float = 0.0) -> None:
        self.listener = listener.facing(peer[0])
        self.transport = listener.transport
        self.reliable = listener.reliable
        self.secure = listener.secure
        self.peer = peer
        self.heard_at = heard_at
        self.open = True
        self.translated = False

    @property
    def token(self) -> str:
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Send one whole message. Never blocks, never raises: what cannot be sent is counted, a dead flow is lost."""
        raise NotImplementedError

    def close(self, reason: str) -> None:
        """End the connection under this flow, unsent bytes included; `Receiver.lost` follows. UDP: nothing happens."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<Flow {self.token} {self.peer[0]}:{self.peer[1]}{'' if self.open else ' closed'}>"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to send: `transport` as in a Via header, `host` an IP address, `name` the domain a TLS certificate must
    be valid for (RFC 5922), or the host again when there was no name."""

    transport: bytes
    host: str
    port: int
    name: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", normal_host(self.host))


class Receiver(Protocol):
    """Who is told what the transports hear."""

    def received(self, data: bytes, flow: Flow) -> None:
        """One whole SIP message, unparsed."""

    def lost(self, flow: Flow, reason: str) -> None:
        """A connection ended, or a datagram could not be sent to this peer at all."""

    def refused(self, flow: Flow, what: str) -> None:
        """Bytes were dropped: `what` is one of the words in `limits.REFUSALS`."""

    def shed(self, count: int) -> None:
        """So many datagrams of strangers were dropped unread, since there were more than can be served."""


class Gate(Protocol):
    """Who is let in at all; asked before a byte is read as SIP."""

    def admits(self, host: str) -> bool:
        """False: datagrams of this address are dropped unread, connections closed at once. Called per datagram."""

    def exempt(self, host: str) -> bool:
        """True: the per-source limits do not apply to this address."""

    def known(self, host: str) -> bool:
        """Whether somebody we serve is at this address: an upper server, a phone that is registered. Asked when there
        is more to read than can be served."""


class OpenGate:
    """Everybody is let in, nobody is exempt."""

    def admits(self, host: str) -> bool:
        return True

    def exempt(self, host: str) -> bool:
        return False

    def known(self, host: str) -> bool:
        return True
