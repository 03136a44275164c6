"""Takes REGISTERs to the upper server and back, and keeps what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from twisted.logger import Logger

from sbc.push import dialects
from sbc.push.indication import Serving
from sbc.push.tokens import AppRules
from sbc.registrar.flows import Awake, LiveFlows, TurnedAway
from sbc.registrar.guesses import UNKNOWN_USER, guess
from sbc.registrar.guests import Guests
from sbc.registrar.local import Door
from sbc.registrar.visit import Visit
from sbc.sip.errors import RemoteError
from sbc.sip.message import Request, Response
from sbc.store import queries
from sbc.store.service import Store
from sbc.transaction.driver import Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transaction.server import ServerTransaction
from sbc.transport.flow import Flow
from sbc.upper.router import Router
from sbc.upper.selection import Choice
from sbc.upper.servers import UpperServer, UpperServers
from sbc.upper.watch import Watch

__all__ = ["Awake", "Registrar", "Rules"]

log = Logger()

NOT_FINAL = frozenset((401, 407, 408, 423, 429))
"""Refusals below 500 after which an app tries again at once; so it does after the server's own trouble (5xx)."""

OPEN_TOKENS_TOLD = 3600.0
"""Seconds between two warnings about push tokens and password hashes that came over an open transport."""

NOT_A_WORD = dialects.Handover()
"""What a REGISTER says that does not speak of push."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings that registrations follow: see the reference page for each.

    `mirror`: each device is a Contact of its own at the upper server. `outbound_strict`, `flow_timer`: see
    `registrar.outbound`. `patience`: seconds that a server may be silent
    while there is another; `longest`: seconds until a registration there is verified. `local`: what the upper server
    knows already is answered here; `prefer_md5`: its challenges are answered by the HA1 that an app sends.
    """

    apps: AppRules
    unregister: str
    upper_expires: int
    keep: str
    node: str
    mirror: bool
    outbound_strict: bool
    flow_timer: float
    patience: float
    longest: float
    local: bool
    prefer_md5: bool
    remove_rejected: bool
    remove_missing_pn: bool
    remove_missing_prid: bool
    announces: bool = False
    """Whether the upper servers hear which providers we push (RFC 8599 §5.6.1)."""
    unregister_apps: Mapping[str, str] = field(default_factory=dict)
    """Apps with an `unregister` of their own."""

    def unregister_of(self, apps: Iterable[str]) -> str:
        """What an unregister of a device with tokens of these apps means."""
        return next((self.unregister_apps[app] for app in apps if app in self.unregister_apps), self.unregister)


class Registrar:
    """REGISTER through to the upper server.

    `secret` makes the upper Contacts unguessable, `purr_secret` the PURRs, `nonce_secret` the nonces of ours; `serving`
    is what an app may be promised; `event(call_id, kind, detail)` notes what an operator should see;
    `udp_flow(flow, peer)` is the flow from the same socket to another peer; `vouch(host, until)` tells that somebody
    authenticated is there, `offence(flow, kind)` that somebody guesses; `awake` hears of devices that registered,
    `turned_away` of those that the upper server refuses for good;
    `choose` gives the server that a client asks for, where it may; `shown_call_id` what a Call-ID becomes upward,
    `withheld` which headers of a request do not go there, as `Message.edited` takes it.
    """

    def __init__(
        self,
        *,
        driver: Driver,
        servers: UpperServers,
        watch: Watch,
        router: Router,
        choose: Callable[[Choice], UpperServer | None],
        store: Store,
        identifiers: Identifiers,
        live: LiveFlows,
        rules: Callable[[], Rules],
        secret: bytes,
        purr_secret: bytes,
        nonce_secret: bytes,
        serving: Callable[[], Serving],
        ours: Callable[[], frozenset[bytes]],
        uniform: Callable[[], float],
        clock_at: Callable[[], float],
        event: Callable[[str, str, str], None],
        udp_flow: Callable[[Flow, tuple[str, int]], Flow],
        vouch: Callable[[str, float], None],
        offence: Callable[[Flow, str], None],
        shown_call_id: Callable[[bytes], bytes],
        withheld: Callable[[Request], Mapping[bytes, tuple[bytes, ...]]],
    ) -> None:
        self.driver = driver
        self.servers = servers
        self.watch = watch
        self.router = router
        self.choose = choose
        self.least: dict[str, int] = {}
        """Seconds of the shortest registration that a server takes, by its name, once it has said so (423)."""
        self.banned: frozenset[tuple[str, str]] = frozenset()
        """Users (name, domain) that the operator has barred."""
        self.store = store
        self.identifiers = identifiers
        self.live = live
        self.rules = rules
        self.secret = secret
        self.purr_secret = purr_secret
        self.serving = serving
        self.guests = Guests()
        self.door = Door(nonce_secret)
        self._told_open = -OPEN_TOKENS_TOLD
        self.ours = ours
        self.uniform = uniform
        self.clock_at = clock_at
        self.event = event
        self.udp_flow = udp_flow
        self.vouch = vouch
        self._offence = offence
        self.shown_call_id = shown_call_id
        self.withheld = withheld
        self.awake: Callable[[Awake], None] | None = None
        self.turned_away: Callable[[TurnedAway], None] | None = None

    def bar(self, users: Iterable[tuple[str, str]]) -> None:
        """These users (name, domain) are barred from now on, and no others."""
        self.banned = frozenset(users)

    def register(self, txn: ServerTransaction, request: Request, flow: Flow) -> None:
        """Take a REGISTER. Raises RemoteError for what is answered at once."""
        rules = self.rules()
        user = request.to.uri
        if not user.is_sip:
            raise RemoteError(400, b"To Names No User")  # RFC 4475 section 3.3.4
        silent = dialects.silent(request)
        handover = NOT_A_WORD if silent else dialects.read(request, rules.apps, self.clock_at())
        if flow.transport in (b"WS", b"WSS"):
            handover = dialects.over_websocket(handover, rules.apps)
        for problem in handover.problems:
            self.event(request.call_id.decode("utf-8", "replace"), "register", problem)
        if not flow.secure and (handover.tokens or handover.ha1):
            self._tell_open(flow)
        bare = request
        if not silent:
            bare = request.copy()
            dialects.strip(bare)
        try:
            server = self._server(request, handover)
        except RemoteError as problem:
            if problem.status == 404:
                self._offence(flow, UNKNOWN_USER)
            raise
        routed = self.router.registrars(server, user.username, server.domain.decode(), flow.peer[0])
        if routed.reject:
            raise RemoteError(routed.reject, routed.reason.encode())
        Visit(self, txn, request, bare, flow, list(routed.servers), handover).enter()

    def refused(self, visit: Visit, response: Response) -> None:
        """The upper server has refused a REGISTER: what this says of its sender is held against the sender.

        Not where it forgets a user that is known here: then whole networks of phones would be shut out with it.
        """
        status, tokens = response.status, visit.handover.tokens
        if tokens and self.turned_away is not None and status >= 400 and status not in NOT_FINAL and status // 100 != 5:
            username, domain = visit.request.to.uri.username, visit.server.domain.decode()
            self.turned_away(TurnedAway(username, domain, frozenset(token.prid for token in tokens), status))
        tried = visit.handover.ha1 is not None and self.rules().prefer_md5
        kind = guess(response, credentials=tried or self.door.proves_upward(visit.request))
        if kind == UNKNOWN_USER:
            username, domain = visit.request.to.uri.username, visit.server.domain.decode()
            found = self.store.read(lambda connection: queries.subscriber(connection, username, domain))
            found.addCallback(lambda known: self._offence(visit.flow, UNKNOWN_USER) if known is None else None)
            found.addErrback(lambda failure: log.failure("whether a user is known could not be read", failure))
        elif kind is not None:
            self._offence(visit.flow, kind)

    def _tell_open(self, flow: Flow) -> None:
        """RFC 8599 §13 wants TLS; a deployment may have reasons not to use it, and is told now and then."""
        now = self.driver.clock()
        if now - self._told_open >= OPEN_TOKENS_TOLD:
            self._told_open = now
            log.warn(
                "push tokens or password hashes come over {transport}, readable on the way: use tls or wss listeners",
                transport=flow.transport.decode(),
            )

    def _server(self, request: Request, handover: dialects.Handover) -> UpperServer:
        chosen = self.choose(
            Choice(handover.upper_server or "", handover.upper_proxy or "", handover.upper_domain or "")
        )
        if chosen is not None:
            return chosen
        for domain in (request.to.uri.host, request.parsed_uri.host):
            server = self.servers.by_domain(domain)
            if server is not None:
                return server
        if request.to.uri.host.lower() not in self.ours():
            target = request.parsed_uri
            place = target.host if target.port is None else b"%s:%d" % (target.host, target.port)
            chosen = self.choose(Choice(place.decode("ascii", "replace"))) if target.is_sip else None
            if chosen is not None:
                return chosen
            raise RemoteError(404, b"No Such Domain Here")
        server = self.servers.preferred()
        if server is None:
            raise RemoteError(503, b"No Upper Server")
        return server
