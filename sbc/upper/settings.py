"""Settings of upper servers and routing."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from sbc.settings import Duration, Flag, Integer, Networks, SipUri, Text, Words, section, setting


@section(
    "upper", array=True, doc="An upper server: a SIP server of the operator that phones register at through the SBC"
)
@dataclass(frozen=True, slots=True, kw_only=True)
class UpperSettings:
    """One `[[upper]]` entry."""

    name: str = setting(doc="a short name, used in the database, metrics and logs", kind=Text())
    uri: str = setting(doc="where requests go, with its transport", kind=SipUri())
    domain: str = setting("", Text(), doc="the logical SIP domain; empty: the host of uri")
    priority: int = setting(0, Integer(0, 65_535), doc="lower is tried first")
    weight: int = setting(1, Integer(0, 65_535), doc="share among servers of equal priority")
    path: bool = setting(False, Flag(), doc="send a Path header with registrations (RFC 3327)")
    trust: tuple[IPv4Network | IPv6Network, ...] = setting(
        (), Networks(), doc="sources accepted as this server besides its own addresses, any port"
    )


@section("routing", doc="Which upper server a request goes to")
@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingSettings:
    """The `[routing]` section."""

    health_interval: float = setting(30.0, Duration(), doc="OPTIONS to each upper server this often")
    failover_after: float = setting(4.0, Duration(), doc="silence before any provisional answer, then the next server")
    waiting_answer: str = setting(
        "180",
        Words({"none": 0, "180": 180, "182": 182, "183": 183}),
        doc="what the caller hears, after 100, while a sleeping phone is woken",
    )
    no_wake_code: int = setting(480, Integer(400, 699), doc="the answer when no device of the callee woke in time")
    allow_client_upper_selection: bool = setting(
        False,
        Flag(),
        doc="a client may choose its upper server by X-Sy.Uppersrv or its target URI",
        aliases=("allowupperserverselection",),
    )
    for_register: bool = setting(
        True, Flag(), doc="routing rules also choose the server for REGISTER", aliases=("routingforregister",)
    )
    upper_server_lookup: str = setting(
        "auto",
        Words({"auto": -1, "no": 0, "fallback": 1, "always": 2}),
        doc="use the upper server stored with the user",
        aliases=("upperserverlookup",),
    )
