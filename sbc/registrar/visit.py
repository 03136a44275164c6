"""One REGISTER on its way up and back: what is kept of it, what its phone hears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.push import dialects
from sbc.push.indication import KEEP, SHORTEST, feature_caps, promise, too_short
from sbc.push.tokens import PushToken
from sbc.registrar import decide, record
from sbc.registrar.answers import bound, refused
from sbc.registrar.decide import Plan, Wish
from sbc.registrar.home import answered_here, proof_for
from sbc.registrar.keeping import save
from sbc.registrar.outbound import outbound
from sbc.registrar.settling import entertain, saved, success
from sbc.registrar.upward import Upward
from sbc.registrar.writing import device_params, upward
from sbc.sip.build import respond
from sbc.sip.errors import RemoteError
from sbc.sip.message import Request, Response
from sbc.store import queries
from sbc.store.operations import RemoveBinding
from sbc.store.records import Subscriber, UpperRegistration
from sbc.transaction.server import ServerTransaction
from sbc.transport.flow import Flow
from sbc.upper.face import contact, path, via
from sbc.upper.given import given
from sbc.upper.registration import granted_expires, minimum_expires
from sbc.upper.servers import UpperServer

if TYPE_CHECKING:
    from sbc.registrar.registrar import Registrar

log = Logger()


class Visit:
    """One REGISTER on its way. `servers` are those that may take it, best first, `server` the one under whose name the
    users of that domain are stored, `at` the one that answered."""

    __slots__ = (
        *(
            "at",
            "bare",
            "contact_params",
            "expires",
            "flow",
            "handover",
            "known",
            "known_ha1",
            "mirror",
            "outbound",
            "plan",
            "promise",
        ),
        *("proved", "purr", "reach", "refreshed", "registrar", "request", "rows", "server", "servers", "txn"),
        "upper_contact",
    )

    plan: Plan

    def __init__(
        self,
        registrar: Registrar,
        txn: ServerTransaction,
        request: Request,
        bare: Request,
        flow: Flow,
        servers: list[UpperServer],
        handover: dialects.Handover,
    ) -> None:
        self.registrar = registrar
        self.txn = txn
        self.request = request
        self.bare = bare
        self.outbound = outbound(request, strict=registrar.rules().outbound_strict)
        self.flow = flow
        self.servers = servers
        self.at = servers[0]
        self.server = registrar.servers.home(servers[0])
        self.mirror = registrar.rules().mirror
        self.known: Subscriber | None = None
        self.rows: list[UpperRegistration] = []
        self.proved = handover.ha1 if registrar.rules().prefer_md5 else None
        """An HA1 to answer the upper server's challenge with in the phone's place, once: its sender has it."""
        self.expires = 0
        self.handover = handover
        self.upper_contact = self.contact_params = b""
        self.reach = flow
        self.promise = KEEP
        self.purr = ""
        self.refreshed = False
        """Whether the upper registration is kept alive from here by an HA1 that was kept: the phone need not do it."""
        self.known_ha1: bool | None = None
        """Whether the store has an HA1 of the user; None: nobody has looked."""

    def enter(self) -> None:
        """Begin, after a look at the user where that matters."""
        handover, rules = self.handover, self.registrar.rules()
        allowed = rules.unregister == "allow" and not rules.unregister_apps
        kept = handover.tokens or handover.unbind or allowed
        if (
            self.mirror
            or rules.local
            or (self.removes() and not kept)
            or (handover.asked is not None and too_short(handover, self._asked()))
        ):
            self.look(self.begin)
        else:
            self.begin(None)

    def removes(self) -> bool:
        """Whether the REGISTER asks for the end of a binding."""
        if self.bare.star_contact:
            return True
        shown = decide.chosen_contact(self.bare)
        return shown is not None and decide.asked_expires(shown, self.bare) == 0

    def _asked(self) -> int:
        shown = None if self.bare.star_contact else decide.chosen_contact(self.bare)
        return decide.asked_expires(shown, self.bare) if shown is not None else 0

    def look(self, then: Callable[[Subscriber | None], None]) -> None:
        """Look the user up, then go on."""
        found = self.registrar.store.read(partial(self._query, local=self.registrar.rules().local))
        found.addCallback(self._looked).addCallback(then).addErrback(self.broken)

    def _query(self, connection: Connection, *, local: bool) -> tuple[Subscriber | None, list[UpperRegistration]]:
        known = queries.subscriber(connection, self.request.to.uri.username, self.server.domain.decode())
        return known, queries.upper_registrations(connection, known.user.id) if local and known is not None else []

    def _looked(self, found: tuple[Subscriber | None, list[UpperRegistration]]) -> Subscriber | None:
        self.known, self.rows = found
        self.known_ha1 = self.known is not None and bool(self.known.user.ha1)
        return self.known

    def _promise(self, seconds: int) -> None:
        """What the app is promised for a registration of so many seconds (RFC 8599 §5.6.1)."""
        if self.handover.asked is None:
            return
        refreshed = (self.handover.ha1 is not None or bool(self.known_ha1)) and self.registrar.rules().keep != "off"
        self.promise = promise(self.handover, self.registrar.serving(), seconds=seconds, refreshed=refreshed)

    @property
    def tokens(self) -> tuple[PushToken, ...]:
        """The tokens that are kept."""
        return self.handover.tokens if self.promise.tokens else ()

    def begin(self, known: Subscriber | None) -> None:
        """Decide, with what is known of the user where that matters."""
        registrar = self.registrar
        rules = registrar.rules()
        self._plan(known, keep=False)
        if (self.plan.username, self.server.domain.decode()) in registrar.banned:
            self._ban(rules.remove_rejected)
            return
        on_unregister = rules.unregister_of(decide.apps(self.plan, known))
        if on_unregister != "allow" and (self.handover.tokens or decide.pushable(self.plan, known)):
            self._plan(known, keep=True)
        if self.plan.wish is Wish.BIND or self.handover.query is not None:
            self._promise(self.plan.expires)
        if self.promise.status:
            least = [(b"Min-Expires", b"%d" % SHORTEST)] if self.promise.status == 423 else []
            self.answer(respond(self.request, self.promise.status, headers=least))
        elif self.plan.wish is Wish.SLEEP and on_unregister == "ignore":
            self.answer(respond(self.request, 200))
        elif self.plan.wish is Wish.UNBIND and known is None and not self.plan.everyone:
            self.look(self._unbind)
        elif self.plan.wish is Wish.UNBIND:
            self._unbind(known)
        elif not answered_here(self):
            self._go(rules.upper_expires if rules.upper_expires >= 0 else self.plan.expires)

    def token(self, identity: str) -> str:
        """The user part of the Contact that this user, or its device, has at the upper server."""
        home = self.server
        return decide.upper_token(self.registrar.secret, self.plan.username, home.domain.decode(), home.name, identity)

    def _ban(self, remove: bool) -> None:
        """The operator has barred this user: its devices go (`push.remove_on.reject`)."""
        self.answer(respond(self.request, 403))
        if remove:
            self._remove(None).addErrback(lambda failure: log.failure("a barred user could not be removed", failure))

    def _remove(self, identity: str | None) -> Deferred[int]:
        """Remove one device of the user, or with None all."""
        return self.registrar.store.write(
            RemoveBinding(
                username=self.plan.username,
                domain=self.server.domain.decode(),
                upper=self.server.name,
                identity=identity,
            )
        )

    def _plan(self, known: Subscriber | None, *, keep: bool) -> None:
        self.plan = decide.plan(self.request, self.handover, self.bare, keep_on_unregister=keep)
        self._recognise(known)

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
            agent = record.user_agent(self.request)
            identity = decide.recognised(plan, devices, call_id=_text(self.request.call_id), user_agent=agent)
            self.plan = replace(plan, identity=identity)

    def _former(self) -> str:
        """The identity under which this very Contact registered on this flow before; empty: it did not."""
        here = (self.plan.username, self.server.name, self.plan.contact)
        now = self.registrar.driver.clock()
        resident = self.registrar.live.resident(self.flow.token, now, self.plan.username, self.plan.contact)
        if resident is None or (resident.username, resident.upper, resident.contact) != here:
            return ""
        return resident.identity

    def _unbind(self, known: Subscriber | None) -> None:
        self._recognise(known)
        others = (
            not self.mirror
            and known is not None
            and any(target.binding.identity != self.plan.identity for target in known.targets if not self.plan.everyone)
        )
        expires = self.registrar.rules().upper_expires
        self._go((expires if expires >= 0 else decide.DEFAULT_EXPIRES) if others else 0)

    def _go(self, expires: int) -> None:
        registrar = self.registrar
        self.expires = expires
        Upward(registrar.driver, registrar.watch, self, self.servers, lambda: registrar.rules().patience)

    def written(self, server: UpperServer, flow: Flow) -> Request:
        """See `upward.Sender`."""
        registrar, plan = self.registrar, self.plan
        expires = max(self.expires, registrar.least.get(server.name, 0)) if self.expires else 0
        contacts = []
        if plan.wish is not Wish.FETCH:
            params = device_params(self.bare.contacts[0]) if self.mirror and not plan.everyone else b""
            self.contact_params = params
            for identity in self.identities:
                self.upper_contact = contact(flow.listener, self.token(identity).encode())
                contacts.append(b"<%s>%s;expires=%d" % (self.upper_contact, params, expires))
        withheld = registrar.withheld(self.bare)
        up = upward(
            self.bare.edited(withheld) if withheld else self.bare,
            via=via(flow.listener, registrar.identifiers.branch()),
            domain=server.domain,
            ours=registrar.ours(),
            contacts=contacts,
            expires=expires,
            path=path(flow.listener) if server.path else None,
        )
        if registrar.rules().announces:
            for value in feature_caps(self.promise.providers):
                up.add(b"feature-caps", value)
        if self.proved is not None:
            kept = [value for value in up.lines(b"authorization") if not registrar.door.ours(value)]
            up.replace(b"authorization", kept)
            up.set(b"call-id", registrar.identifiers.call_id())
            up.set(b"cseq", b"1 REGISTER")
        elif (shown := registrar.shown_call_id(self.request.call_id)) != self.request.call_id:
            up.set(b"call-id", shown)
        return up

    @property
    def identities(self) -> tuple[str, ...]:
        """The devices that this is about, as they are told apart upward: one Contact each; in mode `aor` one for
        all."""
        if not self.mirror:
            return ("",)
        if not self.plan.everyone:
            return (self.plan.identity,)
        return tuple(target.binding.identity for target in self.known.targets) if self.known is not None else ()

    def responded(self, way: Upward, server: UpperServer, sent: Request, response: Response) -> None:
        """See `upward.Sender`."""
        self.at = server
        if response.status < 300:
            self._accepted(sent, response)
            return
        again = proof_for(self, sent, response)
        if again is not None:
            way.again(again)
            return
        least = minimum_expires(response) if response.status == 423 else None
        if least is not None:
            self.registrar.least[server.name] = least
        self.answer(refused(response, self.request, self.server.domain))
        self.registrar.refused(self, response)

    def unheard(self, reason: str, *, reached: bool) -> None:
        """See `upward.Sender`."""
        if reached:
            self.answer(respond(self.request, 504, b"Upper Server Does Not Answer"))
        else:
            self.answer(respond(self.request, 503, b"Upper Server Unreachable", headers=[(b"Retry-After", b"5")]))

    def _accepted(self, sent: Request, response: Response) -> None:
        registrar, plan = self.registrar, self.plan
        if plan.wish is Wish.FETCH:
            self.look(partial(self._tell, response))
            return
        if plan.wish is Wish.UNBIND:
            written = self._remove(None if plan.everyone else plan.identity)
            registrar.live.leave(self.flow.token, plan.username, None if plan.everyone else plan.identity)
            written.addCallbacks(lambda _: self.answer(success(self, response, None)), self.broken)
            return
        if plan.wish is Wish.BIND and (plan.nameless or self._doubtful(sent, response)):
            self.look(partial(self._keep, sent, response))
        else:
            self._keep(sent, response, None)

    def _tell(self, response: Response, known: Subscriber | None) -> None:
        """The upper server let the user ask which bindings there are."""
        back = success(self, response, None)
        for value in bound(known, self.registrar.clock_at()):
            back.add(b"contact", value)
        self.answer(back)

    def _keep(self, sent: Request, response: Response, known: Subscriber | None) -> None:
        self._recognise(known)
        asked = sent.expires or 0
        granted = granted_expires(response, self.upper_contact.decode(), asked)
        if self.plan.wish is Wish.BIND:
            before = self.promise
            self._promise(min(granted, self.plan.expires))
            self.promise = self.promise.within(before)
        if self.handover.query is not None and self.plan.wish is Wish.BIND:
            entertain(self, response, granted)
            return
        save(self, sent, granted, given(response, self.upper_contact)).addCallbacks(
            partial(saved, self), self.broken, callbackArgs=(response, granted)
        )
        former = self._former() if self.plan.wish is Wish.BIND and not self.plan.instance else ""
        if former and former != self.plan.identity:
            self.forget(former)

    def _doubtful(self, sent: Request, response: Response) -> bool:
        """Whether the upper server grants so little that only a stored HA1 would make pushes possible."""
        granted = granted_expires(response, self.upper_contact.decode(), sent.expires or 0)
        return self.known_ha1 is None and too_short(self.handover, granted)

    def forget(self, identity: str) -> None:
        """The device has another token now, and so another identity: what it was before is gone."""
        self._remove(identity).addErrback(
            lambda failure: log.failure("a former identity could not be removed", failure)
        )

    def answer(self, response: Response) -> None:
        self.registrar.driver.respond(self.txn, response)

    def broken(self, failure: Failure) -> None:
        problem = failure.value
        if isinstance(problem, RemoteError):
            self.answer(respond(self.request, problem.status, problem.reason or None))
            return
        log.failure("a REGISTER could not be kept", failure)
        self.answer(respond(self.request, 500))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
