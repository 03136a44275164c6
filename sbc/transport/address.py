"""Addresses in text: what a `uri` of a listener means, how peers are written, which addresses count as one source."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

TRANSPORTS = {"udp": b"UDP", "tcp": b"TCP", "tls": b"TLS", "ws": b"WS", "wss": b"WSS"}
"""The word in a listener's uri, and the name in a Via header (RFC 3261 20.42, RFC 7118 5.1)."""

DEFAULT_PORTS = {b"UDP": 5060, b"TCP": 5060, b"TLS": 5061, b"WS": 80, b"WSS": 443}
"""RFC 3261 19.1.2; RFC 7118 5.2 for WebSocket."""

MAX_PORT = 65_535
"""Highest UDP or TCP port."""
DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener binds: `transport` as in a Via header, `host` without brackets, `port` 0 to 65535 (0: any)."""

    transport: bytes
    host: str
    port: int


def parse_listen(uri: str) -> Address:
    """Read `udp:0.0.0.0:5060`, `tls:[::]`, `ws://127.0.0.1:80`. Raises ValueError with a sentence for the operator."""
    word, colon, rest = uri.partition(":")
    transport = TRANSPORTS.get(word.strip().lower())
    if not colon or transport is None:
        raise ValueError(f"{uri!r} does not start with one of {', '.join(word + ':' for word in TRANSPORTS)}")
    host, port = split_host_port(rest.removeprefix("//").rstrip("/"))
    if not is_ip(host):
        raise ValueError(f"{host!r} in {uri!r} is not an IP address")
    return Address(transport, host, DEFAULT_PORTS[transport] if port is None else port)


def split_host_port(text: str) -> tuple[str, int | None]:
    """`"[::1]:5060"` -> `("::1", 5060)`, `"pbx.example.com"` -> `("pbx.example.com", None)`. Raises ValueError."""
    text = text.strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not [IPv6]:port")
        digits = rest[1:] if rest else None
    elif text.count(":") > 1:
        host, digits = text, None
    else:
        host, colon, after = text.partition(":")
        digits = after if colon else None
    if digits is None:
        return host, None
    if not digits.isascii() or not digits.isdigit() or int(digits) > MAX_PORT:
        raise ValueError(f"{digits!r} in {text!r} is not a port")
    return host, int(digits)


@dataclass(frozen=True, slots=True)
class Advertised:
    """What peers are told of a listener: (host, port or None for the bound one) by family, or one `name` for both."""

    four: tuple[str, int | None] | None = None
    six: tuple[str, int | None] | None = None
    name: tuple[str, int | None] | None = None


def advertised(text: str) -> Advertised:
    """Read `"203.0.113.5"`, `"sbc.example.com:5061"`, `"203.0.113.5, [2001:db8::5]:5060"` or an empty text.

    Raises ValueError with a sentence for the operator.
    """
    found: dict[str, tuple[str, int | None]] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        host, port = split_host_port(part)
        family = "name" if not is_ip(host) else "six" if ":" in host else "four"
        if family in found or (found and "name" in (family, *found)):
            raise ValueError(f"{text!r} is more than one address of IPv4 and one of IPv6, or one name")
        found[family] = host, port
    return Advertised(**found)


def is_ip(host: str) -> bool:
    """Whether `host`, without brackets, is an IPv4 or IPv6 address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_wildcard(host: str) -> bool:
    """Whether a listener on `host` takes every address of the machine."""
    return host in ("0.0.0.0", "::")  # noqa: S104  (compared, not bound)


def normal_host(host: str) -> str:
    """One spelling for each peer: `::ffff:192.0.2.1` (IPv4 on a dual-stack socket) is `192.0.2.1`, zones dropped."""
    if ":" not in host:
        return host
    if host.startswith("::ffff:") and "." in host:
        return host[7:]
    return host.partition("%")[0]


def bracketed(host: str) -> str:
    """The host as URIs and Via headers write it: IPv6 in brackets (RFC 3261 25.1 IPv6reference)."""
    return f"[{host}]" if ":" in host else host


def source_of(host: str) -> str:
    """What counts as one source for limits and bans: an IPv4 address, or the /64 of an IPv6 address.

    A single customer holds at least a /64, so that counting IPv6 addresses one by one would limit nothing.
    """
    return _customer_of(host) if ":" in host else host


@lru_cache(maxsize=8_192)  # asked per datagram; about 2 MB
def _customer_of(host: str) -> str:
    try:
        address = IPv6Address(host)
    except ValueError:
        return host
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def within(host: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether the IP address lies in one of the networks."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)
