"""Requests and dialogs under way on this node, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from sbc.media.calls import MediaCalls
from sbc.media.engine import Statistics
from sbc.observe import kinds
from sbc.observe.calllog import Call, CallLog
from sbc.observe.metrics import Metrics
from sbc.proxy.absence import Absences
from sbc.proxy.attempt import Attempt
from sbc.proxy.dialog import Dialog, Dialogs, Inside, Leg, Side, next_hop
from sbc.proxy.header_rules import HeaderRules
from sbc.proxy.lasting import Lasting
from sbc.proxy.mailbox import Mailbox
from sbc.proxy.nobody import NOBODY
from sbc.proxy.passing import Passing, passed_on
from sbc.proxy.session_timer import dead_at
from sbc.proxy.sleepers import Sleepers
from sbc.proxy.subscription import MAX_SUBSCRIPTIONS, subscribed_until
from sbc.proxy.target import party
from sbc.proxy.waiting import Waiting
from sbc.push.service import PushService
from sbc.registrar.flows import Resident
from sbc.registrar.registrar import Awake
from sbc.sip.build import make_request
from sbc.sip.errors import RemoteError
from sbc.sip.message import Message, Request, Response
from sbc.soon import when_there
from sbc.store.operations import RemoveBinding, TouchToken
from sbc.transaction.client import ClientTransaction
from sbc.transaction.driver import Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transaction.retry import Retry
from sbc.transaction.server import ServerTransaction
from sbc.transport.flow import Flow
from sbc.upper.face import via
from sbc.upper.router import Router
from sbc.upper.selection import CHOSEN
from sbc.upper.servers import UpperServer
from sbc.upper.watch import Watch
from sbc.upper.ways import Ways, flow_of, on_flow

log = Logger()

WATCH = 5.0
"""Seconds between two looks at session timers, whose shortest interval is 90 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """What the settings say about calls. Waits in seconds."""

    max_wait: float
    max_wait_non_invite: float
    no_wake_code: int
    waiting_answer: str
    mask_call_id: bool
    header_rules: HeaderRules
    wake_retry: Retry
    failover_after: float
    missed_calls: int
    """Calls in a row that a pushed device may miss until it is removed; 0: any number."""


@dataclass(kw_only=True, slots=True)
class Calls:
    """What attempts and passing requests share on this node."""

    driver: Driver
    ways: Ways
    identifiers: Identifiers
    media: MediaCalls
    push: PushService
    log: CallLog
    metrics: Metrics
    settings: Callable[[], CallSettings]
    ours: Callable[[], frozenset[bytes]]
    clock_at: Callable[[], float]
    call_later: Callable[..., Any]
    dialogs: Dialogs
    waiting: Waiting
    lasting: Lasting
    uppers: Watch
    router: Router
    absences: Absences = field(default_factory=Absences)
    sleepers: Sleepers
    mailbox: Mailbox
    calls_off: Callable[[], bool]
    """Whether a device that was pushed is told now that its caller gave up."""
    timers: dict[Dialog, None] = field(default_factory=dict)
    """Dialogs with a session timer."""
    subscriptions: dict[Leg, None] = field(default_factory=dict)
    """Legs that are no calls; each ends with its subscription."""
    open: dict[Attempt, None] = field(default_factory=dict)
    """Requests outside dialogs that have no final answer yet; the transaction table bounds them."""

    # Requests

    def attempt(
        self,
        txn: ServerTransaction,
        request: Request,
        flow: Flow,
        origin: UpperServer | None,
        lodger: Resident | None,
        now: float,
    ) -> Attempt:
        """A request outside any dialog begins; its targets follow by `Attempt.begin`."""
        if request.method in (b"SUBSCRIBE", b"REFER") and len(self.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise RemoteError(503, b"Too Many Subscriptions")
        attempt = Attempt(self, txn, request, flow, origin, lodger, now)
        txn.user = attempt
        self.open[attempt] = None
        return attempt

    def inside(self, txn: ServerTransaction, request: Request, flow: Flow, now: float) -> None:
        """A request inside a dialog. Raises RemoteError 481 when there is none."""
        inside = self.dialogs.find(request, now)
        if inside is None:
            raise RemoteError(481, b"Call/Transaction Does Not Exist")
        self.dialogs.requested(inside, request, flow)
        if request.method == b"INVITE":
            self.lasting.changed(inside.dialog)
        passing = Passing(self, txn, request, flow, inside)
        txn.user = passing
        if request.method == b"BYE":
            self._bye(inside)
        passing.begin()

    def ack(self, request: Request, flow: Flow, now: float) -> None:
        """The ACK of a 2xx goes to the side that sent it; it has no transaction."""
        inside = self.dialogs.find(request, now)
        if inside is None:
            return
        on_flow(self.reach(inside.receiver), partial(self._ack, request, flow, inside), lambda reason: None)

    def awake(self, news: Awake, now: float) -> None:
        """A device registered: requests that wait for it go on, dialogs that lost their flow have one again."""
        self.absences.came(news.user_id, news.identity)
        self.mailbox.awake(news)
        self.waiting.awake(news, now)
        self.dialogs.moved(f"{news.username}@{news.domain}", news.identity, news.flow)

    def passed(self, inside: Inside, request: Request, status: int) -> None:
        """A request inside a dialog has got its final response."""
        if request.method == b"BYE" or (status in (408, 481) and request.method == b"INVITE"):
            self._over(inside, "caller" if inside.from_a else "callee", "gone" if status in (408, 481) else "hung up")

    # Media

    def described(
        self, leg: Leg, side: Literal["a", "b"], message: Message, came: Flow, goes: Flow, *, final: bool
    ) -> Deferred[bytes]:
        """The body of a message of this leg as the other side is to see it.

        A body without a session description passes. One with it is the answer to the offer that the other side has
        open, else an offer (RFC 3264). `final`: nothing more will answer that offer (a 2xx, an ACK or PRACK; not a
        18x).
        """
        content_type = message.first(b"content-type")
        key = leg.token.decode()
        if not self.media.describes(message.body, content_type):
            return succeed(message.body)
        if message_is_ack(message) or (leg.offer and leg.offer != side):
            if final:
                leg.offer = ""
            return self.media.answer(key, message.body, source=came.peer[0], from_=side, content_type=content_type)
        leg.offer = side
        return self.media.offer(
            key,
            message.body,
            source=came.peer[0],
            toward=goes.listener.advertise_host,
            back=came.listener.advertise_host,
            from_=side,
            content_type=content_type,
            toward_web=goes.transport in (b"WS", b"WSS"),
            toward_upper=(leg.b if side == "a" else leg.a).upper is not None,
        )

    def silent(self, key: str, why: str) -> None:
        """The relay hears nothing of either party any more: end the call on both sides."""
        leg = self.dialogs.leg(key.encode())
        if leg is None:
            return
        leg.story.note(kinds.TIMEOUT, f"media: {why}")
        for dialog in tuple(leg.dialogs.values()):
            if dialog.confirmed and not dialog.ended:
                self._end_both(dialog, b'SIP;cause=200;text="Media timeout"', "sbc", f"media timeout: {why}")

    # Ends

    def opened(self, attempt: Attempt) -> Call:
        """An INVITE begins a call."""
        request = attempt.request
        return self.log.start(
            request.call_id.decode("utf-8", "replace"),
            party(request.from_.uri),
            party(request.to.uri),
            attempt.origin.name if attempt.origin is not None else "",
            self.clock_at(),
        )

    def woke(self, attempt: Attempt, news: Awake) -> None:
        """The device that a request waited for has registered: what its push was worth."""
        pushed_at = attempt.summons.pushed_at
        if pushed_at is None or news.binding_id is None:
            return
        now_at = self.clock_at()
        self.metrics.wake_seconds.observe(now_at - pushed_at)
        call_id = attempt.request.call_id.decode("utf-8", "replace")
        self.lasting.write(TouchToken(binding_id=news.binding_id, at=now_at, call_id=call_id, after=now_at - pushed_at))

    def answered(self, attempt: Attempt, status: int, reason: str, by: str) -> None:
        """An attempt has its final response, `by` whom: legs without a dialog go, a failed call is over."""
        self.open.pop(attempt, None)
        self._missed(attempt)
        success = 200 <= status < 300
        for leg in attempt.legs:
            if not success or not any(dialog.confirmed for dialog in leg.dialogs.values()):
                self._close(leg, attempt.story.call if success else None)
        if success:
            for leg in attempt.legs:
                for dialog in leg.dialogs.values():
                    if dialog.confirmed:
                        self.lasting.changed(dialog)
            return
        if attempt.story.call is None:
            return
        attempt.story.note(kinds.CANCELLED if by == "caller" else kinds.REJECTED, f"{status} {reason}")
        self._end(attempt.story.call, status, reason, by)

    def _missed(self, attempt: Attempt) -> None:
        """Devices that were pushed for this call and did not come while it waited for them (`push.remove_on`)."""
        settings, user = self.settings(), attempt.user
        if not settings.missed_calls or user is None or not attempt.invite or attempt.fork.cancelled:
            return
        for branch in attempt.fork.branches.values():
            if not branch.pushed or branch.heard or branch.target.woken or branch.status != settings.no_wake_code:
                continue
            if self.absences.missed(user.id, branch.key, settings.missed_calls):
                attempt.story.note(kinds.UNREGISTER, f"{branch.target.name}: did not come, removed")
                self.lasting.write(
                    RemoveBinding(username=user.username, domain=user.domain, upper=user.upper, identity=branch.key)
                )

    def timed(self, dialog: Dialog, request: Request, response: Response) -> None:
        """A 2xx inside this dialog, or the one that made it, may start or stop its session timer."""
        dialog.dead_at = dead_at(request, response, dialog.dead_at, self.driver.clock())
        if dialog.dead_at is None:
            self.timers.pop(dialog, None)
        else:
            self.timers[dialog] = None

    def subscribed(self, leg: Leg, request: Request, response: Response) -> None:
        """A response to a SUBSCRIBE or REFER, or to a NOTIFY, says how long its leg is needed."""
        if leg.story.invite:
            return
        now = self.driver.clock()
        leg.until = subscribed_until(request, response, leg.until, now)
        self.subscriptions[leg] = None

    def watch(self) -> None:
        """End calls whose session timer ran out, forget legs silent for days; call it every `WATCH` s."""
        now = self.driver.clock()
        for dialog in [dialog for dialog in self.timers if dialog.ended or (dialog.dead_at or 0.0) <= now]:
            del self.timers[dialog]
            if not dialog.ended:
                dialog.leg.story.note(kinds.TIMEOUT, "the session timer ran out")
                self._end_both(dialog, b'SIP;cause=200;text="Session timer"', "sbc", "session timer")
        for leg in [leg for leg in self.subscriptions if leg.until is not None and leg.until <= now]:
            self._close(leg, None)
        for leg in self.dialogs.idle(now):
            for dialog in tuple(leg.dialogs.values()):
                if leg.story.invite and dialog.confirmed and not dialog.ended:
                    self._end_both(dialog, b'SIP;cause=200;text="Silent too long"', "sbc", "silent too long")
            self._close(leg, leg.story.call)

    def _end_both(self, dialog: Dialog, header: bytes, by: str, reason: str) -> None:
        """BYE to both sides, each in the name of the other; `header` is their Reason, `by` and `reason` the CDR's."""
        leg = dialog.leg
        to = leg.to + b";tag=" + dialog.tag
        dialog.cseq_a += 1
        dialog.cseq_b += 1
        self._bye_to(dialog.b, leg.from_, to, dialog.cseq_a, header)
        self._bye_to(dialog.a, to, leg.from_, dialog.cseq_b, header)
        self._over(Inside(dialog, True), by, reason)

    def end_all(self, reason: str) -> None:
        """End every call there is: BYE to both sides of each, 503 to those who still wait for an answer."""
        for attempt in tuple(self.open):
            attempt.give_up(503, b"Going Down", self.driver.clock())
        for leg in self.dialogs.all():
            for dialog in tuple(leg.dialogs.values()):
                if dialog.confirmed and not dialog.ended and leg.story.invite:
                    self._end_both(dialog, b'SIP;cause=503;text="Going down"', "sbc", reason)

    def end_call(self, call_id: bytes, reason: str) -> int:
        """End the established calls of a Call-ID; how many there were."""
        ended = 0
        for leg in self.dialogs.all():
            for dialog in tuple(leg.dialogs.values()):
                if leg.a.call_id == call_id and dialog.confirmed and not dialog.ended and leg.story.invite:
                    self._end_both(dialog, b'SIP;cause=200;text="Ended by the operator"', "operator", reason)
                    ended += 1
        return ended

    def reject_answer(self, leg: Leg, tag: bytes, txn: ClientTransaction, first: bool) -> None:
        """A device answered after all was over: acknowledge its 2xx, and end its dialog (once)."""
        dialog = leg.dialogs.get(tag)
        if dialog is None:
            return
        to = leg.to + b";tag=" + tag
        uri, routes, _ = next_hop(dialog.b)
        headers = [(b"Route", route) for route in routes]
        ack = make_request(
            b"ACK",
            uri,
            via=via(flow_of(txn).listener, self.identifiers.branch()),
            from_=leg.from_,
            to=to,
            call_id=leg.b.call_id,
            cseq=leg.cseq,
            headers=headers,
        )
        self.driver.put(ack.render(), txn.hop)
        if first:
            self._bye_to(dialog.b, leg.from_, to, leg.cseq + 1, COMPLETED_ELSEWHERE)

    def reach(self, side: Side) -> Deferred[Flow]:
        """A flow toward one side of a dialog. Fails with RemoteError 503."""
        hop = side.hop
        if side.upper is None:
            if hop is not None and hop.open:
                return succeed(hop)
            return fail(RemoteError(503, b"Flow Gone"))
        try:
            _, _, uri = next_hop(side)
        except RemoteError as problem:
            return fail(problem)
        wanted = (uri.transport or b"UDP").upper()
        if hop is not None and hop.open and hop.transport == wanted and hop.peer == _literal(uri.host, uri.port):
            return succeed(hop)
        return self.ways.flow_to(uri, wanted, guarded=side.upper.startswith(CHOSEN))

    def _bye_to(self, side: Side, from_: bytes, to: bytes, cseq: int, reason: bytes) -> None:
        try:
            uri, routes, _ = next_hop(side)
        except RemoteError as problem:
            log.warn("no BYE sent: {why}", why=problem)
            return

        def send(flow: Flow) -> None:
            headers = [(b"Route", route) for route in routes]
            headers.append((b"Reason", reason))
            bye = make_request(
                b"BYE",
                uri,
                via=via(flow.listener, self.identifiers.branch()),
                from_=from_,
                to=to,
                call_id=side.call_id,
                cseq=cseq,
                headers=headers,
            )
            self.driver.send(bye, flow, NOBODY)

        on_flow(self.reach(side), send, lambda why: log.warn("no BYE sent: {why}", why=why))

    def _ack(self, request: Request, came: Flow, inside: Inside, goes: Flow) -> None:
        if not request.body:
            self._put_ack(request, inside, goes, b"")
            return
        side: Literal["a", "b"] = "a" if inside.from_a else "b"
        body = self.described(inside.dialog.leg, side, request, came, goes, final=True)
        when_there(
            body,
            partial(self._put_ack, request, inside, goes),
            lambda failure: log.warn("ACK not sent on: {why}", why=failure.getErrorMessage()),
        )

    def _put_ack(self, request: Request, inside: Inside, flow: Flow, body: bytes) -> None:
        self.driver.put(passed_on(self, request, inside, flow, body).render(), flow)

    def _bye(self, inside: Inside) -> None:
        inside.dialog.leg.story.note(kinds.BYE, f"from the {'caller' if inside.from_a else 'callee'}")

    def _over(self, inside: Inside, by: str, reason: str) -> None:
        dialog = inside.dialog
        if dialog.ended:
            return
        dialog.ended = True
        leg = dialog.leg
        if any(other.confirmed and not other.ended for other in leg.dialogs.values()):
            return
        call = leg.story.call
        self._close(leg, call).addCallback(lambda _: self._end(call, 200, reason, by))

    def _close(self, leg: Leg, call: Call | None) -> Deferred[None]:
        for dialog in leg.dialogs.values():
            self.lasting.ended(dialog)
        self.dialogs.close(leg)
        self.subscriptions.pop(leg, None)
        return self.media.close(leg.token.decode()).addCallback(self._note_media, call)

    def _note_media(self, statistics: Statistics, call: Call | None) -> None:
        if call is None or not statistics.streams:
            return
        for stream in statistics.streams:
            a, b = stream.from_a, stream.from_b
            self.log.event(
                call,
                kinds.MEDIA,
                f"{stream.kind}: from the caller {a.packets} packets ({a.lost} lost), "
                f"from the callee {b.packets} packets ({b.lost} lost)",
                self.clock_at(),
            )

    def _end(self, call: Call | None, code: int, reason: str, by: str) -> None:
        if call is None or call.ended_at is not None:
            return
        self.log.end(call, code, reason, by, self.clock_at())
        self.metrics.calls_ended.add(str(code))


COMPLETED_ELSEWHERE = b'SIP;cause=200;text="Call completed elsewhere"'


def message_is_ack(message: Message) -> bool:
    """Whether this is an ACK: its body is an answer, also when it comes again (RFC 3264 §4 with RFC 3261 §13.2.1)."""
    return isinstance(message, Request) and message.method == b"ACK"


def _literal(host: bytes, port: int | None) -> tuple[str, int]:
    return host.strip(b"[]").decode("ascii", "replace"), port or 5060
