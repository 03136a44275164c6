"""The settings of the media relay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from sbc.media.sdp import literal
from sbc.settings import (
    Address,
    Duration,
    HostPort,
    Integer,
    List,
    Networks,
    PortRange,
    Ports,
    Words,
    section,
    setting,
)

_PROTECTION = Words({"keep": -1, "off": 0, "sdes": 1})


@section("media", doc="Media relay")
@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSettings:
    """How RTP is relayed."""

    relay: str = setting(
        "auto",
        Words({"auto": -1, "never": 0, "always": 1}),
        doc="auto: relay when a side is or may be behind NAT, is a browser, or the sides are in different networks; "
        "always; never: descriptions pass unchanged",
    )
    direct: tuple[IPv4Network | IPv6Network, ...] = setting(
        (),
        Networks(maximum=100),
        doc="networks in which everybody reaches everybody, also from one of them to another, with neither NAT nor "
        "firewall between; besides, the addresses of each private /24 and /64 count as such. For relay = auto",
    )
    engine: str = setting(
        "auto",
        Words({"auto": -1, "python": 0, "kernel": 1, "rtpengine": 2, "inline": 3}),
        doc="what forwards the packets. python: a process of its own; kernel: the same, and the kernel forwards the "
        "steady streams; auto: kernel where it can, else python; rtpengine: daemons not ours; inline: the process that "
        "signals, for machines with little to do",
        restart=True,
    )
    rtpengine: tuple[Address, ...] = setting(
        (),
        List(HostPort(2223), maximum=64),
        doc="rtpengine daemons (the address of their ng protocol over UDP) among which calls are shared; one that does "
        "not answer is passed over",
        restart=True,
    )
    workers: int = setting(
        1,
        Integer(1, 64),
        doc="media processes (python, kernel, auto) among which calls are shared, not more than there are cores. One "
        "is enough for some 1000 calls, for more that the kernel forwards, for some 350 whose encryption ends here; "
        "the death of one concerns only its own",
        restart=True,
    )
    ports: Ports = setting(  # noqa: RUF009 - a named tuple is immutable
        Ports(20_000, 29_999), PortRange(), doc="UDP ports of the relay; one stream takes four", restart=True
    )
    latch: str = setting(
        "strict",
        Words({"strict": 0, "open": 1}),
        doc="strict: media only from where the description or the signalling says; open: also from elsewhere when "
        "neither was heard for 2 s (for phones behind NAT whose signalling comes through a balancer)",
    )
    srtp_upper: str = setting(
        "keep",
        _PROTECTION,
        doc="encryption of the media toward upper servers; keep: what the client offers passes, of browsers none is "
        "left; off: RTP; sdes: SRTP with keys in SDP",
    )
    srtp_clients: str = setting(
        "keep", _PROTECTION, doc="the same toward clients; browsers (ws, wss) always get DTLS-SRTP with ICE"
    )
    timeout: float = setting(60.0, Duration(), doc="silence on both sides after which the call is ended; 0: never")
    timeout_one: float = setting(
        0.0,
        Duration(),
        doc="silence of one party that should be heard after which the call is ended; 0: never (phones that suppress "
        "silence may say nothing for minutes)",
    )
    dscp: int = setting(46, Integer(0, 63), doc="DSCP written on relayed packets; 46 is expedited forwarding")

    def problems(self) -> Iterator[tuple[str, str]]:
        """A range too small for one stream of each worker, two pairs of an even and the next odd port; an engine
        without daemons."""
        if self.engine == "rtpengine" and not self.rtpengine:
            yield "engine", 'rtpengine needs the addresses of its daemons: rtpengine = ["127.0.0.1:2223"]'
        if any(literal(each.host) is None for each in self.rtpengine):
            yield "rtpengine", "must hold IP addresses, not names"
        if len(range(self.ports.first + self.ports.first % 2, self.ports.last, 2)) < 2 * self.workers:
            yield "ports", "a range of at least two pairs of an even and the next odd port is needed for each worker"
