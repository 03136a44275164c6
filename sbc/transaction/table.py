"""All transactions of a node: the one entrance for messages, the one place for their timers."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from sbc.sip.build import cancel_for, respond
from sbc.sip.errors import LocalError, ParseError
from sbc.sip.message import Message, Request, Response
from sbc.transaction.client import ClientTransaction
from sbc.transaction.effects import Ack2xx, Cancelled, Effect, Hop, NewRequest, Send, StrayResponse
from sbc.transaction.retry import RFC_RETRY, RFC_TIMERS, Retry, Timers
from sbc.transaction.server import Key, ServerTransaction
from sbc.transaction.states import Event, State, event_of
from sbc.transaction.wheel import Wheel

__all__ = ["ClientTransaction", "ServerTransaction", "TransactionTable", "server_key", "stateless_tag"]

#: What branches of RFC 3261 begin with (section 8.1.1.7). With nothing behind it they name nothing.
COOKIE: Final = b"z9hG4bK"
#: Seconds after which one who was refused for lack of room may come again.
RETRY_AFTER: Final = b"5"


class TransactionTable:
    """Feed it what arrives and what is to be sent; carry out the effects it returns, in their order.

    `limit` is how many transactions may be alive before new requests are refused with 503: the bound of memory under
    a flood. Our own requests are not refused: whoever sends them has been let in.
    """

    def __init__(self, timers: Timers = RFC_TIMERS, *, limit: int) -> None:
        self._timers = timers
        self._limit = limit
        self._servers: dict[Key, ServerTransaction] = {}
        self._clients: dict[tuple[bytes, bytes], ClientTransaction] = {}
        self._by_hop: dict[Hop, dict[ClientTransaction, None]] = {}  # unanswered ones on reliable hops
        self._answered: deque[tuple[float, ClientTransaction | ServerTransaction]] = deque()  # and since when
        self._wheel: Wheel[ClientTransaction | ServerTransaction] = Wheel()
        self._ended: list[ClientTransaction | ServerTransaction] = []  # still holding their users, until the next tick

    def __len__(self) -> int:
        return len(self._servers) + len(self._clients)

    @property
    def servers(self) -> int:
        """How many server transactions there are."""
        return len(self._servers)

    @property
    def clients(self) -> int:
        """How many client transactions there are."""
        return len(self._clients)

    # Input from the wire

    def receive(self, message: Message, hop: Hop, now: float) -> list[Effect]:
        """A message that came from `hop`. ParseError when its Via or CSeq (or, without a branch of RFC 3261, From)
        cannot be read."""
        out: list[Effect] = []
        if isinstance(message, Response):
            self._response(message, hop, now, out)
            return out
        assert isinstance(message, Request)
        if message.method == b"ACK":
            txn = self._servers.get(server_key(message))
            if txn is None or not txn.happened(Event.ACK, None, now, out):
                out.append(Ack2xx(message, hop))
            else:
                self._settle_server(txn, now)
        else:
            key = server_key(message)
            txn = self._servers.get(key)
            if txn is not None:
                txn.happened(Event.REQUEST, None, now, out)
            elif len(self) >= self._limit and not self._cancels(message):
                refusal = respond(message, 503, to_tag=stateless_tag(message), headers=((b"retry-after", RETRY_AFTER),))
                out.append(Send(hop, refusal.render()))
            else:
                txn = ServerTransaction(message, hop, key, timers=self._timers, now=now)
                self._servers[key] = txn
                if message.method == b"CANCEL":
                    self._cancel(txn, message, now, out)
                else:
                    out.append(NewRequest(txn, message))
                self._settle_server(txn, now)
        return out

    def lost(self, hop: Hop, now: float) -> list[Effect]:
        """A reliable connection ended: unanswered requests that went out on it fail."""
        out: list[Effect] = []
        for txn in list(self._by_hop.get(hop, ())):
            txn.happened(Event.LOST, None, now, out)
            self._settle_client(txn, now)
        return out

    # Input from the transaction user

    def request(
        self, request: Request, hop: Hop, now: float, *, user: Any = None, retry: Retry = RFC_RETRY
    ) -> tuple[ClientTransaction, list[Effect]]:
        """Send a request. Its top Via is ours, with a branch that is unique for this method. Not for the ACK of a 2xx,
        which is no transaction: send that as it is."""
        branch = request.branch
        key = (branch, request.method)
        if key in self._clients or len(branch) <= len(COOKIE):
            raise LocalError(f"branch {branch!r} cannot name a new {request.method!r}")
        txn = ClientTransaction(request, hop, branch, timers=self._timers, retry=retry, user=user)
        self._clients[key] = txn
        out: list[Effect] = []
        txn.start(now, out)
        self._settle_client(txn, now)
        return txn, out

    def respond(self, txn: ServerTransaction, response: Response, now: float) -> list[Effect]:
        """Send an answer. After a final one others are ignored, except more 2xx to an INVITE, each of which the user
        repeats until its ACK (RFC 3261 section 13.3.1.4)."""
        out: list[Effect] = []
        if txn.happened(event_of(response.status), response, now, out):
            self._settle_server(txn, now)
            if response.status >= 200:
                self._answered.append((now + self._timers.t1, txn))
        return out

    def move(self, txn: ClientTransaction, hop: Hop, now: float) -> list[Effect]:
        """Continue an unanswered request on another hop, same branch, at once and with timers started again. The
        request is rendered again: its Via may have been changed to name the new listener. Without effect after any
        answer and after `cancel`."""
        out: list[Effect] = []
        self._forget_hop(txn)
        txn.move_to(hop, now, out)
        self._settle_client(txn, now)
        return out

    def cancel(self, txn: ClientTransaction, now: float, headers: Iterable[tuple[bytes, bytes]] = ()) -> list[Effect]:
        """Make an INVITE end: CANCEL at once after a provisional answer, else as soon as there is one (RFC 3261
        section 9.1); nothing is repeated meanwhile. `headers` (Reason, say) go with it. The final answer comes as
        Received, or TimedOut after 64·T1. The CANCEL's own answer is nobody's news."""
        out: list[Effect] = []
        if txn.cancelling or not txn.invite or not txn.happened(Event.CANCEL, None, now, out):
            return out
        txn.cancelling = True
        request = cancel_for(txn.request)
        for name, value in headers:
            request.add(name, value)
        txn.cancel_request = request
        if txn.provisional:
            self._send_cancel(txn, now, out)
        self._settle_client(txn, now)
        return out

    def rest(self, txn: ClientTransaction, now: float) -> None:
        """Repeat the request no more. An answer to what was sent is still told, or its absence at the usual time."""
        txn.rest()
        self._settle_client(txn, now)

    def abandon(self, txn: ClientTransaction, now: float) -> None:
        """The user wants to hear no more of it. Repetitions of an INVITE stop; only a late 2xx to it is still told,
        since somebody must acknowledge and end that call."""
        txn.happened(Event.ABANDON, None, now, [])
        self._settle_client(txn, now)

    # Time

    def expire(self, now: float) -> list[Effect]:
        """Carry out what is due."""
        out: list[Effect] = []
        # Not at once: effects that name them may still be carried out.
        for ended in self._ended:
            ended.user = None
        self._ended.clear()
        answered = self._answered
        while answered and answered[0][0] <= now:
            answered.popleft()[1].let_go()
        for txn in self._wheel.expire(now):
            txn.fire(now, out)
            if isinstance(txn, ServerTransaction):
                self._settle_server(txn, now)
            else:
                self._settle_client(txn, now)
        return out

    def deadline(self) -> float | None:
        """When `expire` is to be called at the latest; None when nothing waits."""
        deadline = self._wheel.deadline()
        if self._answered and (deadline is None or self._answered[0][0] < deadline):
            return self._answered[0][0]
        return deadline

    # Inside

    def _response(self, response: Response, hop: Hop, now: float, out: list[Effect]) -> None:
        txn = self._clients.get((response.branch, response.cseq.method))
        if txn is None:
            out.append(StrayResponse(response, hop))
            return
        event = event_of(response.status)
        if txn.happened(event, response, now, out):
            if txn.cancelling and txn.cancel_request is not None and txn.provisional:
                self._send_cancel(txn, now, out)
            self._settle_client(txn, now)
            if response.status >= 200:
                self._answered.append((now + self._timers.t1, txn))
        elif txn.invite and event is Event.SUCCESS:
            out.append(StrayResponse(response, hop))

    def _cancels(self, request: Request) -> bool:
        """True for the CANCEL of an INVITE we have: it makes room, and there is but one of it."""
        return request.method == b"CANCEL" and server_key(request, b"INVITE") in self._servers

    def _cancel(self, txn: ServerTransaction, request: Request, now: float, out: list[Effect]) -> None:
        """RFC 3261 section 9.2."""
        invite = self._servers.get(server_key(request, b"INVITE"))
        tag = (invite.to_tag if invite is not None else None) or stateless_tag(request)
        txn.happened(
            Event.FAILURE if invite is None else Event.SUCCESS,
            respond(request, 481 if invite is None else 200, to_tag=tag),
            now,
            out,
        )
        if invite is not None and not invite.final:
            out.append(Cancelled(invite, request))

    def _send_cancel(self, txn: ClientTransaction, now: float, out: list[Effect]) -> None:
        request = txn.cancel_request
        txn.cancel_request = None
        if request is None or (txn.branch, b"CANCEL") in self._clients:
            return
        cancel, effects = self.request(request, txn.hop, now)
        cancel.silent = True
        out += effects

    def _settle_server(self, txn: ServerTransaction, now: float) -> None:
        if txn.state is State.TERMINATED:
            self._wheel.disarm(txn)
            self._servers.pop(txn.key, None)
            self._ended.append(txn)
        else:
            ends_at, resend_at = txn.ends_at, txn.resend_at
            self._wheel.arm(txn, resend_at if resend_at < ends_at else ends_at, now)  # noqa: FURB136 (half the time)

    def _settle_client(self, txn: ClientTransaction, now: float) -> None:
        if txn.state is State.TERMINATED:
            self._wheel.disarm(txn)
            self._clients.pop((txn.branch, txn.method), None)
            self._forget_hop(txn)
            self._ended.append(txn)
            return
        ends_at, resend_at = txn.ends_at, txn.resend_at
        self._wheel.arm(txn, resend_at if resend_at < ends_at else ends_at, now)  # noqa: FURB136 (half the time)
        if txn.hop.reliable:
            if txn.answered:
                self._forget_hop(txn)
            else:
                self._by_hop.setdefault(txn.hop, {})[txn] = None

    def _forget_hop(self, txn: ClientTransaction) -> None:
        if txn.hop in self._by_hop:
            waiting = self._by_hop[txn.hop]
            waiting.pop(txn, None)
            if not waiting:
                del self._by_hop[txn.hop]


def server_key(request: Request, method: bytes | None = None) -> Key:
    """What makes requests one transaction (RFC 3261 section 17.2.3); `method` instead of the request's own.

    ParseError when what it is made of cannot be read.
    """
    if method is None:
        method = b"INVITE" if request.method == b"ACK" else request.method
    via = request.via
    branch = via.branch
    if branch.startswith(COOKIE) and len(branch) > len(COOKIE):
        return (branch, via.host.lower(), via.port, method)
    # RFC 2543. The To tag is left out, so that the ACK, which has one where its INVITE had none, finds it.
    return (via.render(), request.uri, request.call_id, request.cseq.number, request.from_tag, method)


def stateless_tag(request: Request) -> bytes:
    """A To tag for answers given without state: the same for every repetition of a request."""
    try:
        named = b"%b %b" % (request.via.branch, request.first(b"call-id") or b"")
    except ParseError:
        named = request.uri
    return b"%08x" % zlib.crc32(named)
