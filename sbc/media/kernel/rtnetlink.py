"""rtnetlink as bytes: which interfaces there are, which way packets go, what changed, filters at an ingress.  [pure]"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from struct import Struct, pack, unpack_from

from sbc.media.kernel.layout import packed

_HEADER = Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = Struct("=HH")
_LINK, _ROUTE, _TRAFFIC = Struct("=BxHiII"), Struct("=BBBBBBBBI"), Struct("=BxxxiIII")
_REQUEST, _ACKNOWLEDGE, _DUMP, _CREATE, _EXCLUSIVE = 0x1, 0x4, 0x300, 0x400, 0x200
ERROR, DONE = 2, 3
NEW_LINK, DELETED_LINK, _GET_LINK, _NEW_ROUTE, _GET_ROUTE = 16, 17, 18, 24, 26
_NEW_QDISC, _NEW_FILTER = 36, 44
_ETHERNET = 1  # ARPHRD_ETHER
_UP, _LOOPBACK, _RUNNING = 0x1, 0x8, 0x40
_NAME, _MTU, _MASTER = 3, 4, 10  # IFLA_
_DESTINATION, _SOURCE, _INTERFACE, _ROUTER, _METRICS, _VIA = 1, 2, 4, 5, 8, 18  # RTA_
_METRIC_MTU = 2
_UNICAST = 1  # RTN_UNICAST
_CLSACT, _INGRESS = 0xFFFFFFF1, 0xFFFFFFF2
_ALL_PROTOCOLS = 0x0003 if sys.byteorder == "big" else 0x0300
#: Where among the filters of an interface ours stands; one number, so that a new process replaces the old one's.
PRIORITY = 0x5BC
#: Changes of links, addresses, routes and rules (RTMGRP_).
GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | (1 << 18)


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface: `running` when it is up and has its cable, `enslaved` when another one has its packets."""

    index: int
    name: str
    mtu: int
    ethernet: bool
    running: bool
    enslaved: bool


@dataclass(frozen=True, slots=True)
class Route:
    """Which interface leads to an address, how long IP packets may be on this way (0: as the interface says), and the
    router to give them to, if there is one."""

    ifindex: int
    mtu: int
    router: str


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Types and bodies of the messages in a datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, *_ = _HEADER.unpack_from(data, at)
        if size < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + size]
        at += (size + 3) & ~3


def failure(body: bytes) -> int:
    """The errno in an answer of type `ERROR`; 0: it is an acknowledgement."""
    return -int(unpack_from("=i", body)[0])


def ask_interfaces() -> bytes:
    """A request for all interfaces."""
    return ask_all(_GET_LINK, _LINK.pack(0, 0, 0, 0, 0))


def ask_all(kind: int, body: bytes) -> bytes:
    """A request for everything of a kind."""
    return _message(kind, _REQUEST | _DUMP, body)


def interface(body: bytes) -> Interface:
    """What a message of type `NEW_LINK` or `DELETED_LINK` says."""
    _, kind, index, flags, _ = _LINK.unpack_from(body)
    told = attributes(body[_LINK.size :])
    return Interface(
        index=index,
        name=told.get(_NAME, b"").rstrip(b"\0").decode("utf-8", "replace"),
        mtu=int.from_bytes(told.get(_MTU, b""), sys.byteorder),
        ethernet=kind == _ETHERNET and not flags & _LOOPBACK,
        running=flags & (_UP | _RUNNING) == _UP | _RUNNING,
        enslaved=_MASTER in told,
    )


def ask_route(destination: str, source: str) -> bytes:
    """A request for the way from one of our addresses to another machine's."""
    family, bits, at = (10, 128, 0) if ":" in destination else (2, 32, 12)
    head = _ROUTE.pack(family, bits, bits, 0, 0, 0, 0, 0, 0)
    told = _attribute(_DESTINATION, packed(destination)[at:]) + _attribute(_SOURCE, packed(source)[at:])
    return _message(_GET_ROUTE, _REQUEST, head + told)


def route(data: bytes) -> Route | None:
    """The answer; None when the address is ours, or there is no way."""
    for kind, body in messages(data):
        if kind == _NEW_ROUTE and _ROUTE.unpack_from(body)[7] == _UNICAST:
            told = attributes(body[_ROUTE.size :])
            metrics = attributes(told.get(_METRICS, b""))
            ifindex, mtu = (
                int.from_bytes(each, sys.byteorder)
                for each in (told.get(_INTERFACE, b""), metrics.get(_METRIC_MTU, b""))
            )
            router = told.get(_ROUTER) or told.get(_VIA, b"")[2:]  # the latter begins with its family
            return Route(ifindex, mtu, str(ip_address(router)) if router else "") if ifindex else None
    return None


def add_clsact(ifindex: int) -> bytes:
    """A request to let programs see what arrives on an interface; EEXIST when that is so already."""
    head = _TRAFFIC.pack(0, ifindex, _CLSACT & 0xFFFF0000, _CLSACT, 0)
    return _message(_NEW_QDISC, _REQUEST | _ACKNOWLEDGE | _CREATE | _EXCLUSIVE, head + _attribute(1, b"clsact\0"))


def set_filter(ifindex: int, program: int, name: str) -> bytes:
    """A request to show what arrives there to a program (descriptor), in place of the one that was at our priority."""
    head = _TRAFFIC.pack(0, ifindex, 1, _INGRESS, PRIORITY << 16 | _ALL_PROTOCOLS)
    told = (
        (6, pack("=I", program)),
        (7, name.encode("ascii") + b"\0"),
        (8, pack("=I", 1)),
    )  # TCA_BPF_FD, _NAME, _FLAGS
    options = b"".join(_attribute(kind, value) for kind, value in told)
    return _message(
        _NEW_FILTER, _REQUEST | _ACKNOWLEDGE | _CREATE, head + _attribute(1, b"bpf\0") + _attribute(2, options)
    )


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """Values by type."""
    found = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    return found
