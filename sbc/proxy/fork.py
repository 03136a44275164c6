"""The target set of one request and what becomes of it (RFC 3261 §16.6, §16.7), grown by devices that wake: pure.

A `Fork` is told which targets there are, which of them sleep, what their pushes, registrations and responses say, and
the time; it answers with effects. It never sends the same request twice to one device: a branch is sent once, and goes
to a new flow under the same Via branch (so a phone sees a retransmission) only while nothing at all came back on it.
Where a proxy says that the phone never got it (`FLOW_FAILED`), it is sent anew.

Targets of equal q ring side by side, those of a lower q when all before have failed or rung for `ring` seconds; a
sleeping device that was not in time rings beside the later ones. A device with several flows (RFC 5626) is one branch,
on one flow at a time. Upper servers are tried one after the other: the next of the reserve when the one before refuses
in a way that speaks of the server and not of the call (`CALLS`), cannot be reached, or keeps silent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic

from sbc.proxy.branch import (
    DONE,
    RINGING,
    TRYING,
    WAITING,
    Abandon,
    Answer,
    Branch,
    Cancel,
    Candidate,
    Effect,
    Failover,
    Forward,
    HangUp,
    Move,
    Relay,
    Renew,
    T,
    Wake,
    best,
    outcome,
)
from sbc.proxy.codes import FLOW_FAILED, OTHER_FLOW
from sbc.proxy.turns import Turns, in_place
from sbc.sip.message import Response
from sbc.upper.failover import CALLS

TAKES = 4.0
"""Seconds that a device may take to answer a request that can be kept instead: one that has just got it is not given
up, lest it gets it twice. With the longest wait this is still sooner than the 32 s after which the sender gives up."""


class Fork(Generic[T]):
    """One request's branches. `wait`: seconds that sleeping devices may take; `no_wake`: the answer if none does.

    `patience`: seconds of silence after which an INVITE goes to the next server of the reserve. Other requests wait
    for their transaction: no provisional answer is to be expected for them. `ring`: seconds that an INVITE rings at
    targets of one q while there are others.
    """

    __slots__ = (
        *("_begun", "_deadline", "_group", "_held", "_later", "_no_wake", "_patience", "_q", "_ring", "_wait"),
        *("branches", "cancelled", "finished", "invite", "keeps"),
    )

    def __init__(
        self, invite: bool, *, wait: float, no_wake: int = 480, patience: float = 4.0, ring: float = math.inf
    ) -> None:
        self.invite = invite
        self.branches: dict[str, Branch[T]] = {}
        self.cancelled = False
        self.finished = False
        """A final response has gone to the sender."""
        self.keeps = False
        """Whether the request can be kept for devices that say nothing: those that looked awake are then given up with
        those that sleep."""
        self._wait = wait
        self._no_wake = no_wake
        self._patience = patience
        self._ring = ring
        self._deadline: float | None = None
        self._later: Turns[T] = Turns()
        self._q = math.inf
        self._group = self._held = 0
        self._begun = 0.0

    @property
    def waiting(self) -> bool:
        """Whether some device is still to wake."""
        return not self.finished and any(branch.state is WAITING for branch in self.branches.values())

    def deadline(self) -> float | None:
        """When `expire` has something to do."""
        if self.finished:
            return None
        times = [at for branch in self.branches.values() if (at := branch.doubted_at()) is not None]
        times += [at for branch in self.branches.values() if (at := self._patient(branch)) is not None]
        if self._deadline is not None:
            times.append(self._deadline)
        times += [turn] if (turn := self._turn()) is not None else []
        return min(times, default=None)

    def start(self, candidates: Sequence[Candidate[T]], now: float) -> list[Effect[T]]:
        """The targets known when the request arrives."""
        self._later.add(candidates)
        effects = self._conclude(now)
        if self.keeps and self._deadline is None:
            self._deadline, self._held = now + self._wait, self._group
        return effects

    def woken(
        self, key: str, target: T, pushable: bool, elsewhere: bool, now: float, *, q: float = 1.0, behind: bool = False
    ) -> list[Effect[T]]:
        """A device of the callee registered. `elsewhere`: it is reached another way than its branch was sent."""
        if self.finished or self.cancelled:
            return []
        branch = self.branches.get(key)
        if branch is None:
            return self._joined(Candidate(key, target, True, pushable, q=q, behind=behind), now)
        if branch.state is WAITING:
            branch.target, branch.behind, branch.group = target, behind, self._group
            return [self._forward(branch, now)]
        if branch.state is DONE or branch.cancelled or branch.alive or not elsewhere:
            return []
        # A proxy absorbs what comes again under the same Via branch: it would never look at the new way.
        renewed = branch.behind or behind
        branch.target, branch.behind, branch.sent_at = target, behind, now
        branch.state, branch.heard = TRYING, branch.heard and not renewed
        return [Renew(branch) if renewed else Move(branch)]

    def _joined(self, candidate: Candidate[T], now: float) -> list[Effect[T]]:
        """A device that was not among the targets so far, or is one whose turn has not come."""
        if not self._later.drop(candidate.key) and not self.invite and not self.waiting:
            return []
        if candidate.q < self._q:
            self._later.add([candidate])
            return []
        return self._tried(candidate, now)

    def pushed(self, branch: Branch[T], accepted: bool, now: float) -> list[Effect[T]]:
        """The provider answered a push: a refused one ends a branch that only waited for it."""
        if accepted or branch.state is not WAITING or self.finished:
            return []
        branch.state, branch.status = DONE, self._no_wake
        return self._conclude(now)

    def response(self, branch: Branch[T], response: Response, now: float) -> list[Effect[T]]:
        """A response on this branch."""
        status = response.status
        branch.heard = True
        branch.alive = branch.alive or status > 100 or not branch.behind
        if status < 200:
            return self._provisional(branch, response)
        if status < 300 and self.invite:
            return self._success(branch, response)
        if branch.state is DONE:
            return []
        over = self.cancelled or self.finished or branch.cancelled or branch.rang
        if status in OTHER_FLOW and branch.ways and not over:
            branch.target = branch.ways.pop(0)
            return [self._forward(branch, now)]
        if status in FLOW_FAILED and branch.pushable and not over and self._waits(branch):
            branch.heard, branch.alive, branch.sent_at = False, False, None
            return self._asleep(branch, now)
        if status in CALLS and branch.reserve and not self._settled(branch, status):
            branch.state, branch.status, branch.response = DONE, status, response
            return self._next(branch, f"{status} {response.reason.decode('utf-8', 'replace')}", False, now)
        branch.state, branch.status, branch.response = DONE, status, response
        if status == 487 and branch.cancelled and not (self.cancelled or self.finished):
            branch.status, branch.response = 408, None  # it had its time: the sender did not give up
        effects: list[Effect[T]] = []
        if status >= 600 or (status < 300 and not self.finished):
            effects += self._stop(branch, completed=status < 300)
        return effects + self._conclude(now)

    def redirected(self, branch: Branch[T], candidates: Sequence[Candidate[T]], now: float) -> list[Effect[T]]:
        """The branch's target names others that are tried in its place, by falling q (RFC 3261 §16.7 step 4)."""
        branch.heard = True
        branch.state, branch.status = DONE, 0
        named = in_place(candidates, self.branches, branch.reserve)
        if not named and branch.reserve and not self._settled(branch, 0):
            return self._next(branch, "it redirects in circles", False, now)
        branch.reserve = []
        self._later.add(named)
        return self._conclude(now)

    def failed(self, branch: Branch[T], status: int, now: float, *, lost: bool = False) -> list[Effect[T]]:
        """No final response will come on this branch: 408 after silence, another status for our own reasons.

        `lost`: its flow broke. A device whose flow broke before it answered anything is tried on another flow of its
        own, or pushed where it can be and is still waited for.
        """
        if branch.state is DONE:
            return []
        untouched = lost and not (branch.alive or self.cancelled or self.finished)
        if untouched and branch.ways:
            branch.target = branch.ways.pop(0)
            return [self._forward(branch, now)]
        if untouched and branch.pushable and self._waits(branch):
            return self._asleep(branch, now)
        effects: list[Effect[T]] = []
        if branch.heard and self.invite and not branch.cancelled:
            branch.cancelled = True
            effects.append(Cancel(branch, False))
        branch.state = DONE
        branch.status = 500 if lost else status
        if branch.reserve and not self._settled(branch, status):
            reason = "no answer" if status == 408 else "cannot be reached"
            return effects + self._next(branch, reason, False, now)
        return effects + self._conclude(now)

    def cancel(self, now: float) -> list[Effect[T]]:
        """The sender gave up. Nobody rings afterwards."""
        if self.finished or self.cancelled:
            return []
        self.cancelled = True
        return self._stop(None, completed=False) + self._conclude(now)

    def expire(self, now: float) -> list[Effect[T]]:
        """Time has passed: devices in doubt are tried elsewhere or pushed, silent servers and devices that did not wake
        in time are given up, the next targets have their turn."""
        effects: list[Effect[T]] = []
        if self.finished:
            return effects
        for branch in tuple(self.branches.values()):
            doubted, patient = branch.doubted_at(), self._patient(branch)
            if doubted is not None and doubted <= now:
                moves = branch.ways and not branch.heard
                effects.append(self._elsewhere(branch, now) if moves else self._wake(branch, now))
            if patient is not None and patient <= now:
                branch.state, branch.status, branch.cancelled = DONE, 408, True
                effects.append(Cancel(branch, False))
                effects += self._next(branch, f"silent for {self._patience:g} s", True, now)
        turn = self._turn()
        if turn is not None and turn <= now:
            effects += self._rung() + self._conclude(now)
        if self._deadline is not None and self._deadline <= now:
            self._deadline = None
            for branch in self.branches.values():
                if branch.state is WAITING:
                    branch.state, branch.status = DONE, self._no_wake
            if self.keeps:
                effects += self._give_up_silent(now)
            effects += self._conclude(now)
        return effects

    def _give_up_silent(self, now: float) -> list[Effect[T]]:
        """The devices that got the request and say nothing, but for those that have just got it."""
        effects: list[Effect[T]] = []
        for branch in self.branches.values():
            patient = (branch.sent_at or 0.0) + TAKES
            if branch.state is not DONE and patient > now:
                self._deadline = max(self._deadline or 0.0, patient)
            elif branch.state is not DONE:
                branch.state, branch.status = DONE, self._no_wake
                effects.append(Abandon(branch))
        return effects

    def verdict(self) -> int:
        """The status that would be answered if nothing better came from now on."""
        found = best(self.branches.values())
        return found.status if found is not None else self._no_wake

    # Times

    def _patient(self, branch: Branch[T]) -> float | None:
        """Until when a server may keep silent."""
        if not branch.reserve or not self.invite or self.cancelled or branch.state is not TRYING or branch.heard:
            return None
        return branch.sent_at + self._patience if branch.sent_at is not None else None

    def _turn(self) -> float | None:
        """When those who come later have their turn, if the present ones go on ringing."""
        if not self._later or not self.invite or self.cancelled:
            return None
        sent = [each.sent_at for each in self.branches.values() if each.group == self._group and each.sent_at]
        return max((self._begun, *sent)) + self._ring

    # What follows

    def _tried(self, candidate: Candidate[T], now: float) -> list[Effect[T]]:
        effects: list[Effect[T]] = []
        branch = Branch(candidate.key, candidate.target, candidate.pushable, self._group)
        branch.ways, branch.reserve, branch.behind = list(candidate.ways), list(candidate.reserve), candidate.behind
        self.branches[candidate.key] = branch
        if candidate.awake:
            effects.append(self._forward(branch, now))
        if candidate.pushable and (candidate.push_anyway or not candidate.awake):
            effects.append(self._wake(branch, now))
        elif not candidate.awake:
            branch.state, branch.status = DONE, 480
        return effects

    def _settled(self, branch: Branch[T], status: int) -> bool:
        """Whether no other server may be asked: the call has rung there and nobody answered, or is over."""
        return (status == 408 and branch.rang) or self.cancelled or self.finished

    def _waits(self, branch: Branch[T]) -> bool:
        return not branch.pushed or self._deadline is not None

    def _asleep(self, branch: Branch[T], now: float) -> list[Effect[T]]:
        """The device is not where it was thought to be."""
        branch.state = WAITING
        return [] if branch.pushed else [self._wake(branch, now)]

    def _elsewhere(self, branch: Branch[T], now: float) -> Effect[T]:
        """The request, unanswered, goes on over another flow of the device."""
        branch.target = branch.ways.pop(0)
        branch.sent_at = now
        return Renew(branch) if branch.behind else Move(branch)

    def _next(self, branch: Branch[T], reason: str, silent: bool, now: float) -> list[Effect[T]]:
        """Go on with the next server of the reserve."""
        candidate, *rest = branch.reserve
        branch.reserve = []
        follower = self.branches[candidate.key] = Branch(candidate.key, candidate.target, False, branch.group)
        follower.reserve = rest
        return [Failover(branch, reason, silent), self._forward(follower, now)]

    def _forward(self, branch: Branch[T], now: float) -> Effect[T]:
        again = branch.sent_at is not None and not branch.heard
        branch.state = TRYING
        branch.heard = branch.alive = False
        branch.sent_at = now
        return Forward(branch, again)

    def _wake(self, branch: Branch[T], now: float) -> Effect[T]:
        branch.pushed = True
        if self._deadline is None or self._held < self._group:
            self._deadline, self._held = now + self._wait, self._group
        return Wake(branch)

    def _provisional(self, branch: Branch[T], response: Response) -> list[Effect[T]]:
        if self.cancelled or self.finished or branch.state is DONE:
            return []
        branch.state = RINGING
        if response.status == 100:
            return []
        branch.rang = True
        return [Relay(branch, response)]

    def _success(self, branch: Branch[T], response: Response) -> list[Effect[T]]:
        if self.finished and not 200 <= branch.status < 300:
            branch.state = DONE
            return [HangUp(branch, response)]
        first = not self.finished
        branch.state = DONE
        branch.status = response.status
        self.finished = True
        effects: list[Effect[T]] = [Relay(branch, response)]
        return effects + self._stop(branch, completed=True) if first else effects

    def _stop(self, keep: Branch[T] | None, *, completed: bool) -> list[Effect[T]]:
        effects: list[Effect[T]] = []
        self._later.clear()
        for branch in self.branches.values():
            if branch is keep or branch.state is DONE:
                continue
            effects += self._ended(branch, 487, completed=completed)
        return effects

    def _rung(self) -> list[Effect[T]]:
        """The present targets have had their time. One that sleeps may still come."""
        effects: list[Effect[T]] = []
        for branch in self.branches.values():
            if branch.group == self._group and branch.state in (TRYING, RINGING):
                effects += self._ended(branch, 408, completed=False)
        self._group += 1
        return effects

    def _ended(self, branch: Branch[T], status: int, *, completed: bool) -> list[Effect[T]]:
        """CANCEL this branch; one that has not answered anything counts as over."""
        effects: list[Effect[T]] = []
        if branch.state is not WAITING and self.invite and not branch.cancelled:
            branch.cancelled = True
            effects.append(Cancel(branch, completed))
        if branch.state is not RINGING or not self.invite:
            branch.state, branch.status = DONE, status
        return effects

    def _conclude(self, now: float) -> list[Effect[T]]:
        """Go on with the targets of the next q when those before are over; answer when nothing is left."""
        effects: list[Effect[T]] = []
        while self._later and not (self.finished or self.cancelled or self._busy()):
            self._group += 1
            turn = self._later.take()
            self._begun, self._q = now, turn[0].q
            for candidate in turn:
                effects += self._tried(candidate, now)
        if self.finished or any(branch.state is not DONE for branch in self.branches.values()):
            return effects
        self.finished = True
        if self.cancelled:
            return [*effects, Answer(487, "Request Terminated")]
        return [*effects, outcome(self.branches.values(), invite=self.invite, no_wake=self._no_wake)]

    def _busy(self) -> bool:
        """Whether somebody of those whose turn it is may still answer."""
        return any(each.group == self._group and each.state is not DONE for each in self.branches.values())
