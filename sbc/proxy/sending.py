"""How the request of a branch gets to its target, and back what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.observe import kinds
from sbc.proxy.branch import DONE, Abandon, Branch, Cancel, Forward, HangUp, Move, Renew
from sbc.proxy.describing import described
from sbc.proxy.dialog import OPENING, Leg
from sbc.proxy.outgoing import leg_for, onto, request_for
from sbc.proxy.target import Target
from sbc.registrar.following import PATIENCE
from sbc.sip.errors import RemoteError
from sbc.sip.message import Request, Response
from sbc.soon import when_there
from sbc.transaction.client import ClientTransaction
from sbc.transaction.retry import RFC_RETRY, Retry
from sbc.transport.flow import Flow
from sbc.upper.ways import on_flow, refusal

if TYPE_CHECKING:
    from sbc.proxy.attempt import Attempt

log = Logger()

P = ParamSpec("P")

COMPLETED = b'SIP;cause=200;text="Call completed elsewhere"'
"""The Reason of a CANCEL to a device that was slower than another (RFC 3326)."""


def _alone(
    step: Callable[Concatenate[Attempt, Branch[Target], P], None],
) -> Callable[Concatenate[Attempt, Branch[Target], P], None]:
    """What this step raises ends its branch and no other; often nobody is left who could hear of it."""

    def careful(attempt: Attempt, branch: Branch[Target], /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(attempt, branch, *args, **kwargs)
        except RemoteError as problem:
            attempt.branch_failed(branch, 502, str(problem), attempt.calls.driver.clock())
        except Exception:  # noqa: BLE001 - whatever it was, the caller gets an answer and the other devices theirs
            log.failure("a branch met a bug")
            attempt.branch_failed(branch, 500, "it met a bug of the SBC", attempt.calls.driver.clock())

    return careful


def forward(attempt: Attempt, effect: Forward[Target], now: float) -> None:
    """Send the request to the branch's target; once more under the same Via branch where its flow broke before.

    What was being prepared for another target of the branch lapses.
    """
    branch = effect.branch
    target, calls = branch.target, attempt.calls
    if effect.again and branch.txn is not None and target.flow is not None:
        request = onto(branch)
        branch.txn = calls.driver.send(request, target.flow, BranchClient(attempt, branch), _retry(attempt, target))
        attempt.story.note(kinds.RESENT, f"{target.name}, after its flow broke")
        return
    branch.txn = None
    if target.flow is not None:
        _offer(attempt, branch, target, target.flow)
        return
    if target.server is None:
        flow = calls.edges.flow(target)
        on_flow(flow, partial(_offer, attempt, branch, target), partial(_unreached, attempt, branch, target))
        return
    if calls.following.settled(target.server):
        _up(attempt, branch, 0)
        return
    patience = min(PATIENCE, calls.settings().failover_after / 2) if branch.reserve else PATIENCE
    following = calls.following.follow(target.server, _parties(attempt, target), patience)
    when_there(following, partial(_up, attempt, branch), Failure.raiseException)


def _parties(attempt: Attempt, target: Target) -> set[tuple[str, str]]:
    """The users who may have to be registered at the target's server for this request."""
    lodger, server = attempt.lodger, target.server
    assert server is not None
    called = {(target.called, server.domain.decode())} if target.called else set()
    return called if lodger is None else called | {(lodger.username, lodger.domain)}


def _up(attempt: Attempt, branch: Branch[Target], moved: int) -> None:
    """To the target's server, at which so many registrations have just been renewed for this request."""
    server = branch.target.server
    assert server is not None
    if moved:
        attempt.story.note(kinds.REGISTER, f"{moved} moved to {server.name} for this request")
    flow, target = attempt.calls.ways.flow(server), branch.target
    on_flow(flow, partial(_offer, attempt, branch, target), partial(_unreached, attempt, branch, target))


def move(attempt: Attempt, effect: Move[Target], now: float) -> None:
    """The request goes on, under the same Via branch, to where its device is now."""
    branch, target = effect.branch, effect.branch.target
    if target.flow is None or branch.txn is None:  # behind a proxy that is to be reached first, or not sent yet
        renew(attempt, Renew(branch), now)
        return
    onto(branch)
    attempt.story.note(kinds.RESENT, f"{target.name}, on its new flow")
    attempt.calls.driver.move(branch.txn, target.flow)


def renew(attempt: Attempt, effect: Renew[Target], now: float) -> None:
    """The request went where its device is no more: that one is cancelled, and it starts anew."""
    branch = effect.branch
    if branch.txn is not None:
        if branch.txn.user is not None:  # else it was answered and has been let go
            branch.txn.user.over = True
        if attempt.invite:
            attempt.calls.driver.cancel(branch.txn, [])
        else:
            attempt.calls.driver.rest(branch.txn)
        branch.txn = None
    forward(attempt, Forward(branch), now)


def abandon(attempt: Attempt, effect: Abandon[Target], now: float) -> None:
    """Send the request no more: the mailbox will."""
    branch = effect.branch
    attempt.story.note(kinds.TIMEOUT, f"{branch.target.name}: silent")
    if branch.txn is not None:
        attempt.calls.driver.rest(branch.txn)


def cancel(attempt: Attempt, effect: Cancel[Target], now: float) -> None:
    """CANCEL the branch's request, if it was sent."""
    branch = effect.branch
    if branch.txn is None:
        return
    attempt.story.note(kinds.CANCEL, f"to {branch.target.name}" + (", answered elsewhere" if effect.completed else ""))
    reasons = (COMPLETED,) if effect.completed else attempt.reasons
    attempt.calls.driver.cancel(branch.txn, [(b"Reason", reason) for reason in reasons])


def hang_up(attempt: Attempt, effect: HangUp[Target], now: float) -> None:
    """Acknowledge a 2xx that came after all was over, and end its dialog."""
    _reject(attempt, effect.branch.leg, effect.branch.txn, effect.response, now)


def _reject(attempt: Attempt, leg: Leg, txn: ClientTransaction, response: Response, now: float) -> None:
    first = response.to_tag not in leg.dialogs
    attempt.calls.dialogs.responded(leg, response, txn.hop, now)
    attempt.calls.endings.reject_answer(leg, response.to_tag or b"", txn, first)


def _lapsed(branch: Branch[Target], target: Target) -> bool:
    """Whether the request is not to go to this target any more."""
    return branch.state is DONE or branch.target is not target


@_alone
def _offer(attempt: Attempt, branch: Branch[Target], target: Target, flow: Flow) -> None:
    """Open the branch's leg and rewrite its media; then it can be sent."""
    if _lapsed(branch, target):
        return
    calls, request = attempt.calls, attempt.request
    target.flow = flow
    if target.server is not None and attempt.story.call is not None:
        attempt.story.call.upper = target.server.name
    if request.method not in OPENING:
        _send(attempt, branch, target, flow, request.body)
        return
    leg = leg_for(attempt, branch, flow)
    if not calls.dialogs.open(leg):
        attempt.branch_failed(branch, 503, "too many dialogs", calls.driver.clock())
        return
    branch.leg = leg
    attempt.legs.append(leg)
    if not request.body:
        _send(attempt, branch, target, flow, b"")
        return
    body = described(calls.media, leg, "a", request, attempt.flow, flow)
    when_there(body, partial(_send, attempt, branch, target, flow), partial(_no_media, attempt, branch, target))


@_alone
def _send(attempt: Attempt, branch: Branch[Target], target: Target, flow: Flow, body: bytes) -> None:
    if _lapsed(branch, target):
        return
    out = request_for(attempt, branch, flow, body)
    if target.server is None:
        _put(attempt, branch, target, out, flow)
    else:
        attempt.calls.ways.carry(out, flow, partial(_put, attempt, branch, target, out))


@_alone
def _put(attempt: Attempt, branch: Branch[Target], target: Target, out: Request, flow: Flow) -> None:
    if _lapsed(branch, target):
        return
    branch.sent, target.flow = out, flow
    branch.txn = attempt.calls.driver.send(out, flow, BranchClient(attempt, branch), _retry(attempt, target))
    if attempt.invite:
        attempt.story.note(kinds.DELIVERED, f"{target.name}, Request-URI {target.uri.decode('utf-8', 'replace')}")


def _retry(attempt: Attempt, target: Target) -> Retry:
    """How the request is repeated there: longer to a phone that has just woken, on a path that loses packets."""
    patient = target.woken and not target.flow.reliable and attempt.invite
    return attempt.calls.settings().wake_retry if patient else RFC_RETRY


def _no_media(attempt: Attempt, branch: Branch[Target], target: Target, failure: Failure) -> None:
    if not _lapsed(branch, target):
        problem = refusal(failure)
        attempt.branch_failed(branch, problem.status, str(problem), attempt.calls.driver.clock())


def _unreached(attempt: Attempt, branch: Branch[Target], target: Target, reason: str) -> None:
    if not _lapsed(branch, target):
        attempt.silent(branch, 503, reason, attempt.calls.driver.clock())


class BranchClient:
    """The client of one branch's transaction. `over`: the branch goes on with another one."""

    __slots__ = ("attempt", "branch", "leg", "over")

    def __init__(self, attempt: Attempt, branch: Branch[Target]) -> None:
        self.attempt = attempt
        self.branch = branch
        self.leg = branch.leg
        self.over = False

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        if not self.over:
            self.attempt.responded(self.branch, response, now)
        elif self.attempt.invite and 200 <= response.status < 300:
            _reject(self.attempt, self.leg, txn, response, now)

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        if not self.over:
            self.attempt.silent(self.branch, 408, "no answer", now)

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        if not self.over:
            self.attempt.silent(self.branch, 503, reason, now)
