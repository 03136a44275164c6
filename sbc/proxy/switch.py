"""Where every request goes: the server of the transaction driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.observe import kinds
from sbc.observe.metrics import Metrics
from sbc.proxy.attempt import Attempt
from sbc.proxy.branch import Candidate
from sbc.proxy.calls import Calls
from sbc.proxy.dialog import Named, Side, contact_of
from sbc.proxy.loops import refuse_loop
from sbc.proxy.outgoing import caller
from sbc.proxy.passing import Passing
from sbc.proxy.posting import queue
from sbc.proxy.references import meant
from sbc.proxy.route import ToUpper, ToUser, caller_key, choose, inquiry, loosen, names_us, to_uppers
from sbc.proxy.sleepers import alone, by_purr
from sbc.proxy.target import PUSH_TYPES, Reach, Target, candidates
from sbc.push.orders import PushType
from sbc.registrar.flows import Resident
from sbc.registrar.registrar import Registrar
from sbc.sip.build import respond
from sbc.sip.check import check
from sbc.sip.errors import RemoteError
from sbc.sip.message import Request, Response
from sbc.store import queries
from sbc.store.records import Subscriber
from sbc.store.records import Target as Device
from sbc.store.service import Store
from sbc.transaction.driver import Driver
from sbc.transaction.server import ServerTransaction
from sbc.transport.flow import Flow
from sbc.transport.service import Transports
from sbc.upper.router import Routed
from sbc.upper.rules import IN, OUT
from sbc.upper.servers import UpperServer, UpperServers
from sbc.upper.ways import flow_of

log = Logger()

LAST = -1.0
"""The q of a target that is tried after all devices, whatever theirs is."""

ALLOW = b"INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INFO, REFER, UPDATE, PRACK"
"""The methods that pass."""


def callee(connection: Connection, token: str | None, username: str, domain: str) -> Subscriber | None:
    """The called user: by the opaque name that the upper server knows, else by its own."""
    found = queries.subscriber_by_contact(connection, token) if token is not None else None
    return found or queries.subscriber(connection, username, domain)


class Switch:
    """Takes new requests and gives each to the room that knows what to do with it.

    `awake_for(device)` is how many seconds a datagram flow counts as alive; `pushes(kind, device, awake)` whether the
    settings let a push go out.
    """

    transports: Transports

    def __init__(
        self,
        *,
        driver: Driver,
        registrar: Registrar,
        calls: Calls,
        servers: UpperServers,
        store: Store,
        metrics: Metrics,
        ours: Callable[[], frozenset[bytes]],
        udp_awake: Callable[[], float],
        pushes: Callable[[PushType, Device, bool, Subscriber], bool],
        why_not: Callable[[PushType, Device, Subscriber], str],
        clock_at: Callable[[], float],
        node: str,
        accepting: Callable[[], bool],
        offence: Callable[[Flow, str], None],
    ) -> None:
        self.driver = driver
        self.registrar = registrar
        self.calls = calls
        self.servers = servers
        self.store = store
        self.metrics = metrics
        self.ours = ours
        self.udp_awake = udp_awake
        self.pushes = pushes
        self.why_not = why_not
        self.clock_at = clock_at
        self.node = node
        self.accepting = accepting
        self.offence = offence
        driver.server = self
        registrar.awake = self._awake
        registrar.turned_away = lambda news: calls.waiting.turned_away(news, driver.clock())

    # What the driver tells

    def request(self, txn: ServerTransaction, request: Request, now: float) -> None:
        """A new request."""
        try:
            check(request)
            loosen(request, self.ours())
            for_us = request.method == b"OPTIONS" and request.to_tag is None and names_us(request, self.ours())
            if request.max_forwards == 0 and not for_us:
                raise RemoteError(483)
            # RFC 3261 §16.3, §8.2.2.3: no extension asks anything of us that we could promise.
            asked = request.lines(b"proxy-require") or (request.lines(b"require") if for_us else ())
            if asked:
                unsupported = [(b"Unsupported", value) for value in asked]
                tag = self.calls.identifiers.tag()
                self.driver.respond(txn, respond(request, 420, to_tag=tag, headers=unsupported))
            elif for_us:
                self.driver.respond(txn, respond(request, 200, to_tag=b"sbc", headers=[(b"Allow", ALLOW)]))
            elif request.method == b"REGISTER":
                self.registrar.register(txn, request, flow_of(txn))
            elif request.to_tag is not None:
                self.calls.inside(txn, request, flow_of(txn), now)
            else:
                self._outside(txn, request, now)
        except RemoteError as problem:
            if problem.status == 403:
                self.offence(flow_of(txn), "forbidden")
            tag = self.calls.identifiers.tag()
            self.driver.respond(txn, respond(request, problem.status, problem.reason or None, to_tag=tag))

    def cancelled(self, txn: ServerTransaction, cancel: Request, now: float) -> None:
        """The sender of an INVITE gave up."""
        user = txn.user
        if isinstance(user, Attempt | Passing):
            user.cancelled(now, cancel.lines(b"reason"))

    def ack(self, request: Request, hop: Any, now: float) -> None:
        """An ACK for a 2xx. Raises RemoteError for one that cannot be passed on."""
        check(request)
        loosen(request, self.ours())
        self.calls.ack(request, hop, now)

    def stray(self, response: Response, hop: Any, now: float) -> None:
        """A response nobody waits for is dropped: a stateful proxy forwards none (RFC 6026 §8.9)."""
        if response.cseq.method == b"MESSAGE":
            self.calls.mailbox.answered_late(response)
        if not self.calls.stray(response, hop, now):
            self.metrics.refused.add("stray response")

    def unacknowledged(self, txn: ServerTransaction, now: float) -> None:
        """The sender never acknowledged our final response; there is nothing left to do for it."""
        self.metrics.refused.add("unacknowledged")

    # Requests outside dialogs

    def _outside(self, txn: ServerTransaction, request: Request, now: float) -> None:
        if not self.accepting():
            raise RemoteError(503, b"Stopping")
        flow = flow_of(txn)
        ours = self.ours()
        refuse_loop(request, ours)
        if request.method in (b"INVITE", b"SUBSCRIBE") and not request.contacts:
            raise RemoteError(400, b"Missing Contact")
        contact = (contact_of(request) or b"").decode("utf-8", "replace")
        lodger = self.registrar.live.resident(flow.token, now, request.from_.uri.username, contact)
        way = choose(
            request,
            source=flow.peer,
            resident=lambda: lodger,
            servers=self.servers,
            ours=ours,
            lookup=self.calls.router.settings().lookup,
        )
        if request.method == b"INVITE":
            self.driver.respond(txn, respond(request, 100))
        origin = way.origin if isinstance(way, ToUser) else None
        named = self._named(request, flow, origin, lodger)
        if named is not None:
            self._toward(named.end, self.calls.attempt(txn, request, flow, origin, lodger, now), now)
            return
        if isinstance(way, ToUpper):
            attempt = self.calls.attempt(txn, request, flow, None, lodger, now)
            if lodger is not None and self._local(request, way.server, lodger):
                username, domain = request.parsed_uri.username, way.server.domain.decode()
                found = self.store.read(partial(queries.subscriber, username=username, domain=domain))
                found.addCallback(self._found_here, attempt, way.server, lodger).addErrback(self._unfound, attempt)
            else:
                if self.calls.returns.comes_again(request):
                    self.calls.returns.up_again(attempt)
                self._upward(attempt, way.server, lodger, now)
            return
        ruled = self.calls.router.arriving(inquiry(request, flow.peer[0], IN))
        if ruled is not None and ruled.reject:
            raise RemoteError(ruled.reject, ruled.reason.encode())
        found = self.store.read(partial(callee, token=way.token, username=way.username, domain=way.domain))
        attempt = self.calls.attempt(txn, request, flow, way.origin, None, now)
        attempt.shown_caller = ruled.caller if ruled is not None else ""
        found.addCallback(self._found, attempt, way).addErrback(self._unfound, attempt)

    def _found(self, subscriber: Subscriber | None, attempt: Attempt, way: ToUser) -> None:
        now = self.driver.clock()
        if attempt.fork.cancelled:
            return
        guests = self.registrar.guests
        subscriber = guests.join(subscriber, way.token, way.username, way.domain, self.clock_at())
        if subscriber is None:
            if way.fallback is None:
                attempt.refuse(404)
                return
            attempt.origin = None
            self._upward(attempt, way.fallback, None, now)
            return
        attempt.grows = way.token is None or not self.registrar.rules().mirror
        named = by_purr(attempt.request, subscriber)
        if named is not None:
            subscriber = alone(attempt, subscriber, (named,))
        before = self.calls.returns.verdict(attempt, subscriber.user, now)
        if before is not None:
            attempt.story.note(kinds.ROUTED, "back from the upper server: its devices were tried already")
            attempt.refuse(before)
        elif subscriber.user.state == "active":
            self._ring(subscriber, attempt, now)
        else:
            attempt.refuse(403)

    def _local(self, request: Request, server: UpperServer, lodger: Resident) -> bool:
        """Whether a request of this device may go to another user here without the upper server: one who says who it
        is, to a name in its own domain."""
        if self.calls.router.settings().local_calls == "off" or request.method not in PUSH_TYPES:
            return False
        sender, called = request.from_.uri, request.parsed_uri
        own = (*self.ours(), lodger.domain.encode())
        return (
            called.user is not None
            and b"gr" not in called.params  # one device of the user, which the upper server knows (RFC 5627)
            and called.host.lower() in own
            and sender.username == lodger.username
            and sender.host.lower() in own
            and server.domain == lodger.domain.encode()
            and not self.calls.returns.comes_again(request)
        )

    def _found_here(
        self, subscriber: Subscriber | None, attempt: Attempt, server: UpperServer, lodger: Resident
    ) -> None:
        """The called user may be one of ours: connected, or with `local_calls = on` at least here."""
        now = self.driver.clock()
        if attempt.fork.cancelled:
            return
        sleeping_too = self.calls.router.settings().local_calls == "on"
        targets = subscriber.targets if subscriber is not None and subscriber.user.state == "active" else ()
        if subscriber is None or not any(sleeping_too or self.reach(now, target).awake for target in targets):
            self._upward(attempt, server, lodger, now)
            return
        attempt.story.note(kinds.ROUTED, "to a user of this SBC")
        falls_back = attempt.invite and self.calls.router.settings().local_fallback
        uppers = self._uppers(attempt, server, lodger) if falls_back else []
        last = [] if isinstance(uppers, Routed) else [replace(each, q=LAST) for each in uppers]
        self._ring(subscriber, attempt, now, last)

    def _named(self, request: Request, flow: Flow, origin: UpperServer | None, lodger: Resident | None) -> Named | None:
        """The dialog whose end this request is for, though it is outside of it; strangers name none."""
        user = request.parsed_uri.user
        if user is None or self.calls.dialogs.leg(user.lower()) is None or (origin is None and lodger is None):
            return None
        return meant(self.calls.dialogs, request, caller(request, flow, origin, lodger))

    def _toward(self, end: Side, attempt: Attempt, now: float) -> None:
        """To the one who has a dialog: a transfer to it, a request to the conference that it is."""
        server = self.servers.get(end.upper) if end.upper is not None else None
        if end.device:
            username, _, domain = end.user.rpartition("@")
            found = self.store.read(partial(queries.subscriber, username=username, domain=domain))
            found.addCallback(self._replace, attempt, end.device).addErrback(self._unfound, attempt)
        elif not end.target:  # it has not said yet where it is
            attempt.refuse(480)
        elif server is not None:
            attempt.begin(
                [Candidate(f"upper:{server.name}", Target(end.target, server.name, server=server), True, False)],
                None,
                now,
            )
        elif end.upper is None and end.hop is not None and end.hop.open:
            attempt.begin([Candidate("dialog", Target(end.target, "a dialog's end", end.hop), True, False)], None, now)
        else:
            attempt.refuse(481)

    def _replace(self, subscriber: Subscriber | None, attempt: Attempt, device: str) -> None:
        """Such a request is for the one device that has the dialog (RFC 8599 §7: it may have to wake)."""
        targets = tuple(each for each in subscriber.targets if each.binding.device == device) if subscriber else ()
        if subscriber is None or not targets:
            attempt.refuse(481)
        elif not attempt.fork.cancelled:
            self._ring(alone(attempt, subscriber, targets), attempt, self.driver.clock())

    def _ring(
        self, subscriber: Subscriber, attempt: Attempt, now: float, last: Sequence[Candidate[Target]] = ()
    ) -> None:
        """To the devices of a user; to the targets `last` when none of them has answered."""
        kind = attempt.kind
        devices = candidates(
            subscriber,
            reach=partial(self.reach, now),
            pushes=lambda device, awake: kind is not None and self.pushes(kind, device, awake, subscriber),
            now_at=self.clock_at(),
            by_q=attempt.by_q,
        )
        if kind is not None:
            self._tell_unpushed(kind, subscriber, attempt, devices, now)
        if not devices and not attempt.grows and any(each.binding.reg_id is not None for each in subscriber.targets):
            # The upper server has chosen this flow among others of the device: it may try the next (RFC 5626 §5.3).
            attempt.refuse(430, b"Flow Failed")
            return
        mailbox = self.calls.mailbox
        if kind is PushType.CHAT and mailbox.busy(subscriber.user.id) and mailbox.takes(attempt.request):
            queue(attempt, devices, subscriber.user, now)
        else:
            attempt.begin([*devices, *last], subscriber.user, now)

    def _tell_unpushed(
        self, kind: PushType, subscriber: Subscriber, attempt: Attempt, devices: Sequence[Candidate[Target]], now: float
    ) -> None:
        """Sleeping devices that no push will wake, and why; one that is tried where it was last may answer there."""
        unpushed = {each.key: each for each in devices if each.target.tokens and not each.pushable}
        if not unpushed:
            return
        heard = {each.binding.device for each in subscriber.targets if self.reach(now, each).awake}
        for device in subscriber.targets:
            found = unpushed.pop(device.binding.device, None)
            if found is not None and found.key not in heard:
                tried = ", tried where it was last" if found.awake else ""
                why = self.why_not(kind, device, subscriber)
                attempt.story.note(kinds.PUSH_FAILED, f"{found.target.name}: {why}{tried}")

    def _upward(self, attempt: Attempt, server: UpperServer, lodger: Resident | None, now: float) -> None:
        """To the upper servers."""
        uppers = self._uppers(attempt, server, lodger)
        if isinstance(uppers, Routed):
            attempt.refuse(uppers.reject, uppers.reason.encode())
        else:
            attempt.begin(uppers, None, now)

    def _uppers(
        self, attempt: Attempt, server: UpperServer, lodger: Resident | None
    ) -> list[Candidate[Target]] | Routed:
        """The servers that the rules name, or those of this one's domain, in the order of their worth; or the refusal
        of a rule."""
        request = attempt.request
        asked = inquiry(request, attempt.flow.peer[0], OUT)
        routed = self.calls.router.route(asked, server, caller_key(request, server, lodger))
        if routed.rule:
            attempt.story.note(kinds.ROUTED, f"rule {routed.rule}: {routed.reject or routed.called}")
        if routed.reject:
            return routed
        attempt.shown_caller = routed.caller
        names = self.ours() | self.servers.domains if routed.rule else self.ours()
        return to_uppers(request, self.calls.ways.tries(routed.servers), routed.called, names)

    def _unfound(self, failure: Failure, attempt: Attempt) -> None:
        problem = failure.value
        if isinstance(problem, RemoteError):
            attempt.refuse(problem.status, problem.reason)
            return
        log.failure("a call could not be routed", failure)
        attempt.refuse(500)

    def reach(self, now: float, device: Device) -> Reach:
        """Where a device is right now, as far as this node knows."""
        binding = device.binding
        flow = self.transports.flow(binding.flow) if binding.node == self.node else None
        behind = bool(binding.path)
        if flow is None or not flow.open:
            return Reach(None, behind, behind=behind)
        if behind:  # the flow is the proxy's, and says nothing of the phone
            return Reach(flow, True, behind=True)
        silent, patience = now - flow.heard_at, self.udp_awake()
        awake = flow.reliable or silent <= patience
        # Behind a NAT an address that is silent for longer may be somebody else's.
        return Reach(flow, awake, not awake and silent <= 2 * patience)

    def _awake(self, news: Any) -> None:
        self.calls.awake(news, self.driver.clock())
