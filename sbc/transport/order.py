"""The order in which servers are tried: NAPTR (RFC 3403, RFC 3263 4.1) and SRV (RFC 2782). Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

SERVICES = {
    "sip+d2u": b"UDP",
    "sip+d2t": b"TCP",
    "sips+d2t": b"TLS",
    "sip+d2w": b"WS",
    "sips+d2w": b"WSS",
}
"""NAPTR service field -> transport (RFC 3263 4.1; RFC 7118 has D2W)."""

SRV_PREFIXES = {
    b"UDP": "_sip._udp.",
    b"TCP": "_sip._tcp.",
    b"TLS": "_sips._tcp.",
    b"WS": "_sip._ws.",
    b"WSS": "_sips._ws.",
}
"""Transport -> what stands before the domain of an SRV query."""


@dataclass(frozen=True, slots=True)
class Srv:
    """One SRV record; `target` without the closing dot, empty when the service is declared absent."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Naptr:
    """One NAPTR record; `service` and `flags` in lower case, `replacement` without the closing dot."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


def order_srv(records: Iterable[Srv], random: Callable[[], float]) -> list[Srv]:
    """Lowest priority first; within one priority drawn by weight. `random()` gives 0.0 <= x < 1.0."""
    groups: dict[int, list[Srv]] = {}
    for record in records:
        if record.target:
            groups.setdefault(record.priority, []).append(record)
    ordered = []
    for priority in sorted(groups):
        # Weight 0 first, so that it is drawn only when the random number is 0 (RFC 2782, page 4).
        left = sorted(groups[priority], key=lambda record: record.weight)
        while left:
            total = sum(record.weight for record in left)
            mark = int(random() * (total + 1))
            running = 0
            for place, record in enumerate(left):
                running += record.weight
                if running >= mark:
                    ordered.append(left.pop(place))
                    break
    return ordered


def order_naptr(records: Iterable[Naptr], transports: Sequence[bytes]) -> list[tuple[bytes, str]]:
    """(transport, name of the SRV record) of the usable ones, in order; only flag "s" is used with SIP."""
    usable = [
        record
        for record in records
        if record.flags == "s" and record.replacement and SERVICES.get(record.service) in transports
    ]
    usable.sort(key=lambda record: (record.order, record.preference))
    return [(SERVICES[record.service], record.replacement) for record in usable]
