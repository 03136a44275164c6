"""Server transactions: RFC 3261 sections 17.2.1 and 17.2.2, RFC 6026 section 8.5.

The machine is told what happened and adds effects to a list; its table of state changes is the last thing in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sbc.sip.errors import LocalError
from sbc.sip.message import Request, Response, parse
from sbc.transaction.effects import Effect, Hop, Send, Unacknowledged
from sbc.transaction.retry import Timers
from sbc.transaction.states import Event, State
from sbc.transaction.wheel import NEVER

Key = tuple[bytes | int | None, ...]


class ServerTransaction:
    """One request of somebody else until it is answered and done with. `user` is the transaction user's own."""

    __slots__ = (
        "_interval",
        "_last",
        "_moves",
        "_request",
        "_timers",
        "armed",
        "ends_at",
        "hop",
        "invite",
        "key",
        "method",
        "resend_at",
        "state",
        "user",
    )

    def __init__(self, request: Request, hop: Hop, key: Key, *, timers: Timers, now: float) -> None:
        self._request: Request | None = request
        self.hop = hop
        self.key = key
        self.method = request.method
        self.user: Any = None
        self.invite = request.method == b"INVITE"
        self.state = State.PROCEEDING if self.invite else State.TRYING
        self.armed = 0
        self.ends_at = now + timers.silence
        self._timers = timers
        self._moves: Mapping[tuple[State, Event], _Move] = _INVITE if self.invite else _OTHER
        self._last = b""  # the latest answer, for retransmissions
        self._interval = 0.0
        self.resend_at = NEVER

    @property
    def request(self) -> Request:
        """The request as it came. It is let go T1 after the final answer (`let_go`); LocalError from then on."""
        if self._request is None:
            raise LocalError("the request of an answered transaction is gone")
        return self._request

    @property
    def final(self) -> bool:
        """True once a final answer has been sent."""
        return self.state > State.PROCEEDING

    @property
    def to_tag(self) -> bytes | None:
        """The To tag of the latest answer, as long as that may be repeated; the answer to a CANCEL carries the same
        (RFC 3261 section 9.2)."""
        return parse(self._last).to_tag if self._last else None

    def happened(self, event: Event, response: Response | None, now: float, out: list[Effect]) -> bool:
        """Apply one event; `response` goes with the three that are answers of ours. False when it means nothing now."""
        move = self._moves.get((self.state, event))
        if move is None:
            return False
        self.state, action = move
        action(self, response, now, out)
        if self.state is State.TERMINATED:
            self._last = b""
            self.resend_at = self.ends_at = NEVER
        return True

    def fire(self, now: float, out: list[Effect]) -> None:
        """Apply the timers that are due."""
        if self.ends_at <= now:
            self.happened(Event.TIMEOUT, None, now, out)
        elif self.resend_at <= now:
            self.happened(Event.RESEND, None, now, out)

    def let_go(self) -> None:
        """Free the request, and the user of all but an INVITE that was accepted: nobody needs them any more."""
        self._request = None
        if self.state is not State.ACCEPTED:
            self.user = None

    # Actions of the table

    def _send(self, response: Response | None, out: list[Effect]) -> bytes:
        assert response is not None
        data = response.render()
        out.append(Send(self.hop, data))
        return data

    def _progress(self, response: Response | None, now: float, out: list[Effect]) -> None:
        self._last = self._send(response, out)
        self.ends_at = now + self._timers.silence

    def _accept(self, response: Response | None, now: float, out: list[Effect]) -> None:
        """First 2xx: repeating it is the user's business, timer L keeps the INVITE's repetitions away."""
        self._send(response, out)
        self._last = b""
        self.ends_at = now + self._timers.timeout

    def _send_2xx(self, response: Response | None, _: float, out: list[Effect]) -> None:
        self._send(response, out)

    def _refuse(self, response: Response | None, now: float, out: list[Effect]) -> None:
        """Timers G and H."""
        self._last = self._send(response, out)
        if not self.hop.reliable:
            self._interval = self._timers.t1
            self.resend_at = now + self._interval
        self.ends_at = now + self._timers.timeout

    def _again(self, _: Response | None, now: float, out: list[Effect]) -> None:
        out.append(Send(self.hop, self._last))
        self._interval = min(self._interval * 2, self._timers.t2)
        self.resend_at = max(self.resend_at + self._interval, now)

    def _confirm(self, _: Response | None, now: float, __: list[Effect]) -> None:
        """ACK for a refusal: timer I absorbs more of them."""
        self._last = b""
        self.resend_at = NEVER
        if self.hop.reliable:
            self.state = State.TERMINATED
        else:
            self.ends_at = now + self._timers.t4

    def _answer(self, response: Response | None, now: float, out: list[Effect]) -> None:
        """Final answer to anything but INVITE: timer J."""
        self._last = self._send(response, out)
        if self.hop.reliable:
            self.state = State.TERMINATED
        else:
            self.ends_at = now + self._timers.timeout

    def _resend(self, _: Response | None, __: float, out: list[Effect]) -> None:
        if self._last:
            out.append(Send(self.hop, self._last))

    def _unacknowledged(self, _: Response | None, __: float, out: list[Effect]) -> None:
        out.append(Unacknowledged(self))

    def _drop(self, _: Response | None, __: float, ___: list[Effect]) -> None:
        """Nothing to do but end."""


_Action = Callable[[ServerTransaction, Response | None, float, list[Effect]], None]
_Move = tuple[State, _Action]

_T = ServerTransaction
_S = State
_E = Event

#: INVITE: (state, event) -> (next state, action). An action may still end the transaction (timer of zero seconds).
#: An ACK in ACCEPTED is not here: it belongs to the user (RFC 6026 section 7.1).
_INVITE: Final[Mapping[tuple[State, Event], _Move]] = {
    (_S.PROCEEDING, _E.REQUEST): (_S.PROCEEDING, _T._resend),
    (_S.PROCEEDING, _E.PROVISIONAL): (_S.PROCEEDING, _T._progress),
    (_S.PROCEEDING, _E.SUCCESS): (_S.ACCEPTED, _T._accept),
    (_S.PROCEEDING, _E.FAILURE): (_S.COMPLETED, _T._refuse),
    (_S.PROCEEDING, _E.TIMEOUT): (_S.TERMINATED, _T._drop),
    (_S.ACCEPTED, _E.SUCCESS): (_S.ACCEPTED, _T._send_2xx),
    (_S.ACCEPTED, _E.TIMEOUT): (_S.TERMINATED, _T._drop),
    (_S.COMPLETED, _E.REQUEST): (_S.COMPLETED, _T._resend),
    (_S.COMPLETED, _E.RESEND): (_S.COMPLETED, _T._again),
    (_S.COMPLETED, _E.ACK): (_S.CONFIRMED, _T._confirm),
    (_S.COMPLETED, _E.TIMEOUT): (_S.TERMINATED, _T._unacknowledged),
    (_S.CONFIRMED, _E.ACK): (_S.CONFIRMED, _T._drop),
    (_S.CONFIRMED, _E.TIMEOUT): (_S.TERMINATED, _T._drop),
}

#: All other methods.
_OTHER: Final[Mapping[tuple[State, Event], _Move]] = {
    (_S.TRYING, _E.PROVISIONAL): (_S.PROCEEDING, _T._progress),
    (_S.TRYING, _E.SUCCESS): (_S.COMPLETED, _T._answer),
    (_S.TRYING, _E.FAILURE): (_S.COMPLETED, _T._answer),
    (_S.TRYING, _E.TIMEOUT): (_S.TERMINATED, _T._drop),
    (_S.PROCEEDING, _E.REQUEST): (_S.PROCEEDING, _T._resend),
    (_S.PROCEEDING, _E.PROVISIONAL): (_S.PROCEEDING, _T._progress),
    (_S.PROCEEDING, _E.SUCCESS): (_S.COMPLETED, _T._answer),
    (_S.PROCEEDING, _E.FAILURE): (_S.COMPLETED, _T._answer),
    (_S.PROCEEDING, _E.TIMEOUT): (_S.TERMINATED, _T._drop),
    (_S.COMPLETED, _E.REQUEST): (_S.COMPLETED, _T._resend),
    (_S.COMPLETED, _E.TIMEOUT): (_S.TERMINATED, _T._drop),
}
