"""The target set of one request and what becomes of it (RFC 3261 §16.7), grown by devices that wake: pure.

A `Fork` is told which targets there are, which of them sleep, what their pushes, registrations and responses say, and
the time; it answers with effects. It never sends the same request twice to one device: a branch is sent once, and goes
to a new flow under the same Via branch (so a phone sees a retransmission) only while nothing at all came back on it.

Devices ring side by side. Upper servers are tried one after the other: the next of the reserve when the one before
refuses in a way that speaks of the server and not of the call (`CALLS`), cannot be reached, or keeps silent.
"""

from __future__ import annotations

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
    Desist,
    Effect,
    Failover,
    Forward,
    HangUp,
    Move,
    Relay,
    T,
    Wake,
)
from sbc.proxy.codes import LOCAL, rank
from sbc.sip.message import Response
from sbc.upper.failover import CALLS

DOUBT = 2.0
"""Seconds of silence after which a device that looked awake is pushed all the same: it may just have fallen asleep."""

TAKES = 4.0
"""Seconds that a device may take to answer a request that can be kept instead: one that has just got it is not given
up, lest it gets it twice. With the longest wait this is still sooner than the 32 s after which the sender gives up."""


class Fork(Generic[T]):
    """One request's branches. `wait`: seconds that sleeping devices may take; `no_wake`: the answer if none does.

    `patience`: seconds of silence after which an INVITE goes to the next server of the reserve. Other requests wait
    for their transaction: no provisional answer is to be expected for them.
    """

    __slots__ = (
        "_deadline",
        "_no_wake",
        "_patience",
        "_reserve",
        "_serial",
        "_wait",
        "branches",
        "cancelled",
        "finished",
        "invite",
        "keeps",
    )

    def __init__(self, invite: bool, *, wait: float, no_wake: int = 480, patience: float = 4.0) -> None:
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
        self._deadline: float | None = None
        self._patience = patience
        self._reserve: list[Candidate[T]] = []
        self._serial: Branch[T] | None = None

    @property
    def waiting(self) -> bool:
        """Whether some device is still to wake."""
        return not self.finished and any(branch.state is WAITING for branch in self.branches.values())

    def deadline(self) -> float | None:
        """When `expire` has something to do."""
        if self.finished:
            return None
        times = [
            branch.sent_at + DOUBT
            for branch in self.branches.values()
            if branch.state is TRYING and branch.pushable and not branch.pushed and branch.sent_at is not None
        ]
        if self._deadline is not None:
            times.append(self._deadline)
        patient = self._patient()
        if patient is not None:
            times.append(patient)
        return min(times, default=None)

    def start(
        self, candidates: Sequence[Candidate[T]], now: float, reserve: Sequence[Candidate[T]] = ()
    ) -> list[Effect[T]]:
        """The targets known when the request arrives; `reserve`: more servers, to be tried one after the other when
        the only candidate fails."""
        effects: list[Effect[T]] = []
        for candidate in candidates:
            branch = Branch(candidate.key, candidate.target, candidate.pushable)
            self.branches[candidate.key] = branch
            if candidate.awake:
                effects.append(self._forward(branch, now))
            if candidate.pushable and (candidate.push_anyway or not candidate.awake):
                effects.append(self._wake(branch, now))
            elif not candidate.awake:
                branch.state = DONE
                branch.status = 480
        if reserve:
            self._reserve = list(reserve)
            self._serial = self.branches[candidates[0].key]
        if self.keeps and self._deadline is None:
            self._deadline = now + self._wait
        effects += self._conclude()
        return effects

    def woken(self, key: str, target: T, pushable: bool, elsewhere: bool, now: float) -> list[Effect[T]]:
        """A device of the callee registered. `elsewhere`: on another flow than its branch was sent on."""
        if self.finished or self.cancelled:
            return []
        branch = self.branches.get(key)
        if branch is None:
            if not self.invite and not self.waiting:
                return []
            branch = self.branches[key] = Branch(key, target, pushable)
            return [self._forward(branch, now)]
        if branch.state is WAITING:
            branch.target = target
            return [self._forward(branch, now)]
        if branch.state is TRYING and elsewhere and not branch.heard:
            branch.target = target
            branch.sent_at = now
            return [Move(branch)]
        return []

    def pushed(self, branch: Branch[T], accepted: bool, now: float) -> list[Effect[T]]:
        """What became of the branch's push; a refused one ends a branch that only waited for it."""
        if accepted or branch.state is not WAITING or self.finished:
            return []
        branch.state = DONE
        branch.status = self._no_wake
        return self._conclude()

    def response(self, branch: Branch[T], response: Response, now: float) -> list[Effect[T]]:
        """A response on this branch."""
        status = response.status
        branch.heard = True
        if status < 200:
            return self._provisional(branch, response)
        if status < 300 and self.invite:
            return self._success(branch, response)
        if branch.state is DONE:
            return []
        branch.state = DONE
        branch.status = status
        branch.response = response
        if status in CALLS and not (status == 408 and branch.rang) and self._has_next(branch):
            return self._next(branch, f"{status} {response.reason.decode('utf-8', 'replace')}", False, now)
        effects: list[Effect[T]] = []
        if status >= 600 or (status < 300 and not self.finished):
            effects += self._stop(branch, completed=status < 300)
        return effects + self._conclude()

    def failed(self, branch: Branch[T], status: int, now: float, *, lost: bool = False) -> list[Effect[T]]:
        """No final response will come on this branch: 408 after silence, another status for our own reasons.

        `lost`: its flow broke. A device whose flow broke before it answered anything is pushed instead, where it can
        be and is still waited for.
        """
        if branch.state is DONE:
            return []
        patient = not branch.pushed or self._deadline is not None
        if lost and patient and branch.pushable and not (branch.heard or self.cancelled or self.finished):
            branch.state = WAITING
            return [] if branch.pushed else [self._wake(branch, now)]
        effects: list[Effect[T]] = []
        if branch.heard and self.invite and not branch.cancelled:
            branch.cancelled = True
            effects.append(Cancel(branch, False))
        branch.state = DONE
        branch.status = 500 if lost else status
        if not (status == 408 and branch.rang) and self._has_next(branch):
            reason = "no answer" if status == 408 else "cannot be reached"
            return effects + self._next(branch, reason, False, now)
        return effects + self._conclude()

    def cancel(self, now: float) -> list[Effect[T]]:
        """The sender gave up. Nobody rings afterwards."""
        if self.finished or self.cancelled:
            return []
        self.cancelled = True
        return self._stop(None, completed=False) + self._conclude()

    def expire(self, now: float) -> list[Effect[T]]:
        """Time has passed: devices in doubt are pushed, those that did not wake in time are given up."""
        effects: list[Effect[T]] = []
        if self.finished:
            return effects
        for branch in self.branches.values():
            in_doubt = branch.state is TRYING and branch.pushable and not branch.pushed and not branch.heard
            if in_doubt and branch.sent_at is not None and branch.sent_at + DOUBT <= now:
                effects.append(self._wake(branch, now))
        patient, serial = self._patient(), self._serial
        if patient is not None and patient <= now and serial is not None:
            serial.state = DONE
            serial.status = 408
            serial.cancelled = True
            effects.append(Cancel(serial, False))
            effects += self._next(serial, f"silent for {self._patience:g} s", True, now)
        if self._deadline is not None and self._deadline <= now:
            self._deadline = None
            for branch in self.branches.values():
                if branch.state is WAITING:
                    branch.state = DONE
                    branch.status = self._no_wake
            if self.keeps:
                effects += self._give_up_silent(now)
            effects += self._conclude()
        return effects

    def _give_up_silent(self, now: float) -> list[Effect[T]]:
        """The devices that got the request and say nothing, but for those that have just got it."""
        effects: list[Effect[T]] = []
        for branch in self.branches.values():
            if branch.state is DONE:
                continue
            patient = (branch.sent_at or 0.0) + TAKES
            if patient > now:
                self._deadline = max(self._deadline or 0.0, patient)
                continue
            branch.state = DONE
            branch.status = self._no_wake
            effects.append(Abandon(branch))
        return effects

    def _patient(self) -> float | None:
        """Until when the server that is being tried may keep silent."""
        serial = self._serial
        if serial is None or not self._reserve or not self.invite or self.cancelled:
            return None
        if serial.state is not TRYING or serial.heard or serial.sent_at is None:
            return None
        return serial.sent_at + self._patience

    def _has_next(self, branch: Branch[T]) -> bool:
        return branch is self._serial and bool(self._reserve) and not self.cancelled and not self.finished

    def _next(self, branch: Branch[T], reason: str, silent: bool, now: float) -> list[Effect[T]]:
        """Go on with the next server of the reserve."""
        candidate = self._reserve.pop(0)
        self._serial = self.branches[candidate.key] = Branch(candidate.key, candidate.target, False)
        return [Failover(branch, reason, silent), self._forward(self._serial, now)]

    def _forward(self, branch: Branch[T], now: float) -> Effect[T]:
        branch.state = TRYING
        branch.sent_at = now
        return Forward(branch)

    def _wake(self, branch: Branch[T], now: float) -> Effect[T]:
        branch.pushed = True
        if self._deadline is None:
            self._deadline = now + self._wait
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
        self._reserve.clear()
        for branch in self.branches.values():
            if branch is keep or branch.state is DONE:
                continue
            if branch.state is not WAITING and self.invite and not branch.cancelled:
                branch.cancelled = True
                effects.append(Cancel(branch, completed))
            if branch.state is not RINGING or not self.invite:
                branch.state = DONE
                branch.status = 487
        return effects

    def _conclude(self) -> list[Effect[T]]:
        if self.finished or any(branch.state is not DONE for branch in self.branches.values()):
            return []
        self.finished = True
        if self.cancelled:
            return [Answer(487, "Request Terminated")]
        return [self._best()]

    def _best(self) -> Effect[T]:
        """RFC 3261 §16.7 step 6; a branch without a response counts by its status."""
        done = list(self.branches.values())
        if not done:
            return Answer(self._no_wake, "Temporarily Unavailable")
        best = min(done, key=lambda branch: rank(branch.status, branch.response is not None))
        if best.status == 408 and not self.invite:
            return Desist()
        if best.response is not None:
            # One server's 503 says nothing of the whole service (§16.7): it goes no further.
            return Relay(best, best.response) if best.status != 503 else Answer(*LOCAL[500])
        return Answer(*LOCAL.get(best.status, (best.status, "Temporarily Unavailable")))
