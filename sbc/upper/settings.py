"""Settings of upper servers and routing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from ipaddress import IPv4Network, IPv6Network, ip_network

from sbc.settings import Duration, Flag, Integer, List, Networks, SipUri, Text, Words, section, setting
from sbc.upper.patterns import Pattern
from sbc.upper.rules import RuleError, read_rule


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


@section("route", array=True, doc="A routing rule; the first that fits decides. docs/routing.rst explains them")
@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """One `[[route]]` entry."""

    name: str = setting(doc="what it is called in timelines and dry runs", kind=Text(required=True))
    direction: str = setting(
        "out",
        Words({"out": None, "in": None, "any": None}),
        doc="out: requests toward upper servers; in: from them to users here, which a rule can only reject, or "
        "rewrite_caller",
    )
    method: tuple[str, ...] = setting((), List(Text()), doc="methods; empty: all")
    caller: tuple[str, ...] = setting(
        (), List(Text()), doc="patterns of the caller's user name, or /regular expressions/; empty: all"
    )
    called: tuple[str, ...] = setting(
        (), List(Text()), doc="patterns of the called name or number, or /regular expressions/; empty: all"
    )
    domain: tuple[str, ...] = setting((), List(Text()), doc="patterns of the called domain; empty: all")
    source: tuple[str, ...] = setting((), List(Text()), doc="networks that the request comes from; empty: all")
    days: tuple[str, ...] = setting((), List(Text()), doc='days like "mon-fri"; empty: all')
    hours: str = setting("", Text(), doc='local time of day like "08:00-18:00"; empty: always')
    upper: tuple[str, ...] = setting((), List(Text()), doc="names of the servers that take it, in order")
    rewrite: str = setting("", Text(), doc='the called name from here on, with {1} for the first capture: "+49{1}"')
    rewrite_caller: str = setting(
        "",
        Text(),
        doc="the caller's name from here on, with {1} for its first capture, {called.1} for one of the other",
    )
    reject: int = setting(0, Integer(0, 699), doc="refuse with this status instead")
    reason: str = setting("", Text(maximum=100), doc="the words of the refusal")

    def problems(self) -> Iterable[tuple[str, str]]:
        """What is wrong beyond single values."""
        try:
            read_rule({each.name: getattr(self, each.name) for each in fields(self)})
        except RuleError as mistake:
            yield mistake.key, mistake.what


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
    client_uppers: tuple[str, ...] = setting(
        (),
        List(Text(required=True, maximum=255)),
        doc="upper servers that clients may choose: host names (*.example.com), addresses and networks; empty: any "
        "that is public. Loopback, private and own addresses are refused unless they are listed",
    )
    local_calls: str = setting(
        "awake",
        Words({"off": 0, "awake": None, "on": 1}),
        doc="calls between users of this SBC go straight to the callee: awake, when one of its devices is connected; "
        "on, also when they sleep; off: all calls go through the upper server",
    )
    local_fallback: bool = setting(
        True,
        Flag(),
        doc="a call that went straight to its callee, and that no device of it answers within proxy.ring_time, goes on "
        "to the upper server with its voice mail and forwardings",
    )
    quality: bool = setting(
        False, Flag(), doc="servers whose calls to a destination fail more often than elsewhere are tried later there"
    )
    quality_window: float = setting(900.0, Duration(60.0), doc="how long back calls are counted for that")
    upper_server_lookup: str = setting(
        "auto",
        Words({"auto": -1, "no": 0, "fallback": 1, "always": 2}),
        doc="use the upper server that the user is registered at: fallback, when the domain of the request names none; "
        "always; no: never. auto: fallback",
        aliases=("upperserverlookup",),
    )

    def problems(self) -> Iterable[tuple[str, str]]:
        """What is wrong beyond single values."""
        for entry in self.client_uppers:
            try:
                ip_network(entry.strip("[]"), strict=False)
            except ValueError:
                try:
                    Pattern.read(entry)
                except ValueError as mistake:
                    yield "client_uppers", f"{entry!r} {mistake}"
