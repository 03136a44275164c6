"""The one driver of the transaction table: runs effects, tells their users.

In: whole messages with the hop they came on, requests and responses that a room wants to send, the passing of time.
Out: bytes on hops, and calls on two ports. `Server` is told of what arrives unasked; `Client`, named when a request is
sent, is told what became of that request. No Twisted here: the clock is handed in and somebody calls `tick`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from sbc.sip.build import respond
from sbc.sip.errors import RemoteError
from sbc.sip.message import Message, Request, Response
from sbc.transaction.client import ClientTransaction
from sbc.transaction.effects import (
    Ack2xx,
    Cancelled,
    Effect,
    Failed,
    NewRequest,
    Received,
    Send,
    StrayResponse,
    TimedOut,
    Unacknowledged,
)
from sbc.transaction.retry import RFC_RETRY, Retry
from sbc.transaction.server import ServerTransaction
from sbc.transaction.table import TransactionTable

TICK = 0.05
"""Seconds between two calls of `Driver.tick`: the grain of the table's timer wheel."""


class Client(Protocol):
    """Who sent a request and wants to know what became of it. `now` is monotonic seconds."""

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        """Every provisional response, the first final one, and each further 2xx of an INVITE."""

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        """Timer B, C or F fired: no final response will come (RFC 3261 §17.1)."""

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        """The hop took no more bytes: as if a 503 had come (RFC 3261 §16.9)."""


class Server(Protocol):
    """Who takes what arrives unasked."""

    def request(self, txn: ServerTransaction, request: Request, now: float) -> None:
        """A new request. It is answered through `Driver.respond`, now or later."""

    def cancelled(self, txn: ServerTransaction, cancel: Request, now: float) -> None:
        """The sender of this INVITE gave up; its CANCEL is answered already."""

    def ack(self, request: Request, hop: Any, now: float) -> None:
        """An ACK for a 2xx, which belongs to a dialog and not to a transaction."""

    def stray(self, response: Response, hop: Any, now: float) -> None:
        """A response that no transaction waits for."""

    def unacknowledged(self, txn: ServerTransaction, now: float) -> None:
        """Our final response to an INVITE was never acknowledged (timer H)."""


class Driver:
    """Carries out what the table decides.

    `clock` returns monotonic seconds. `server` must be set before the first message arrives. `sent` is told of every
    message put on a hop (bytes, hop), for counting and tracing. `bug` is told what a user raised, `theirs` what it
    found wrong in a message that needs no answer; the next effect is carried out all the same.
    """

    def __init__(
        self, table: TransactionTable, clock: Callable[[], float], sent: Callable[[bytes, Any], None] | None = None
    ) -> None:
        self.table = table
        self.clock = clock
        self.server: Server | None = None
        self.sent = sent
        self.bug: Callable[[Exception], None] = _raise
        self.theirs: Callable[[RemoteError], None] = _raise
        self._run: dict[type, Callable[[Any, float], None]] = {
            Send: self._send,
            NewRequest: self._new_request,
            Received: self._received,
            Ack2xx: self._ack,
            Cancelled: self._cancelled,
            TimedOut: self._timed_out,
            Failed: self._failed,
            StrayResponse: self._stray,
            Unacknowledged: self._unacknowledged,
        }

    def receive(self, message: Message, hop: Any) -> None:
        """A whole message arrived on `hop`."""
        now = self.clock()
        self.run(self.table.receive(message, hop, now), now)

    def send(self, request: Request, hop: Any, client: Client, retry: Retry = RFC_RETRY) -> ClientTransaction:
        """Start a client transaction. The request's top Via carries our branch already."""
        now = self.clock()
        txn, effects = self.table.request(request, hop, now, user=client, retry=retry)
        self.run(effects, now)
        return txn

    def respond(self, txn: ServerTransaction, response: Response) -> None:
        """Answer a request, provisionally or finally."""
        now = self.clock()
        self.run(self.table.respond(txn, response, now), now)

    def move(self, txn: ClientTransaction, hop: Any) -> None:
        """An unanswered request goes on over another hop under the same branch."""
        now = self.clock()
        self.run(self.table.move(txn, hop, now), now)

    def cancel(self, txn: ClientTransaction, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """End an INVITE of ours: CANCEL now, or as soon as a provisional answer allows it."""
        now = self.clock()
        self.run(self.table.cancel(txn, now, headers), now)

    def rest(self, txn: ClientTransaction) -> None:
        """A request is repeated no more; an answer to what was sent is still told."""
        self.table.rest(txn, self.clock())

    def lost(self, hop: Any) -> None:
        """A connection ended: what waits for an answer on it fails."""
        now = self.clock()
        self.run(self.table.lost(hop, now), now)

    def put(self, data: bytes, hop: Any) -> None:
        """Send bytes outside any transaction (an ACK for a 2xx, a stray response)."""
        if self.sent is not None:
            self.sent(data, hop)
        hop.send(data)

    def tick(self) -> None:
        """Run the timers that are due; call every `TICK` seconds."""
        now = self.clock()
        self.run(self.table.expire(now), now)

    def run(self, effects: list[Effect], now: float) -> None:
        """Carry out effects in order; what they cause runs before the next one."""
        table = self._run
        for effect in effects:
            try:
                table[type(effect)](effect, now)
            except RemoteError as problem:
                self.theirs(problem)
            except Exception as problem:  # noqa: BLE001 - one user's bug must cost neither the other effects nor a clock
                self.bug(problem)

    def _send(self, effect: Send, now: float) -> None:
        data, hop = effect.data, effect.hop
        if self.sent is not None:
            self.sent(data, hop)
        hop.send(data)  # type: ignore[attr-defined]

    def _new_request(self, effect: NewRequest, now: float) -> None:
        assert self.server is not None
        try:
            self.server.request(effect.txn, effect.request, now)
        except Exception:
            self.respond(effect.txn, respond(effect.request, 500, to_tag=b"bug"))
            raise

    def _received(self, effect: Received, now: float) -> None:
        effect.txn.user.received(effect.txn, effect.response, now)

    def _ack(self, effect: Ack2xx, now: float) -> None:
        assert self.server is not None
        self.server.ack(effect.request, effect.hop, now)

    def _cancelled(self, effect: Cancelled, now: float) -> None:
        assert self.server is not None
        self.server.cancelled(effect.txn, effect.request, now)

    def _timed_out(self, effect: TimedOut, now: float) -> None:
        effect.txn.user.timed_out(effect.txn, now)

    def _failed(self, effect: Failed, now: float) -> None:
        effect.txn.user.failed(effect.txn, effect.reason, now)

    def _stray(self, effect: StrayResponse, now: float) -> None:
        assert self.server is not None
        self.server.stray(effect.response, effect.hop, now)

    def _unacknowledged(self, effect: Unacknowledged, now: float) -> None:
        assert self.server is not None
        self.server.unacknowledged(effect.txn, now)


def _raise(problem: Exception) -> None:
    raise problem
