"""Transactions: RFC 3261 section 17 with the corrections of RFC 6026, complete and pure.

In: parsed messages with the hop they came from, requests and answers to send, the time. Out: effects (bytes to send,
what the transaction user must know) in the order in which they are to be carried out.

Read `effects` first, then `table` (the only entrance), `client` and `server` (the machines, each with its state table
at the end of its file), `wheel` (timers, 50 ms coarse). `driver` carries the effects out. Nothing here resolves,
connects or decides about routing.
"""

from sbc.transaction.client import ClientTransaction
from sbc.transaction.effects import (
    Ack2xx,
    Cancelled,
    Effect,
    Failed,
    Hop,
    NewRequest,
    Received,
    Send,
    StrayResponse,
    TimedOut,
    Unacknowledged,
)
from sbc.transaction.retry import RFC_RETRY, RFC_TIMERS, Retry, Timers
from sbc.transaction.server import ServerTransaction
from sbc.transaction.states import State
from sbc.transaction.table import TransactionTable

__all__ = [
    "RFC_RETRY",
    "RFC_TIMERS",
    "Ack2xx",
    "Cancelled",
    "ClientTransaction",
    "Effect",
    "Failed",
    "Hop",
    "NewRequest",
    "Received",
    "Retry",
    "Send",
    "ServerTransaction",
    "State",
    "StrayResponse",
    "TimedOut",
    "Timers",
    "TransactionTable",
    "Unacknowledged",
]
