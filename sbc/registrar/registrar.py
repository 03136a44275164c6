"""Takes REGISTERs to the upper server and back, and keeps what came of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.push import dialects
from sbc.push.tokens import AppRules, PushToken
from sbc.registrar import decide
from sbc.registrar.decide import Plan, Wish
from sbc.registrar.flows import LiveFlows, Resident
from sbc.sip.build import respond
from sbc.sip.errors import RemoteError
from sbc.sip.message import Request, Response
from sbc.sip.values import NameAddr
from sbc.store import queries
from sbc.store.dead import StopKeeping
from sbc.store.operations import RemoveBinding, Saved, SaveRegistration
from sbc.store.records import Binding, Subscriber
from sbc.store.service import Store
from sbc.transaction.client import ClientTransaction
from sbc.transaction.driver import Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transaction.server import ServerTransaction
from sbc.transport.flow import Flow
from sbc.upper.face import contact, via
from sbc.upper.registration import granted_expires, refresh_at
from sbc.upper.servers import UpperServer, UpperServers
from sbc.upper.ways import Ways, on_flow

log = Logger()

VOUCHED = 600
"""Seconds that an accepted registration speaks for its source, so that forged packets cannot have it banned."""

HIDDEN = (b"via", b"route", b"record-route", b"service-route", b"path", b"contact")
"""Headers of the upper server's 2xx that name its inside, or our registration there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings that registrations follow (SPEC of each: the reference page)."""

    apps: AppRules
    unregister: str
    upper_expires: int
    keep: str
    node: str


@dataclass(frozen=True, slots=True)
class Awake:
    """The news that a device has registered: its user, its identity and where it is now."""

    user_id: int
    binding_id: int | None
    username: str
    domain: str
    upper: str
    identity: str
    contact: str
    flow: Flow
    tokens: tuple[PushToken, ...]


class Registrar:
    """REGISTER through to the upper server.

    `secret` makes the upper Contacts unguessable; `event(call_id, kind, detail)` notes what an operator should see;
    `udp_flow(flow, peer)` is the flow from the same socket to another peer; `vouch(host, until)` tells that somebody
    authenticated is there; `awake` hears of devices that registered.
    """

    def __init__(
        self,
        *,
        driver: Driver,
        servers: UpperServers,
        ways: Ways,
        store: Store,
        identifiers: Identifiers,
        live: LiveFlows,
        rules: Callable[[], Rules],
        secret: bytes,
        ours: Callable[[], frozenset[bytes]],
        uniform: Callable[[], float],
        clock_at: Callable[[], float],
        event: Callable[[str, str, str], None],
        udp_flow: Callable[[Flow, tuple[str, int]], Flow],
        vouch: Callable[[str, float], None],
    ) -> None:
        self.driver = driver
        self.servers = servers
        self.ways = ways
        self.store = store
        self.identifiers = identifiers
        self.live = live
        self.rules = rules
        self.secret = secret
        self.ours = ours
        self.uniform = uniform
        self.clock_at = clock_at
        self.event = event
        self.udp_flow = udp_flow
        self.vouch = vouch
        self.awake: Callable[[Awake], None] | None = None

    def register(self, txn: ServerTransaction, request: Request, flow: Flow) -> None:
        """Take a REGISTER. Raises RemoteError for what is answered at once."""
        rules = self.rules()
        handover = dialects.read(request, rules.apps, self.clock_at())
        for problem in handover.problems:
            self.event(_text(request.call_id), "register", problem)
        bare = request.copy()
        dialects.strip(bare)
        server = self._server(request)
        visit = _Visit(self, txn, request, bare, flow, server, handover)
        if visit.removes() and not handover.tokens and not handover.unbind and rules.unregister != "allow":
            visit.look(visit.begin)
        else:
            visit.begin(None)

    def _server(self, request: Request) -> UpperServer:
        for domain in (request.to.uri.host, request.parsed_uri.host):
            server = self.servers.by_domain(domain)
            if server is not None:
                return server
        if request.to.uri.host.lower() not in self.ours():
            raise RemoteError(404, b"No Such Domain Here")
        server = self.servers.preferred()
        if server is None:
            raise RemoteError(503, b"No Upper Server")
        return server


class _Visit:
    """One REGISTER on its way: the client of the transaction toward the upper server."""

    __slots__ = ("bare", "flow", "handover", "plan", "reach", "registrar", "request", "server", "txn", "upper_contact")

    plan: Plan

    def __init__(
        self,
        registrar: Registrar,
        txn: ServerTransaction,
        request: Request,
        bare: Request,
        flow: Flow,
        server: UpperServer,
        handover: dialects.Handover,
    ) -> None:
        self.registrar = registrar
        self.txn = txn
        self.request = request
        self.bare = bare
        self.flow = flow
        self.server = server
        self.handover = handover
        self.upper_contact = b""
        self.reach = flow

    def removes(self) -> bool:
        """Whether the REGISTER asks for the end of a binding."""
        if self.bare.star_contact:
            return True
        shown = decide.chosen_contact(self.bare)
        return shown is not None and decide.asked_expires(shown, self.bare) == 0

    def look(self, then: Callable[[Subscriber | None], None]) -> None:
        """Look the user up, then go on."""
        username, domain = self.request.to.uri.username, self.server.domain.decode()
        found: Deferred[Subscriber | None] = self.registrar.store.read(
            partial(queries.subscriber, username=username, domain=domain)
        )
        found.addCallback(then).addErrback(self._broken)

    def begin(self, known: Subscriber | None) -> None:
        """Decide, with what is known of the user where that matters."""
        registrar = self.registrar
        rules = registrar.rules()
        self._plan(known, keep=False)
        if rules.unregister != "allow" and (self.handover.tokens or self._pushable(known)):
            self._plan(known, keep=True)
        if self.plan.wish is Wish.SLEEP and rules.unregister == "ignore":
            self._answer(respond(self.request, 200))
        elif self.plan.wish is Wish.UNBIND and known is None and not self.plan.everyone:
            self.look(self._unbind)
        elif self.plan.wish is Wish.UNBIND:
            self._unbind(known)
        else:
            self._go(rules.upper_expires if rules.upper_expires >= 0 else self.plan.expires)

    def _plan(self, known: Subscriber | None, *, keep: bool) -> None:
        self.plan = decide.plan(self.request, self.handover, self.bare, keep_on_unregister=keep)
        self._recognise(known)

    def _pushable(self, known: Subscriber | None) -> bool:
        """Whether this device has a token here; one that is not known counts if any of its user has."""
        targets = known.targets if known is not None else ()
        own = [target for target in targets if target.binding.identity == self.plan.identity]
        return any(target.tokens for target in own or targets)

    def _recognise(self, known: Subscriber | None) -> None:
        """Find out which device this is, where the REGISTER alone does not say it."""
        plan = self.plan
        if not plan.nameless:
            return
        former = self._former()
        if former:
            self.plan = replace(plan, identity=former)
        elif known is not None:
            devices = [target.binding for target in known.targets]
            agent = _text(self.request.first(b"user-agent") or b"")
            identity = decide.recognised(plan, devices, call_id=_text(self.request.call_id), user_agent=agent)
            self.plan = replace(plan, identity=identity)

    def _former(self) -> str:
        """The identity under which this very Contact registered on this flow before; empty: it did not."""
        resident = self.registrar.live.resident(self.flow.token, self.registrar.driver.clock())
        here = (self.plan.username, self.server.name, self.plan.contact)
        if resident is None or (resident.username, resident.upper, resident.contact) != here:
            return ""
        return resident.identity

    def _unbind(self, known: Subscriber | None) -> None:
        self._recognise(known)
        others = known is not None and any(
            target.binding.identity != self.plan.identity for target in known.targets if not self.plan.everyone
        )
        expires = self.registrar.rules().upper_expires
        self._go((expires if expires >= 0 else decide.DEFAULT_EXPIRES) if others else 0)

    def _go(self, expires: int) -> None:
        on_flow(self.registrar.ways.flow(self.server), partial(self._send, expires), self._unreachable)

    def _send(self, expires: int, flow: Flow) -> None:
        registrar, server, plan = self.registrar, self.server, self.plan
        up = self.bare.copy()
        domain = server.domain
        if up.parsed_uri.host.lower() != domain:
            up.uri = b"sip:" + domain
        ours = registrar.ours()
        for name in (b"from", b"to"):
            value = up.first(name) or b""
            address = NameAddr.parse(value)
            if address.uri.host.lower() in ours:
                up.set(name, address.replace(uri=address.uri.replace(host=domain, port=None)).render())
        user = decide.upper_token(registrar.secret, plan.username, domain.decode(), server.name)
        self.upper_contact = contact(flow.listener, user.encode())
        up.replace(b"via", (via(flow.listener, registrar.identifiers.branch()),))
        up.remove(b"route", b"record-route", b"path")
        up.set(b"max-forwards", b"%d" % ((70 if up.max_forwards is None else up.max_forwards) - 1))
        if plan.wish is not Wish.FETCH:
            up.replace(b"contact", (b"<%s>;expires=%d" % (self.upper_contact, expires),))
            up.set(b"expires", b"%d" % expires)
        registrar.driver.send(up, flow, self)

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        if response.status < 200:
            return
        if response.status >= 300:
            back = response.copy()
            self._restore(back)
            back.remove(b"record-route", b"contact")
            if response.status in (401, 407) and self.request.parsed_uri.host.lower() != self.server.domain:
                back.set(b"x-sy.authuri", b"sip:" + self.server.domain)
            self._answer(back)
            return
        self._accepted(txn.request, response)

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        self._answer(respond(self.request, 504, b"Upper Server Does Not Answer"))

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        self._unreachable(reason)

    def _unreachable(self, reason: str) -> None:
        self._answer(respond(self.request, 503, b"Upper Server Unreachable", headers=[(b"Retry-After", b"5")]))

    def _accepted(self, sent: Request, response: Response) -> None:
        registrar, plan = self.registrar, self.plan
        domain = self.server.domain.decode()
        if plan.wish is Wish.FETCH:
            self._answer(self._success(response, None))
            return
        if plan.wish is Wish.UNBIND:
            written = registrar.store.write(
                RemoveBinding(
                    username=plan.username,
                    domain=domain,
                    upper=self.server.name,
                    identity=None if plan.everyone else plan.identity,
                )
            )
            registrar.live.leave(self.flow.token)
            written.addCallbacks(lambda _: self._answer(self._success(response, None)), self._broken)
            return
        if plan.nameless and plan.wish is Wish.BIND:
            self.look(partial(self._keep, sent, response))
        else:
            self._keep(sent, response, None)

    def _keep(self, sent: Request, response: Response, known: Subscriber | None) -> None:
        self._recognise(known)
        asked = sent.expires or 0
        granted = granted_expires(response, self.upper_contact.decode(), asked)
        self._save(granted).addCallbacks(self._saved, self._broken, callbackArgs=(response, granted))
        former = self._former() if self.plan.wish is Wish.BIND and not self.plan.instance else ""
        if former and former != self.plan.identity:
            self._forget(former)

    def _forget(self, identity: str) -> None:
        """The device has another token now, and so another identity: what it was before is gone."""
        gone = self.registrar.store.write(
            RemoveBinding(
                username=self.plan.username,
                domain=self.server.domain.decode(),
                upper=self.server.name,
                identity=identity,
            )
        )
        gone.addErrback(lambda failure: log.failure("a former identity could not be removed", failure))

    def _save(self, granted: int) -> Deferred[Saved]:
        registrar, plan, request = self.registrar, self.plan, self.request
        now_at = registrar.clock_at()
        proof = decide.proven(request, self.handover.ha1)
        if proof.mismatch:
            registrar.event(_text(request.call_id), "register", "X-PIID does not fit the accepted digest: not kept")
        rules = registrar.rules()
        pushes = bool(self.handover.tokens)
        kept = rules.keep == "always" or (rules.keep == "auto" and (pushes or plan.wish is Wish.SLEEP))
        registration = SaveRegistration(
            username=plan.username,
            domain=self.server.domain.decode(),
            upper=self.server.name,
            realm=proof.realm or None,
            auth_username=proof.username or None,
            ha1=proof.ha1,
            user_agent=_text(request.first(b"user-agent") or b""),
            binding=self._binding(now_at) if plan.wish is Wish.BIND else None,
            tokens=self.handover.tokens,
            unbind_tokens=self.handover.unbind,
            upper_contact=self.upper_contact.decode(),
            upper_call_id=registrar.identifiers.call_id().decode(),
            upper_expires_at=now_at + granted,
            next_at=refresh_at(granted, now_at, registrar.uniform()) if kept else None,
            node=rules.node,
            at=now_at,
        )
        written = registrar.store.write(registration)
        if self.handover.unbind and rules.keep != "always":
            stop = StopKeeping(username=plan.username, domain=registration.domain, upper=registration.upper)
            registrar.store.write(stop).addErrback(self._unstopped)
        return written

    def _binding(self, now_at: float) -> Binding:
        plan, request, flow = self.plan, self.request, self.flow
        here = decide.reachable_at(request, flow.peer) if not flow.reliable else None
        if here is not None and here != flow.peer:
            self.reach = self.registrar.udp_flow(flow, here)
            self.reach.heard_at = flow.heard_at
        return Binding(
            identity=plan.identity,
            contact=plan.contact,
            instance=plan.instance,
            reg_id=plan.reg_id,
            transport=flow.transport.decode(),
            source=f"{flow.peer[0]}:{flow.peer[1]}",
            flow=self.reach.token,
            node=self.registrar.rules().node,
            user_agent=_text(request.first(b"user-agent") or b""),
            expires_at=now_at + plan.expires,
            call_id=_text(request.call_id),
            cseq=request.cseq.number,
        )

    def _saved(self, result: Saved, response: Response, granted: int) -> None:
        plan, registrar = self.plan, self.registrar
        seconds = decide.settled(plan, response, granted, self_refreshed=self.handover.ha1 is not None)
        self._answer(self._success(response, decide.answer_contact(self.request, plan, seconds)))
        if plan.wish is not Wish.BIND:
            return
        domain = self.server.domain.decode()
        resident = Resident(plan.username, domain, self.server.name, plan.identity, plan.contact)
        registrar.live.settle(self.flow.token, self.flow.reliable, resident, registrar.driver.clock())
        registrar.vouch(self.flow.peer[0], registrar.clock_at() + max(seconds, VOUCHED))
        if registrar.awake is not None:
            registrar.awake(
                Awake(
                    result.user_id,
                    result.binding_id,
                    plan.username,
                    domain,
                    self.server.name,
                    plan.identity,
                    plan.contact,
                    self.reach,
                    self.handover.tokens,
                )
            )

    def _success(self, response: Response, shown: bytes | None) -> Response:
        back = response.copy()
        back.remove(*HIDDEN)
        self._restore(back)
        if shown is not None:
            back.add(b"contact", shown)
        back.remove(b"expires")
        return back

    def _restore(self, back: Response) -> None:
        back.replace(b"via", tuple(self.request.lines(b"via")))
        back.set(b"from", self.request.first(b"from") or b"")
        to = self.request.first(b"to") or b""
        tag = back.to_tag
        back.set(b"to", to if tag is None else to + b";tag=" + tag)

    def _answer(self, response: Response) -> None:
        self.registrar.driver.respond(self.txn, response)

    def _unstopped(self, failure: Failure) -> None:
        log.failure("refreshes of a user without push could not be stopped", failure)

    def _broken(self, failure: Failure) -> None:
        problem = failure.value
        if isinstance(problem, RemoteError):
            self._answer(respond(self.request, problem.status, problem.reason or None))
            return
        log.failure("a REGISTER could not be kept", failure)
        self._answer(respond(self.request, 500))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
