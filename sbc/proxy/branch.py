"""The branches of a fork, and the words between it and its driver: candidates in, effects out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from sbc.sip.message import Response

T = TypeVar("T")

WAITING, TRYING, RINGING, DONE = "waiting", "trying", "ringing", "done"


class Branch(Generic[T]):
    """One target of the request. `key` names the device, `target` is what the caller of `Fork` knows of it."""

    __slots__ = (
        "cancelled",
        "heard",
        "key",
        "pushable",
        "pushed",
        "rang",
        "response",
        "sent_at",
        "state",
        "status",
        "target",
    )

    def __init__(self, key: str, target: T, pushable: bool) -> None:
        self.key = key
        self.target = target
        self.pushable = pushable
        self.state = WAITING
        self.pushed = False
        self.heard = False  # anything at all came back
        self.rang = False  # a provisional response other than 100 came back
        self.cancelled = False
        self.sent_at: float | None = None
        self.status = 0
        self.response: Response | None = None


@dataclass(slots=True, frozen=True)
class Forward(Generic[T]):
    """Send the request to this branch's target now; a second time only after its flow broke before anything came back,
    and then under the same Via branch."""

    branch: Branch[T]


@dataclass(slots=True, frozen=True)
class Move(Generic[T]):
    """The branch's request, unanswered, goes on to the branch's new target under the same Via branch."""

    branch: Branch[T]


@dataclass(slots=True, frozen=True)
class Abandon(Generic[T]):
    """This branch's request is sent no more: it is kept for the device instead. What comes on it late is still told."""

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


Effect = Abandon[T] | Failover[T] | Forward[T] | Move[T] | Wake[T] | Relay[T] | Answer | Desist | Cancel[T] | HangUp[T]


@dataclass(slots=True, frozen=True)
class Candidate(Generic[T]):
    """A target as first known: `awake` means that its flow is believed to be alive."""

    key: str
    target: T
    awake: bool
    pushable: bool
    push_anyway: bool = False
