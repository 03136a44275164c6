"""The branches of a fork, and the words between it and its driver: candidates in, effects out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sbc.proxy.codes import LOCAL, rank
from sbc.sip.message import Response

T = TypeVar("T")

WAITING, TRYING, RINGING, DONE = "waiting", "trying", "ringing", "done"


DOUBT = 2.0
"""Seconds of silence after which a device that looked awake is tried on another flow of its own, or pushed: it may just
have fallen asleep."""


class Branch(Generic[T]):
    """One target of the request. `key` names the device or server, `target` is what the caller of `Fork` knows of it.

    `ways` are other flows to the same device, best first; `reserve` servers that may take its place. `behind`: a proxy
    stands between, whose 100 says nothing of the device. `group`: with which group of targets it is tried. `leg`, `txn`
    and `sent` are the caller's: what it sent, and by what.
    """

    __slots__ = (
        "alive",
        "behind",
        "cancelled",
        "group",
        "heard",
        "key",
        "leg",
        "pushable",
        "pushed",
        "rang",
        "reserve",
        "response",
        "sent",
        "sent_at",
        "state",
        "status",
        "target",
        "txn",
        "ways",
    )

    def __init__(self, key: str, target: T, pushable: bool, group: int = 0) -> None:
        self.key = key
        self.target = target
        self.pushable = pushable
        self.group = group
        self.behind = False
        self.ways: list[T] = []
        self.reserve: list[Candidate[T]] = []
        self.state = WAITING
        self.pushed = False
        self.heard = False  # anything at all came back
        self.alive = False  # something came back from the device itself
        self.rang = False  # a provisional response other than 100 came back
        self.cancelled = False
        self.sent_at: float | None = None
        self.status = 0
        self.response: Response | None = None
        self.leg: Any = None
        self.txn: Any = None
        self.sent: Any = None

    def doubted_at(self) -> float | None:
        """Until when the silence of a device that looked awake is believed; None: nothing would follow."""
        rouses = (self.ways and not self.heard) or (self.pushable and not self.pushed)
        trying = self.state in (TRYING, RINGING) and not self.alive and not self.cancelled
        return self.sent_at + DOUBT if trying and rouses and self.sent_at is not None else None


@dataclass(slots=True, frozen=True)
class Candidate(Generic[T]):
    """A target as first known: `awake` means that its flow is believed to be alive.

    Targets of the highest `q` are tried first, those of equal `q` side by side. `ways`, `reserve`, `behind`: see
    `Branch`.
    """

    key: str
    target: T
    awake: bool
    pushable: bool
    push_anyway: bool = False
    q: float = 1.0
    ways: tuple[T, ...] = ()
    reserve: tuple[Candidate[T], ...] = ()
    behind: bool = False


@dataclass(slots=True, frozen=True)
class Forward(Generic[T]):
    """Send the request to this branch's target now. `again`: under the Via branch that it had, if it was sent, for
    nothing came back before its flow broke; else under a new one."""

    branch: Branch[T]
    again: bool = False


@dataclass(slots=True, frozen=True)
class Move(Generic[T]):
    """The branch's request, unanswered, goes on to the branch's new target under the same Via branch."""

    branch: Branch[T]


@dataclass(slots=True, frozen=True)
class Abandon(Generic[T]):
    """This branch's request is sent no more: it is kept for the device instead. What comes on it late is still told."""

    branch: Branch[T]


@dataclass(slots=True, frozen=True)
class Renew(Generic[T]):
    """The branch's device has come back another way than the one that the request took: CANCEL that one, and send the
    request anew to the branch's new target. Nothing that still comes back of the old one counts."""

    branch: Branch[T]


@dataclass(slots=True, frozen=True)
class Wake(Generic[T]):
    """Send a push to this branch's device."""

    branch: Branch[T]


@dataclass(slots=True, frozen=True)
class Relay(Generic[T]):
    """Pass this response of this branch on to the sender of the request."""

    branch: Branch[T]
    response: Response


@dataclass(slots=True, frozen=True)
class Answer:
    """Answer the request ourselves."""

    status: int
    reason: str


@dataclass(slots=True, frozen=True)
class Desist:
    """Nobody answered a request that is no INVITE: neither do we, for a 408 would come too late (RFC 4320 §4)."""


@dataclass(slots=True, frozen=True)
class Cancel(Generic[T]):
    """CANCEL this branch, at once or as soon as it has been heard of (RFC 3261 §9.1); nothing is sent again meanwhile.

    `completed`: another device answered (RFC 3326: cause 200).
    """

    branch: Branch[T]
    completed: bool


@dataclass(slots=True, frozen=True)
class HangUp(Generic[T]):
    """This branch answered 2xx after the request was answered otherwise: acknowledge and end its dialog."""

    branch: Branch[T]
    response: Response


@dataclass(slots=True, frozen=True)
class Failover(Generic[T]):
    """This branch's server is given up for `reason`; the next one follows. `silent`: its time to say something is over,
    which nobody but the fork knows."""

    branch: Branch[T]
    reason: str
    silent: bool


Effect = (
    Abandon[T]
    | Failover[T]
    | Forward[T]
    | Move[T]
    | Renew[T]
    | Wake[T]
    | Relay[T]
    | Answer
    | Desist
    | Cancel[T]
    | HangUp[T]
)


def best(branches: Iterable[Branch[T]]) -> Branch[T] | None:
    """The branch that is over whose outcome counts most (RFC 3261 §16.7 step 6); None where none has one."""
    over = [branch for branch in branches if branch.state is DONE and branch.status]
    return min(over, key=lambda branch: rank(branch.status, branch.response is not None), default=None)


def outcome(branches: Iterable[Branch[T]], *, invite: bool, no_wake: int) -> Effect[T]:
    """What the sender hears when all branches are over (RFC 3261 §16.7 step 6); a branch without a response counts by
    its status. `no_wake`: the answer where there was none to count."""
    found = best(branches)
    if found is None:
        return Answer(no_wake, "Temporarily Unavailable")
    if found.status == 408 and not invite:
        return Desist()
    if found.response is not None:
        # One server's 503 says nothing of the whole service (§16.7): it goes no further.
        return Relay(found, found.response) if found.status != 503 else Answer(*LOCAL[500])
    return Answer(*LOCAL.get(found.status, (found.status, "Temporarily Unavailable")))
