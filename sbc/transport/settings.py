"""Settings of the listeners and of connections."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from sbc.settings import Duration, FilePath, Flag, Integer, Kind, List, Networks, Text, Words, section, setting
from sbc.transport.address import DNS_PORT, advertised, is_ip, parse_listen, split_host_port
from sbc.transport.limits import Limits


class ListenUri(Kind[str]):
    """`udp:0.0.0.0:5060`; an IP address, since a listener binds addresses and not names."""

    words = 'a transport and an IP address like "udp:0.0.0.0:5060" or "wss:[::]:443"'

    def read(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise self.refuse(raw)
        parse_listen(raw)
        return raw


class Advertise(Kind[str]):
    """A host name, an IP address or one of each family, with or without a port; empty for the address itself."""

    words = 'an address like "203.0.113.5" or "sbc.example.com:5061", one of each family with a comma, or empty'

    def read(self, raw: object) -> str:
        if not isinstance(raw, str) or not raw.isascii() or any(char < " " or char in '<>"@;?/' for char in raw):
            raise self.refuse(raw)
        advertised(raw)
        return raw

    def show(self, value: Any) -> str:
        return str(value)


@section("listen", array=True, doc="An address where phones or upper servers reach the SBC")
@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    """One `[[listen]]` entry."""

    uri: str = setting(kind=ListenUri(), doc="transport (udp, tcp, tls, ws, wss), address and port", restart=True)
    advertise: str = setting(
        "",
        Advertise(),
        doc="what peers are told, for [::] one address of each family with a comma; empty: the address itself",
        restart=True,
    )
    side: str = setting(
        "both", Words({"both": None, "client": None, "upper": None}), doc="who is served here", restart=True
    )
    certificate: str = setting("", FilePath(), doc="tls, wss: PEM file with the certificate and its chain")
    key: str = setting("", FilePath(), doc="tls, wss: PEM file with the private key; empty: in the certificate file")
    certificates: tuple[str, ...] = setting(
        (),
        List(FilePath()),
        doc="tls, wss: further PEM files, each with its key, for clients that ask for another name (SNI)",
    )
    client_ca: str = setting("", FilePath(), doc="tls, wss: clients show a certificate of one of these authorities")
    client_certificate: str = setting(
        "required",
        Words({"required": None, "optional": None}),
        doc="tls, wss: with client_ca, whether who shows no certificate is let in",
    )
    path: str = setting("/", Text(), doc="ws, wss: path of the WebSocket")
    origins: tuple[str, ...] = setting((), List(Text()), doc="ws, wss: web origins allowed; empty: any")
    proxies: tuple[IPv4Network | IPv6Network, ...] = setting(
        (), Networks(), doc="balancers in these networks begin each connection with a PROXY protocol 2 header"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong between the settings of one listener."""
        transport = parse_listen(self.uri).transport
        if transport in (b"TLS", b"WSS") and not self.certificate:
            yield "certificate", f"is needed for {self.uri}"
        if not self.path.startswith("/"):
            yield "path", 'must begin with "/"'
        if self.proxies and transport == b"UDP":
            yield "proxies", "have no meaning for UDP"


DEFAULT_LISTENS = (ListenSettings(uri="udp:0.0.0.0:5060"), ListenSettings(uri="tcp:0.0.0.0:5060"))
"""Where we listen when nothing is configured."""

_DEFAULT = Limits()


@section("transport", doc="Connections: limits in time and number, trust, name look-ups")
@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """The `[transport]` section."""

    connect_timeout: float = setting(
        _DEFAULT.connect, Duration(0.1, 60.0), doc="time to open a connection, TLS and WebSocket included"
    )
    datagram_request: int = setting(
        _DEFAULT.datagram_request,
        Integer(0, 65_000),
        doc="a request of more bytes goes to a server by TCP, not UDP, if it takes TCP (RFC 3261 18.1.1); 0: never",
    )
    handshakes: int = setting(
        _DEFAULT.handshakes, Integer(1, 100_000), doc="TLS handshakes begun per second; others wait for their turn"
    )
    handshake_timeout: float = setting(
        _DEFAULT.handshake, Duration(0.1, 60.0), doc="time for a TLS handshake of a client whose turn has come"
    )
    first_message: float = setting(
        _DEFAULT.first_message, Duration(0.1, 3600.0), doc="a new connection must bring its first message in this time"
    )
    partial_message: float = setting(
        _DEFAULT.partial_message, Duration(0.1, 3600.0), doc="a message once begun must be complete in this time"
    )
    idle: float = setting(_DEFAULT.idle, Duration(10.0), doc="a connection silent this long is closed")
    websocket_ping: float = setting(
        _DEFAULT.websocket_ping, Duration(1.0, 3600.0), doc="a silent WebSocket is pinged this often"
    )
    connections: int = setting(_DEFAULT.connections, Integer(1, 1_000_000), doc="connections in all")
    connections_per_source: int = setting(
        _DEFAULT.connections_per_source,
        Integer(1, 1_000_000),
        doc="incoming connections of one IPv4 address or IPv6 /64",
    )
    ca_file: str = setting(
        "", FilePath(), doc="PEM file of authorities trusted besides the system's when we connect by TLS"
    )
    verify: bool = setting(True, Flag(), doc="check the certificate and host name of TLS servers we connect to")
    certificate: str = setting("", FilePath(), doc="PEM file we show when a TLS server asks for our certificate")
    key: str = setting("", FilePath(), doc="PEM file of its private key; empty: in the certificate file")
    nameservers: tuple[str, ...] = setting(
        (), List(Text()), doc="DNS servers, as address or address:port; empty: those of /etc/resolv.conf"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong between the settings of this section."""
        for server in self.nameservers:
            try:
                host, _ = split_host_port(server)
            except ValueError as error:
                yield "nameservers", str(error)
                continue
            if not is_ip(host):
                yield "nameservers", f"{server!r} is not an IP address"

    def dns_servers(self) -> list[tuple[str, int]]:
        """The name servers as the resolver takes them."""
        found = (split_host_port(server) for server in self.nameservers)
        return [(host, DNS_PORT if port is None else port) for host, port in found]

    def limits(self) -> Limits:
        """The limits as the transports take them."""
        return Limits(
            datagram_request=self.datagram_request,
            handshakes=self.handshakes,
            handshake=self.handshake_timeout,
            first_message=self.first_message,
            partial_message=self.partial_message,
            idle=self.idle,
            websocket_ping=self.websocket_ping,
            connect=self.connect_timeout,
            connections=self.connections,
            connections_per_source=self.connections_per_source,
        )
