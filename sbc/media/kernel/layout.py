"""The structures of `relay.bpf.c` as bytes: a flow's name, what is done with its packets, its counts.  [pure]"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from struct import Struct
from typing import NamedTuple

from sbc.media.addresses import Address
from sbc.media.offload import Counts, Flow

#: Changes with `struct key` or `struct flow`: flows that a process of another version left are not understood.
VERSION = 1
#: Bytes of `struct key`.
KEY_SIZE = 20
#: Of `struct flow`: what is written when it is pinned.
FIXED = Struct("=16s16s16s16s2s2s2sBBII4sI4I")
#: What is counted: packets, bytes, punted, sampled, jitter, ssrc, stamp, lost, expected, kind, started, tick, zero.
COUNTED = Struct("=QQQQQ4sIiHBBII")
_COUNTS = Struct("=QQ16xQ8xi")  # packets, bytes, jitter and lost of them
#: Bytes of `struct flow`.
FLOW_SIZE = FIXED.size + COUNTED.size

#: Clocks other than 8000 Hz that a flow can tell.
RATES = 4
_DEFAULT_RATE = 8000
_NO_KIND = 255
_JITTER_UNIT = 16e9  # jitter is kept in sixteenths of a nanosecond
_FAMILIES = {4: 2, 6: 10}  # AF_INET, AF_INET6
_MAPPED = bytes(10) + b"\xff\xff"


class Way(NamedTuple):
    """How a destination is reached: over this interface, where IP packets of up to `limit` bytes fit, by giving packets
    to the machine with the address `hop`, the destination itself or a router."""

    ifindex: int
    limit: int
    hop: str


@lru_cache(maxsize=4096)
def packed(host: str) -> bytes:
    """An address as 16 bytes; IPv4 as ::ffff:a.b.c.d."""
    address = ip_address(host)
    return address.packed if isinstance(address, IPv6Address) else _MAPPED + address.packed


def unpacked(address: bytes) -> str:
    """The text of such an address."""
    return str(ip_address(address[12:] if address[:12] == _MAPPED else address))


def key(local: Address) -> bytes:
    """What names the flow that arrives here."""
    return packed(local[0]) + local[1].to_bytes(2, "big") + b"\0\0"


def local_of(name: bytes) -> Address:
    """Where the flow of this name arrives."""
    return unpacked(name[:16]), int.from_bytes(name[16:18], "big")


def tick(rate: int) -> int:
    """The duration of one unit of a timestamp, as the program wants it: 1/1024 ns."""
    return (1_000_000_000 << 10) // max(rate, 250)


def fixed(flow: Flow, way: Way) -> bytes:
    """What is written when a flow is pinned."""
    kinds, ticks = _clocks(flow.rates)
    hop = packed(way.hop)
    six = ":" in way.hop
    return FIXED.pack(
        packed(flow.source[0]),
        packed(flow.sender[0]),
        packed(flow.destination[0]),
        hop if six else hop[12:].ljust(16, b"\0"),
        *(address[1].to_bytes(2, "big") for address in (flow.source, flow.sender, flow.destination)),
        flow.dscp << 2,
        family(flow),
        way.ifindex,
        way.limit,
        kinds,
        _FAMILIES[6 if six else 4],
        *ticks,
    )


def read(name: bytes, value: bytes) -> Flow:
    """The flow as it was pinned, without its clocks."""
    source, sender, destination, _, source_port, sender_port, destination_port, tos, *_ = FIXED.unpack_from(value)
    return Flow(
        local=local_of(name),
        source=(unpacked(source), int.from_bytes(source_port, "big")),
        sender=(unpacked(sender), int.from_bytes(sender_port, "big")),
        destination=(unpacked(destination), int.from_bytes(destination_port, "big")),
        dscp=tos >> 2,
    )


def way(value: bytes) -> Way:
    """The way that the flow was pinned with."""
    _, _, _, hop, _, _, _, _, _, ifindex, limit, _, number, *_ = FIXED.unpack_from(value)
    return Way(ifindex, limit, str(ip_address(hop if number == _FAMILIES[6] else hop[:4])))


def counts(value: bytes) -> Counts:
    """What the program counted."""
    packets, size, jitter, lost = _COUNTS.unpack_from(value, FIXED.size)
    return Counts(packets, size, max(0, lost), jitter / _JITTER_UNIT)


def punted(value: bytes) -> int:
    """How many packets to the flow's port were left to the relay's socket."""
    return int(COUNTED.unpack_from(value, FIXED.size)[2])


def family(flow: Flow) -> int:
    """4 or 6: that of the address where it arrives."""
    return 6 if ":" in flow.local[0] else 4


def alike(flow: Flow) -> bool:
    """Whether all addresses of the flow are of one family, as the program needs it."""
    hosts = (flow.local[0], flow.source[0], flow.sender[0], flow.destination[0])
    return len({":" in host for host in hosts}) == 1


def _clocks(rates: Mapping[int, int]) -> tuple[bytes, list[int]]:
    """The payload types with other clocks, and their ticks."""
    others = [(kind, rate) for kind, rate in rates.items() if rate != _DEFAULT_RATE][:RATES]
    others += [(_NO_KIND, _DEFAULT_RATE)] * (RATES - len(others))
    return bytes(kind for kind, _ in others), [tick(rate) for _, rate in others]
