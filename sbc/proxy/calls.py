"""Requests and dialogs under way on this node, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from twisted.logger import Logger

from sbc.media.calls import MediaCalls
from sbc.observe import kinds
from sbc.observe.calllog import Call, CallLog
from sbc.observe.metrics import Metrics
from sbc.proxy import overdue
from sbc.proxy.absence import Absences
from sbc.proxy.attempt import Attempt
from sbc.proxy.describing import described
from sbc.proxy.dialog import Dialogs, Inside
from sbc.proxy.edges import Edges
from sbc.proxy.ending import Endings
from sbc.proxy.ends import Ends
from sbc.proxy.header_rules import HeaderRules
from sbc.proxy.lasting import Lasting
from sbc.proxy.mailbox import Mailbox
from sbc.proxy.passing import Passing, passed_on
from sbc.proxy.returning import Returns
from sbc.proxy.sleepers import Sleepers
from sbc.proxy.target import party
from sbc.proxy.terms import Terms
from sbc.proxy.waiting import Waiting
from sbc.push.service import PushService
from sbc.registrar.flows import Resident
from sbc.registrar.following import Following
from sbc.registrar.guesses import UNKNOWN_USER
from sbc.registrar.registrar import Awake
from sbc.security.guard import Guard
from sbc.sip.build import respond
from sbc.sip.errors import RemoteError
from sbc.sip.message import Request, Response
from sbc.soon import when_there
from sbc.store.operations import RemoveBinding, TouchToken
from sbc.transaction.driver import Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transaction.retry import Retry
from sbc.transaction.server import ServerTransaction
from sbc.transport.flow import Flow
from sbc.upper.router import Router
from sbc.upper.servers import UpperServer
from sbc.upper.watch import Watch
from sbc.upper.ways import Ways, on_flow

log = Logger()


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
    by_q: bool
    """Devices of a lower q ring after those of a higher one."""
    ring_time: float
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
    endings: Endings
    terms: Terms
    uppers: Watch
    following: Following
    returns: Returns
    router: Router
    absences: Absences = field(default_factory=Absences)
    sleepers: Sleepers
    edges: Edges
    ends: Ends
    mailbox: Mailbox
    masker: Callable[[bytes], bytes]
    calls_off: Callable[[], bool]
    """Whether a device that was pushed is told now that its caller gave up."""
    guard: Guard
    open: dict[Attempt, str | None] = field(default_factory=dict)
    """Requests outside dialogs that have no final answer yet, calls with the place that their source holds for them;
    the transaction table bounds them."""

    def mask(self) -> Callable[[bytes], bytes] | None:
        """What becomes of a Call-ID on its way to the other side; None: it passes."""
        return self.masker if self.settings().mask_call_id else None

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
        if request.method in (b"SUBSCRIBE", b"REFER") and self.terms.full:
            raise RemoteError(503, b"Too Many Subscriptions")
        place = None
        if request.method == b"INVITE":
            place = self.guard.ring(flow.peer[0])
            if place is None:
                raise RemoteError(503, b"Too Many Unanswered Calls")
        try:
            attempt = Attempt(self, txn, request, flow, origin, lodger, now)
        except Exception:
            self.guard.rang(place or "")
            raise
        txn.user = attempt
        self.open[attempt] = place
        return attempt

    def inside(self, txn: ServerTransaction, request: Request, flow: Flow, now: float) -> None:
        """A request inside a dialog. Raises RemoteError 481 when there is none.

        Just after a restart it waits until the dialogs of before are there.
        """
        inside = self.dialogs.find(request, now, flow)
        if inside is None:
            if self.lasting.when_read(partial(self._read_back, txn, request, flow)):
                return
            raise RemoteError(481, b"Call/Transaction Does Not Exist")
        if self.dialogs.requested(inside, request, flow):
            self.lasting.changed(inside.dialog)
        passing = Passing(self, txn, request, flow, inside)
        txn.user = passing
        if request.method == b"BYE":
            inside.dialog.leg.story.note(kinds.BYE, f"from the {'caller' if inside.from_a else 'callee'}")
        passing.begin()

    def _read_back(self, txn: ServerTransaction, request: Request, flow: Flow, there: bool) -> None:
        """A request that waited for the dialogs of before a restart. An error of ours ends no dialog (RFC 5057)."""
        try:
            if not there:
                raise RemoteError(500, b"Restarting")
            self.inside(txn, request, flow, self.driver.clock())
        except RemoteError as problem:
            answer = respond(request, problem.status, problem.reason, to_tag=self.identifiers.tag())
            self.driver.respond(txn, answer)

    def ack(self, request: Request, flow: Flow, now: float) -> None:
        """The ACK of a 2xx goes to the side that sent it; it has no transaction."""
        inside = self.dialogs.find(request, now, flow)
        if inside is None:
            self.lasting.when_read(lambda there: self.ack(request, flow, now) if there else None)
            return
        put = partial(self._ack, request, flow, inside)
        overdue.finished(self, inside, request.cseq.number)

        def lost(reason: str) -> None:
            inside.dialog.leg.story.note(kinds.ERROR, f"an ACK was not delivered: {reason}")

        found = self.ends.flow(inside.receiver)
        on_flow(found, put, lambda reason: on_flow(self.ends.anew(inside.receiver, set()), put, lost))

    def stray(self, response: Response, flow: Flow, now: float) -> bool:
        """The answer to an INVITE whose transaction was lost by a restart is passed on, where that INVITE was inside a
        dialog; any other 2xx is acknowledged, else its sender would end the call (RFC 3261 §13.3.1.4). Whether it was
        one of these."""
        if response.cseq.method != b"INVITE" or response.status < 200:
            return False
        inside = self.dialogs.answered(response)
        if inside is None:
            return False
        inside.receiver.hop = flow
        if overdue.waited_for(inside, response):
            overdue.bring(self, inside, response, flow)
        elif response.status < 300:
            self.endings.acknowledge(inside, response.cseq.number)
        return True

    def awake(self, news: Awake, now: float) -> None:
        """A device registered: requests that wait for it go on, dialogs that lost their flow have one again."""
        self.absences.came(news.user_id, news.device)
        self.mailbox.awake(news)
        self.waiting.awake(news, now)
        if news.path:  # its dialogs have a route of their own, through the proxy that they began with
            return
        for dialog in self.dialogs.moved(f"{news.username}@{news.domain}", news.device, news.flow):
            self.lasting.changed(dialog)

    def passed(self, inside: Inside, request: Request, status: int) -> None:
        """A request inside a dialog has got its final response."""
        if request.method == b"BYE" or (status in (408, 481) and request.method == b"INVITE"):
            by, reason = "caller" if inside.from_a else "callee", "gone" if status in (408, 481) else "hung up"
            self.endings.over(inside, by, reason)

    def end_all(self, reason: str) -> None:
        """End every call there is: BYE to both sides of each, 503 to those who still wait for an answer."""
        self._give_up()
        self.endings.end_all(reason)

    def leave_all(self) -> int:
        """503 to those who still wait for an answer; how many answered calls there are for the next process."""
        self._give_up()
        self.lasting.settle()
        self.lasting.settle()
        return sum(leg.story.invite for leg in self.dialogs.all())

    def _give_up(self) -> None:
        for attempt in tuple(self.open):
            attempt.give_up(503, b"Going Down", self.driver.clock())

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
        place = self.open.pop(attempt, None)
        if place:
            self.guard.rang(place)
        self._missed(attempt)
        self.returns.answered(attempt, status)
        if status == 404 and attempt.caller.upper is None and attempt.lodger is None:
            # Somebody who is not registered here asks for names (security: scanners use INVITE and MESSAGE too).
            flow = attempt.flow
            self.guard.offence(flow.peer[0], UNKNOWN_USER, self.clock_at(), proven=flow.reliable)
        success = 200 <= status < 300
        for leg in attempt.legs:
            if not success or not any(dialog.confirmed for dialog in leg.dialogs.values()):
                self.endings.close(leg, attempt.story.call if success else None)
        if success:
            for leg in attempt.legs:
                for dialog in leg.dialogs.values():
                    if dialog.confirmed:
                        self.lasting.confirmed(dialog)
            return
        if attempt.story.call is None:
            return
        attempt.story.note(kinds.CANCELLED if by == "caller" else kinds.REJECTED, f"{status} {reason}")
        self.endings.record(attempt.story.call, status, reason, by)

    def _missed(self, attempt: Attempt) -> None:
        """Devices that were pushed for this call and did not come while it waited for them (`push.remove_on`)."""
        settings, user = self.settings(), attempt.user
        if not settings.missed_calls or user is None or not attempt.invite or attempt.fork.cancelled:
            return
        for branch in attempt.fork.branches.values():
            if not branch.pushed or branch.alive or branch.target.woken or branch.status != settings.no_wake_code:
                continue
            if self.absences.missed(user.id, branch.key, settings.missed_calls):
                attempt.story.note(kinds.UNREGISTER, f"{branch.target.name}: did not come, removed")
                self.lasting.write(
                    RemoveBinding(
                        username=user.username,
                        domain=user.domain,
                        upper=user.upper,
                        identity=branch.key,
                        all_flows=True,
                    )
                )

    def _ack(self, request: Request, came: Flow, inside: Inside, goes: Flow) -> None:
        if not request.body:
            self._put_ack(request, inside, goes, b"")
            return
        self.lasting.changed(inside.dialog)
        side: Literal["a", "b"] = "a" if inside.from_a else "b"
        body = described(self.media, inside.dialog.leg, side, request, came, goes)
        when_there(
            body,
            partial(self._put_ack, request, inside, goes),
            lambda failure: log.warn("ACK not sent on: {why}", why=failure.getErrorMessage()),
        )

    def _put_ack(self, request: Request, inside: Inside, flow: Flow, body: bytes) -> None:
        out = passed_on(self, request, inside, flow, body)
        if inside.receiver.upper is None:
            self.driver.put(out.render(), flow)
        else:
            self.ways.carry(out, flow, lambda fitting: self.driver.put(out.render(), fitting))
