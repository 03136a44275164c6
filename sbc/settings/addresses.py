"""Kinds of settings that name places on the network: SIP URIs, addresses, port ranges, networks."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from sbc.settings.compound import List
from sbc.settings.kinds import Kind

Network = IPv4Network | IPv6Network


class SipUri(Kind[str]):
    """A `sip:` or `sips:` URI; a bare host or host:port is taken as `sip:`. Empty only where `optional`."""

    def __init__(self, *, optional: bool = False) -> None:
        self.optional = optional

    @property
    def words(self) -> str:
        return 'a SIP URI like "sip:pbx.example.com;transport=tcp"' + (" or empty" if self.optional else "")

    def read(self, raw: object) -> str:
        if not isinstance(raw, str) or any(char <= " " or char in '<>"' for char in raw):
            raise self.refuse(raw)
        if not raw:
            if self.optional:
                return raw
            raise self.refuse(raw)
        uri = raw if raw.lower().startswith(("sip:", "sips:")) else f"sip:{raw}"
        place = uri.partition(":")[2].partition(";")[0].partition("?")[0].rpartition("@")[2]
        try:
            read_address(place, default_port=5060)
        except ValueError:
            raise self.refuse(raw) from None
        return uri


class Address(NamedTuple):
    """A host (name or IP literal without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: str, *, default_port: int | None) -> Address:
    """Read `host:port`, `[v6]:port`, a bare host where a default port is known; ValueError else."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        if ip_address(host).version != 6 or (rest and not rest.startswith(":")):
            raise ValueError(text)
        port = rest[1:]
    else:
        host, _, port = text.partition(":")
        if not host or not host.isascii() or not all(char.isalnum() or char in "-._" for char in host):
            raise ValueError(text)
        if all(char.isdigit() or char == "." for char in host):
            ip_address(host)  # digits and dots only: must then be a right IPv4 literal
    if not port and default_port is not None and not text.endswith(":"):
        return Address(host, default_port)
    if not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(text)
    return Address(host, int(port))


class HostPort(Kind[Address]):
    """`host:port`; the port may be left out where there is a default."""

    def __init__(self, default_port: int | None = None) -> None:
        self.default_port = default_port

    @property
    def words(self) -> str:
        return 'an address like "127.0.0.1:8080" or "[::1]:8080"'

    def read(self, raw: object) -> Address:
        if not isinstance(raw, str):
            raise self.refuse(raw)
        try:
            return read_address(raw, default_port=self.default_port)
        except ValueError:
            raise self.refuse(raw) from None


class Ports(NamedTuple):
    """A range of ports, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


class PortRange(Kind[Ports]):
    """`"20000-29999"`: ports above 0, ends included."""

    @property
    def words(self) -> str:
        return 'a range of ports like "20000-29999"'

    def read(self, raw: object) -> Ports:
        if not isinstance(raw, str):
            raise self.refuse(raw)
        first, _, last = (part.strip() for part in raw.partition("-"))
        if not (first + last).isascii() or not first.isdigit() or not last.isdigit():
            raise self.refuse(raw)
        ports = Ports(int(first), int(last))
        if not 0 < ports.first <= ports.last <= 65535:
            raise self.refuse(raw)
        return ports


class _NetworkKind(Kind[Network]):
    @property
    def words(self) -> str:
        return 'a network or address like "198.51.100.0/24"'

    def read(self, raw: object) -> Network:
        if not isinstance(raw, str):
            raise self.refuse(raw)
        try:
            return ip_network(raw.strip(), strict=False)
        except ValueError:
            raise self.refuse(raw) from None


def Networks(*, maximum: int = 10_000) -> List[Network]:
    """A list of networks in CIDR notation or single addresses."""
    return List(_NetworkKind(), maximum=maximum)
