"""Settings of limits, bans and access lists."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from sbc.settings import Duration, Flag, Integer, List, Networks, Number, Text, section, setting

SCANNERS = (
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sipcli",
    "sip-scan",
    "sipscan",
    "sipsak",
    "smap",
    "sundayddr",
    "iwar",
    "pplsip",
    "vaxasip",
    "vaxsipuseragent",
    "siparmyknife",
    "eyebeam release 3006o",
)
"""User-Agents of tools that look for open servers; none is a phone."""


@section("security", doc="Who is let in, how often, and who is shut out")
@dataclass(frozen=True, slots=True, kw_only=True)
class SecuritySettings:
    """The `[security]` section."""

    allow: tuple[IPv4Network | IPv6Network, ...] = setting((), Networks(), doc="sources never banned nor rate limited")
    deny: tuple[IPv4Network | IPv6Network, ...] = setting((), Networks(), doc="sources never let in")
    ban: bool = setting(True, Flag(), doc="shut out sources that scan, guess passwords or flood")
    ban_score: float = setting(10.0, Number(1.0, 10_000.0), doc="score of offences at which a source is banned")
    ban_window: float = setting(60.0, Duration(1.0, 86_400.0), doc="a full score is forgotten in this time")
    ban_time: float = setting(600.0, Duration(1.0), doc="the first ban of a source; each further one is twice as long")
    ban_longest: float = setting(86_400.0, Duration(1.0), doc="the longest automatic ban")
    scanners: tuple[str, ...] = setting(
        SCANNERS,
        List(Text(required=True)),
        doc="parts of a User-Agent, in any case, that tell a scanning tool",
    )
    ringing_per_source: int = setting(
        100, Integer(1, 1_000_000), doc="unanswered calls of one source at once, since media is set up before they are"
    )
    source_rate: float = setting(
        2_000.0, Number(0.0), doc="requests per second of one source (IPv4 address, IPv6 /64) in the long run; 0: any"
    )
    source_burst: float = setting(
        10_000.0, Number(1.0), doc="requests of one source at once: a carrier's NAT after an outage"
    )
