"""One request outside a dialog on its way to its targets: carries out what its `Fork` decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from sbc.observe import kinds
from sbc.proxy import posting, sending
from sbc.proxy.answers import Answers
from sbc.proxy.branch import (
    DONE,
    WAITING,
    Abandon,
    Answer,
    Branch,
    Cancel,
    Candidate,
    Desist,
    Effect,
    Failover,
    Forward,
    HangUp,
    Move,
    Relay,
    Renew,
    Wake,
)
from sbc.proxy.dialog import Leg
from sbc.proxy.fork import Fork
from sbc.proxy.loops import BREADTH, breadth_of, shares
from sbc.proxy.outgoing import caller
from sbc.proxy.redirect import followed
from sbc.proxy.story import Story
from sbc.proxy.summons import Summons
from sbc.proxy.target import PUSH_TYPES, Target, newcomer
from sbc.registrar.flows import Awake, Resident, TurnedAway
from sbc.sip.build import respond
from sbc.sip.errors import RemoteError
from sbc.sip.message import Request, Response
from sbc.store.records import User
from sbc.transaction.server import ServerTransaction
from sbc.transport.flow import Flow
from sbc.upper.servers import UpperServer

if TYPE_CHECKING:
    from sbc.proxy.calls import Calls

log = Logger()


class Attempt:
    """One server transaction, its fork, its legs, its CDR.

    `caller` is the side that sent the request; `origin` the upper server, if it came from one; `lodger` whose
    device sent it, if it is one of ours.
    """

    __slots__ = (
        "_alarm",
        "answers",
        "breadth",
        "by_q",
        "caller",
        "calls",
        "done",
        "flow",
        "fork",
        "grows",
        "held",
        "invite",
        "keeps",
        "kind",
        "legs",
        "lodger",
        "origin",
        "reasons",
        "request",
        "shown_caller",
        "started",
        "story",
        "summons",
        "txn",
        "user",
    )

    def __init__(
        self,
        calls: Calls,
        txn: ServerTransaction,
        request: Request,
        flow: Flow,
        origin: UpperServer | None,
        lodger: Resident | None,
        now: float,
    ) -> None:
        self.calls = calls
        self.txn = txn
        self.request = request
        self.flow = flow
        self.origin = origin
        self.lodger = lodger
        self.started = now
        self.invite = request.method == b"INVITE"
        self.kind = PUSH_TYPES.get(request.method)
        """By what kind of push it wakes devices; None: by none."""
        self.grows = True
        """Whether other devices of the callee may join; not where one device alone was called."""
        settings = calls.settings()
        wait = settings.max_wait if self.invite else min(settings.max_wait, settings.max_wait_non_invite)
        self.fork: Fork[Target] = Fork(
            self.invite,
            wait=wait,
            no_wake=settings.no_wake_code,
            patience=settings.failover_after,
            ring=settings.ring_time,
        )
        self.user: User | None = None
        self.shown_caller = ""
        """The user part of From on the other side, where a rule has given it another one."""
        self.summons = Summons()
        self.legs: list[Leg] = []
        self._alarm: Any = None
        self.done = False
        self.held = False
        """The caller has been told that it must wait."""
        self.breadth = BREADTH
        self.by_q = settings.by_q and self.invite
        self.keeps = False
        self.reasons: tuple[bytes, ...] = ()
        self.answers = Answers()
        self.caller = caller(request, flow, origin, lodger)
        self.story = Story(calls.log, calls.clock_at, calls.opened(self) if self.invite else None)

    def begin(
        self,
        candidates: Sequence[Candidate[Target]],
        user: User | None,
        now: float,
    ) -> None:
        """The targets are known: `user` if there are devices of one of ours among them."""
        self.user = user
        try:
            self.breadth = shares(breadth_of(self.request), len(candidates))
        except RemoteError as problem:
            self.refuse(problem.status, problem.reason)
            return
        missed = []
        if user is not None:
            self.calls.waiting.enter(user.id, self)
            missed = self.calls.waiting.since(user.id, self.started, now)
        self.keeps = any(candidate.target.tokens for candidate in candidates)
        self.fork.keeps = self.keeps and user is not None and self.calls.mailbox.takes(self.request)
        self._note_asleep(candidates)
        self._run(self.fork.start(candidates, now), now)
        for news in missed:
            self.woken(news, now)

    def woken(self, news: Awake, now: float) -> None:
        """A device of the callee registered."""
        known = self.fork.branches.get(news.device) or self._renamed(news)
        if known is None and not self.grows:
            return
        target = newcomer(news)
        elsewhere = known is not None and known.target.way != target.way
        held = known is not None and known.state is WAITING
        q = news.q if self.by_q else 1.0
        effects = self.fork.woken(news.device, target, bool(news.tokens), elsewhere, now, q=q, behind=bool(target.path))
        if effects:
            self.story.note(kinds.WOKEN if held else kinds.REGISTER, f"{target.name} registered")
        if effects and held:
            self.calls.woke(self, news)
        self.summons.came(news.device)
        self._run(effects, now)

    def found(self, branch: Branch[Target], now: float) -> None:
        """A device that was thought asleep answers on its old flow: the request goes there at once."""
        self.story.note(kinds.WOKEN, f"{branch.target.name} answers where it was")
        here = replace(branch.target, flow=branch.target.quiet, woken=True)
        self._run(self.fork.woken(branch.key, here, True, False, now), now)

    def _renamed(self, news: Awake) -> Branch[Target] | None:
        """The branch of a device that comes under another name and is known by its token (RFC 8599 section 5.6.2): an
        app that makes itself a new instance at each start."""
        prids = {token.prid for token in news.tokens}
        for branch in list(self.fork.branches.values()):
            if branch.state is WAITING and any(token.prid in prids for token in branch.target.tokens):
                self.summons.came(branch.key)
                self.fork.branches[news.device] = self.fork.branches.pop(branch.key)
                branch.key = news.device
                return branch
        return None

    def turned_away(self, news: TurnedAway, now: float) -> None:
        """A device was refused by the upper server: if it is one that this request waits for, it does so no more."""
        user = self.user
        if user is None or (user.username, user.domain) != (news.username, news.domain):
            return
        for branch in list(self.fork.branches.values()):
            if branch.state is WAITING and any(token.prid in news.prids for token in branch.target.tokens):
                self.story.note(kinds.BRANCH_FAILED, f"{branch.target.name}: its REGISTER was answered {news.status}")
                self._run(self.fork.pushed(branch, False, now), now)

    def cancelled(self, now: float, reasons: Sequence[bytes] = ()) -> None:
        """The caller gave up; `reasons` are the Reason values of its CANCEL (RFC 3326)."""
        self.reasons = tuple(reasons)
        self.story.note(kinds.CANCEL, "the caller gave up")
        self._run(self.fork.cancel(now), now)
        if self.invite and self.calls.calls_off():
            for branch in self.fork.branches.values():
                if branch.pushed and not branch.alive and not branch.target.woken:
                    self.summons.call_off(self, branch)

    def responded(self, branch: Branch[Target], response: Response, now: float) -> None:
        """A response came on one of the branches."""
        server = branch.target.server
        if server is not None and not branch.heard:
            self.calls.uppers.served(server, response.status, branch.target.flow)
        if server is not None and self.invite and branch.state is not DONE:
            self._judge(branch, response.status, now)
        if branch.state is DONE and not (self.invite and response.status < 300):
            self.calls.mailbox.answered_late(response)
            return
        if response.status >= 300 and self.invite:
            kind = kinds.CHALLENGED if response.status in (401, 407) else kinds.BRANCH_FAILED
            self.story.note(
                kind, f"{branch.target.name}: {response.status} {response.reason.decode('utf-8', 'replace')}"
            )
        servers = self.calls.ways.servers
        redirected = server is not None and 300 <= response.status < 400
        others = followed(response, servers, len(self.fork.branches)) if redirected else []
        if others:
            self._run(self.fork.redirected(branch, others, now), now)
        else:
            self._run(self.fork.response(branch, response, now), now)

    def pushed(self, branch: Branch[Target], accepted: bool) -> None:
        """What became of the push to a branch's device."""
        now = self.calls.driver.clock()
        self._run(self.fork.pushed(branch, accepted, now), now)

    def _judge(self, branch: Branch[Target], status: int, now: float) -> None:
        """What this call says of the quality of its upper server."""
        target = branch.target
        if target.server is None or not self.invite or status in (100, 401, 407):
            return
        if status < 200:
            if target.rang_after is None and branch.sent_at is not None:
                target.rang_after = now - branch.sent_at
        else:
            self.calls.router.ended(target.server, target.called, status, target.rang_after)

    def silent(self, branch: Branch[Target], status: int, reason: str, now: float) -> None:
        """The branch's target could not be reached, or says nothing more."""
        server = branch.target.server
        if server is not None and not branch.heard and branch.state is not DONE:
            self.calls.uppers.silent(server, f"{self.request.method.decode()}: {reason}", branch.target.flow)
            self._judge(branch, status, now)
        self.branch_failed(branch, status, reason, now, lost=status == 503)

    def branch_failed(
        self, branch: Branch[Target], status: int, reason: str, now: float, *, lost: bool = False
    ) -> None:
        """No final response will come on this branch; `lost`: its flow broke."""
        if branch.state is not DONE:
            self.story.note(kinds.TIMEOUT if status == 408 else kinds.BRANCH_FAILED, f"{branch.target.name}: {reason}")
        self._run(self.fork.failed(branch, status, now, lost=lost), now)

    def refuse(self, status: int, reason: bytes = b"") -> None:
        """Answer with an error before any target was tried."""
        self.fork.finished = True
        self.answer(respond(self.request, status, reason or None, to_tag=self.calls.identifiers.tag()), "sbc")

    def give_up(self, status: int, reason: bytes, now: float) -> None:
        """End it on our own account: nobody rings afterwards."""
        self._run([effect for effect in self.fork.cancel(now) if not isinstance(effect, Answer)], now)
        if not self.done:
            self.refuse(status, reason)

    # What the fork decides

    def _run(self, effects: Sequence[Effect[Target]], now: float) -> None:
        for effect in effects:
            try:
                _CARRY_OUT[type(effect)](self, effect, now)
            except RemoteError as problem:
                self.story.note(kinds.ERROR, str(problem))
                if not self.done:
                    self.give_up(502, problem.reason, now)
            except Exception:  # noqa: BLE001 - whatever it was, the caller gets an answer and nobody rings on
                log.failure("an attempt met a bug")
                if not self.done:
                    self.give_up(500, b"", now)
        if self.fork.waiting and not self.held:
            self._hold()
        self._arm(now)

    def _failover(self, effect: Failover[Target], now: float) -> None:
        target = effect.branch.target
        self.story.note(kinds.FAILOVER, f"{target.name}: {effect.reason}")
        if effect.silent and target.server is not None:
            self.calls.uppers.silent(target.server, f"INVITE: {effect.reason}", target.flow)
            self._judge(effect.branch, 408, now)

    def _wake(self, effect: Wake[Target], now: float) -> None:
        self.summons.wake(self, effect.branch)

    def _relay(self, effect: Relay[Target], now: float) -> None:
        self.answers.relay(self, effect.branch, effect.response, now)

    def _desist(self, effect: Desist, now: float) -> None:
        self._finish(408, "no answer", "callee")

    # Ending

    def _hold(self) -> None:
        """Somebody is to wake: now, or when those have refused who rang before."""
        self.held = True
        settings = self.calls.settings()
        if not self.invite:
            return
        self.story.note(kinds.WAITING, f"at most {settings.max_wait:g} s, the caller hears {settings.waiting_answer}")
        if settings.waiting_answer != "none" and not self.done:
            status = int(settings.waiting_answer)
            self.calls.driver.respond(self.txn, respond(self.request, status, to_tag=self.calls.identifiers.tag()))

    def answer(self, response: Response, by: str = "callee") -> None:
        self.calls.driver.respond(self.txn, response)
        if response.status >= 200 and not self.done:
            if response.status == 487 and self.fork.cancelled:
                by = "caller"
            self._finish(response.status, response.reason.decode("utf-8", "replace"), by)

    def _finish(self, status: int, reason: str, by: str) -> None:
        """The request is answered: nobody waits any more, failed calls leave nothing behind."""
        self.done = True
        self.summons.over()
        if self.user is not None:
            self.calls.waiting.leave(self.user.id, self)
        self._arm(0.0)
        self.calls.answered(self, status, reason, by)

    def _arm(self, now: float) -> None:
        if self._alarm is not None:
            if self._alarm.active():
                self._alarm.cancel()
            self._alarm = None
        deadline = None if self.done else self.fork.deadline()
        if deadline is not None:
            self._alarm = self.calls.call_later(max(0.0, deadline - now), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now = self.calls.driver.clock()
        self._run(self.fork.expire(now), now)

    def _note_asleep(self, candidates: Sequence[Candidate[Target]]) -> None:
        if not self.invite:
            return
        for candidate in candidates:
            if not candidate.awake:
                self.story.note(kinds.ASLEEP, candidate.target.name)
            elif candidate.target.server is not None:
                self.story.note(kinds.ROUTED, f"to upper server {candidate.target.server.name}")


_CARRY_OUT: dict[type, Any] = {
    Abandon: sending.abandon,
    Failover: Attempt._failover,
    Forward: sending.forward,
    Move: sending.move,
    Renew: sending.renew,
    Wake: Attempt._wake,
    Relay: Attempt._relay,
    Answer: posting.concluded,
    Desist: Attempt._desist,
    Cancel: sending.cancel,
    HangUp: sending.hang_up,
}
