"""Requests that end without an answer of any device: messages go to the mailbox, others are refused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from sbc.proxy.branch import Answer, Candidate
from sbc.proxy.target import Target
from sbc.sip.build import respond
from sbc.store.records import User

if TYPE_CHECKING:
    from sbc.proxy.attempt import Attempt


def queue(attempt: Attempt, candidates: Sequence[Candidate[Target]], user: User, now: float) -> None:
    """Earlier messages of the user wait: this one is kept behind them, and its devices are pushed."""
    attempt.user = user
    for candidate in candidates:
        if candidate.pushable and not candidate.awake:
            attempt.summons.announce(attempt, candidate.target)
    awake = [each for each in candidates if each.awake and each.target.flow is not None]
    mailbox = attempt.calls.mailbox
    stored = mailbox.store(attempt.request, user)
    stored.addCallback(partial(_kept, attempt), 480, None, now)
    if awake:
        first = awake[0]
        stored.addCallback(lambda _: mailbox.deliver(user.id, first.target, first.key))


def concluded(attempt: Attempt, effect: Answer, now: float) -> None:
    """Nobody has answered: the fork's own verdict, unless the request is a message that can be kept."""
    mailbox, user = attempt.calls.mailbox, attempt.user
    asleep = attempt.keeps and effect.status == attempt.calls.settings().no_wake_code
    if user is not None and asleep and mailbox.takes(attempt.request):
        sent = (branch.txn for branch in attempt.fork.branches.values())
        stored = mailbox.store(attempt.request, user, [txn.branch for txn in sent if txn is not None])
        stored.addCallback(partial(_kept, attempt), effect.status, effect.reason.encode(), now)
        return
    tag = attempt.calls.identifiers.tag()
    attempt.answer(respond(attempt.request, effect.status, effect.reason.encode(), to_tag=tag), "sbc")


def _kept(attempt: Attempt, kept: bool, status: int, reason: bytes | None, since: float) -> None:
    """The message is durable, or cannot be kept; a device may have registered meanwhile."""
    calls, user = attempt.calls, attempt.user
    verdict, words = (202, b"") if kept else (status, reason)
    attempt.answer(respond(attempt.request, verdict, words, to_tag=calls.identifiers.tag()), "sbc")
    if user is not None and kept:
        for news in calls.waiting.since(user.id, since, calls.driver.clock()):
            calls.mailbox.awake(news)
