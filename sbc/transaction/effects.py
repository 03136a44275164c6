"""What the table tells its user, in the order in which it is to be carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sbc.transaction.retry import RFC_RETRY, RFC_TIMERS, Retry, Timers

if TYPE_CHECKING:
    from sbc.sip.message import Request, Response
    from sbc.transaction.client import ClientTransaction
    from sbc.transaction.server import ServerTransaction

__all__ = [
    "RFC_RETRY",
    "RFC_TIMERS",
    "Ack2xx",
    "Cancelled",
    "Effect",
    "Failed",
    "Hop",
    "NewRequest",
    "Received",
    "Retry",
    "Send",
    "StrayResponse",
    "TimedOut",
    "Timers",
    "Unacknowledged",
]


class Hop(Protocol):
    """Where messages go to and come from; opaque, hashable. A `reliable` one retransmits by itself."""

    @property
    def reliable(self) -> bool:
        """True for TCP, TLS, WS, WSS."""
        ...


@dataclass(slots=True)
class Send:
    """Send these bytes there, now."""

    hop: Hop
    data: bytes


@dataclass(slots=True)
class NewRequest:
    """A request nobody has seen yet, neither ACK nor CANCEL; `respond` answers it."""

    txn: ServerTransaction
    request: Request


@dataclass(slots=True)
class Cancelled:
    """The INVITE of `txn` has been cancelled (the CANCEL itself is answered); it still wants its 487."""

    txn: ServerTransaction
    request: Request


@dataclass(slots=True)
class Ack2xx:
    """An ACK that ends no transaction here: one for a 2xx, to be passed on inside its dialog, or a stray."""

    request: Request
    hop: Hop


@dataclass(slots=True)
class Received:
    """An answer to our request: every provisional one, the first final one, every 2xx to an INVITE."""

    txn: ClientTransaction
    response: Response


@dataclass(slots=True)
class StrayResponse:
    """An answer to nothing we know, or a 2xx to an INVITE that another final answer has ended."""

    response: Response
    hop: Hop


@dataclass(slots=True)
class TimedOut:
    """No (final) answer in time. After a provisional answer this is timer C: cancel it (`TransactionTable.cancel`)."""

    txn: ClientTransaction


@dataclass(slots=True)
class Failed:
    """The connection our request went out on is gone."""

    txn: ClientTransaction
    reason: str


@dataclass(slots=True)
class Unacknowledged:
    """Nobody acknowledged our final answer to an INVITE (timer H)."""

    txn: ServerTransaction


Effect = Send | NewRequest | Cancelled | Ack2xx | Received | StrayResponse | TimedOut | Failed | Unacknowledged
