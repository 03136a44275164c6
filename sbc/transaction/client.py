"""Client transactions: RFC 3261 sections 17.1.1 and 17.1.2, RFC 6026 section 8.4.

The machine is told what happened and adds effects to a list; its table of state changes is the last thing in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sbc.sip.build import ack_for
from sbc.sip.errors import LocalError
from sbc.sip.message import Request, Response
from sbc.transaction.effects import Effect, Failed, Hop, Received, Send, TimedOut
from sbc.transaction.retry import Retry, Timers
from sbc.transaction.states import Event, State
from sbc.transaction.wheel import NEVER


class ClientTransaction:
    """One request of ours on its way. `user` is the transaction user's own; the rest is to be read only."""

    __slots__ = (
        "_data",
        "_interval",
        "_moves",
        "_request",
        "_retry",
        "_sends",
        "_timers",
        "armed",
        "branch",
        "cancel_request",
        "cancelling",
        "ends_at",
        "hop",
        "invite",
        "method",
        "resend_at",
        "silent",
        "state",
        "user",
    )

    def __init__(
        self, request: Request, hop: Hop, branch: bytes, *, timers: Timers, retry: Retry, user: Any = None
    ) -> None:
        self._request: Request | None = request
        self.hop = hop
        self.branch = branch
        self.method = request.method
        self.user: Any = user
        self.invite = request.method == b"INVITE"
        self.state = State.CALLING if self.invite else State.TRYING
        #: No effects for the user any more but 2xx to an INVITE, which somebody must acknowledge and end.
        self.silent = False
        #: A CANCEL is sent, or waits for the first provisional answer, without which none may be sent.
        self.cancelling = False
        self.cancel_request: Request | None = None
        self.armed = 0
        self.ends_at = NEVER
        self._timers = timers
        self._retry = retry
        self._moves: Mapping[tuple[State, Event], _Move] = _INVITE if self.invite else _OTHER
        self._data = b""
        self._interval = 0.0
        self.resend_at = NEVER
        self._sends = 0

    @property
    def request(self) -> Request:
        """The request as it was sent. It is let go T1 after the final answer (`let_go`); LocalError from then on."""
        if self._request is None:
            raise LocalError("the request of an answered transaction is gone")
        return self._request

    @property
    def provisional(self) -> bool:
        """True while a provisional answer is the latest news."""
        return self.state is State.PROCEEDING

    @property
    def answered(self) -> bool:
        """True once there is a final answer or nothing more to wait for."""
        return self.state > State.PROCEEDING

    def start(self, now: float, out: list[Effect]) -> None:
        """Send the request (timers A or E, B or F)."""
        retry, timers = self._retry, self._timers
        self._data = self.request.render()
        self._sends = 0
        self._interval = timers.t1 if retry.interval is None else retry.interval
        self.resend_at = NEVER if self.hop.reliable else now
        self.ends_at = now + (timers.timeout if retry.give_up is None else retry.give_up)
        self._send(now, out)

    def happened(self, event: Event, response: Response | None, now: float, out: list[Effect]) -> bool:
        """Apply one event; `response` goes with the three that are answers. False when it means nothing now."""
        move = self._moves.get((self.state, event))
        if move is None:
            return False
        self.state, action = move
        action(self, response, now, out)
        if self.state is State.TERMINATED:
            self._end()
        return True

    def fire(self, now: float, out: list[Effect]) -> None:
        """Apply the timers that are due."""
        if self.ends_at <= now:
            self.happened(Event.TIMEOUT, None, now, out)
        elif self.resend_at <= now:
            self.happened(Event.RESEND, None, now, out)

    def let_go(self) -> None:
        """Free the request, and the user but where it hears of more 2xx: nobody needs them any more."""
        self._request = None
        if self.state is not State.ACCEPTED:
            self.user = None

    def move_to(self, hop: Hop, now: float, out: list[Effect]) -> None:
        """Continue on another hop if nothing has been heard on this one; timers start again."""
        if (self.state, Event.MOVE) in self._moves and not self.cancelling:
            self.hop = hop
            self.happened(Event.MOVE, None, now, out)

    def rest(self) -> None:
        """Nothing is sent any more."""
        if not self.answered:
            self.resend_at = NEVER

    # Actions of the table

    def _send(self, now: float, out: list[Effect]) -> None:
        out.append(Send(self.hop, self._data))
        self._sends += 1
        if self.resend_at == NEVER:
            return
        retry = self._retry
        if retry.max_sends and self._sends >= retry.max_sends:
            self.resend_at = NEVER
            return
        if self.state is State.PROCEEDING:
            self._interval = self._timers.t2
        # The wheel is late by up to one tick: count from when it should have been, unless that is long past.
        self.resend_at = max(self.resend_at + self._interval, now)
        cap = retry.cap if retry.cap is not None else NEVER if self.invite else self._timers.t2
        self._interval = min(self._interval * retry.factor, cap)

    def _again(self, _: Response | None, now: float, out: list[Effect]) -> None:
        self._send(now, out)

    def _start_again(self, _: Response | None, now: float, out: list[Effect]) -> None:
        self.start(now, out)

    def _ringing(self, response: Response | None, now: float, out: list[Effect]) -> None:
        """First provisional answer to an INVITE: nothing is repeated any more, timer C runs."""
        self.resend_at = NEVER
        if not self.silent and not self.cancelling:
            self.ends_at = now + self._timers.c
        self._pass(response, now, out)

    def _still_ringing(self, response: Response | None, now: float, out: list[Effect]) -> None:
        """RFC 3261 section 16.7 step 2: every provisional answer but 100 restarts timer C."""
        if response is not None and response.status > 100 and not self.silent and not self.cancelling:
            self.ends_at = now + self._timers.c
        self._pass(response, now, out)

    def _pass(self, response: Response | None, _: float, out: list[Effect]) -> None:
        if response is not None and not self.silent:
            out.append(Received(self, response))

    def _accepted(self, response: Response | None, now: float, out: list[Effect]) -> None:
        """First 2xx to an INVITE: timer M collects repetitions and other forks."""
        self._finish(now, self._timers.timeout)
        self._pass_2xx(response, now, out)

    def _pass_2xx(self, response: Response | None, _: float, out: list[Effect]) -> None:
        if response is not None:
            out.append(Received(self, response))

    def _refused(self, response: Response | None, now: float, out: list[Effect]) -> None:
        """First other final answer to an INVITE: acknowledge, timer D."""
        assert response is not None
        self._data = ack_for(self.request, response).render()
        ack = self._data
        self._finish(now, 0.0 if self.hop.reliable else self._timers.d)
        self._data = ack
        out.append(Send(self.hop, ack))
        self._pass(response, now, out)

    def _acknowledge(self, _: Response | None, __: float, out: list[Effect]) -> None:
        out.append(Send(self.hop, self._data))

    def _answered(self, response: Response | None, now: float, out: list[Effect]) -> None:
        """Final answer to anything else: timer K."""
        self._finish(now, 0.0 if self.hop.reliable else self._timers.t4)
        self._pass(response, now, out)

    def _finish(self, now: float, linger: float) -> None:
        self._data = b""
        self.resend_at = NEVER
        if linger:
            self.ends_at = now + linger
        else:
            self.state = State.TERMINATED

    def _end_quietly(self, _: Response | None, __: float, ___: list[Effect]) -> None:
        """Nothing to tell."""

    def _timed_out(self, _: Response | None, __: float, out: list[Effect]) -> None:
        if not self.silent:
            out.append(TimedOut(self))

    def _rang_too_long(self, response: Response | None, now: float, out: list[Effect]) -> None:
        """Timer C, or no final answer to a CANCEL. After timer C wait for what the CANCEL brings, without a word."""
        self._timed_out(response, now, out)
        if self.silent or self.cancelling:
            self.state = State.TERMINATED
        else:
            self.silent = True
            self.ends_at = now + self._timers.timeout

    def _lost(self, _: Response | None, __: float, out: list[Effect]) -> None:
        if not self.silent:
            out.append(Failed(self, "connection lost"))

    def _quiet(self, _: Response | None, now: float, __: list[Effect]) -> None:
        self.silent = True
        self._wait_for_cancel(None, now, [])

    def _wait_for_cancel(self, _: Response | None, now: float, __: list[Effect]) -> None:
        """Nothing is repeated any more; RFC 3261 section 9.1 waits 64·T1 for the end."""
        self.resend_at = NEVER
        self.ends_at = now + self._timers.timeout

    def _hush(self, _: Response | None, __: float, ___: list[Effect]) -> None:
        self.silent = True

    def _end(self) -> None:
        self._data = b""
        self.resend_at = self.ends_at = NEVER


_Action = Callable[[ClientTransaction, Response | None, float, list[Effect]], None]
_Move = tuple[State, _Action]

_T = ClientTransaction
_S = State
_E = Event

#: INVITE: (state, event) -> (next state, action). An action may still end the transaction (timer of zero seconds).
_INVITE: Final[Mapping[tuple[State, Event], _Move]] = {
    (_S.CALLING, _E.RESEND): (_S.CALLING, _T._again),
    (_S.CALLING, _E.PROVISIONAL): (_S.PROCEEDING, _T._ringing),
    (_S.CALLING, _E.SUCCESS): (_S.ACCEPTED, _T._accepted),
    (_S.CALLING, _E.FAILURE): (_S.COMPLETED, _T._refused),
    (_S.CALLING, _E.TIMEOUT): (_S.TERMINATED, _T._timed_out),
    (_S.CALLING, _E.LOST): (_S.TERMINATED, _T._lost),
    (_S.CALLING, _E.MOVE): (_S.CALLING, _T._start_again),
    (_S.CALLING, _E.CANCEL): (_S.CALLING, _T._wait_for_cancel),
    (_S.CALLING, _E.ABANDON): (_S.CALLING, _T._quiet),
    (_S.PROCEEDING, _E.PROVISIONAL): (_S.PROCEEDING, _T._still_ringing),
    (_S.PROCEEDING, _E.SUCCESS): (_S.ACCEPTED, _T._accepted),
    (_S.PROCEEDING, _E.FAILURE): (_S.COMPLETED, _T._refused),
    (_S.PROCEEDING, _E.TIMEOUT): (_S.PROCEEDING, _T._rang_too_long),
    (_S.PROCEEDING, _E.LOST): (_S.TERMINATED, _T._lost),
    (_S.PROCEEDING, _E.CANCEL): (_S.PROCEEDING, _T._wait_for_cancel),
    (_S.PROCEEDING, _E.ABANDON): (_S.PROCEEDING, _T._quiet),
    (_S.ACCEPTED, _E.SUCCESS): (_S.ACCEPTED, _T._pass_2xx),
    (_S.ACCEPTED, _E.TIMEOUT): (_S.TERMINATED, _T._end_quietly),
    (_S.COMPLETED, _E.FAILURE): (_S.COMPLETED, _T._acknowledge),
    (_S.COMPLETED, _E.TIMEOUT): (_S.TERMINATED, _T._end_quietly),
}

#: All other methods.
_OTHER: Final[Mapping[tuple[State, Event], _Move]] = {
    (_S.TRYING, _E.RESEND): (_S.TRYING, _T._again),
    (_S.TRYING, _E.PROVISIONAL): (_S.PROCEEDING, _T._pass),
    (_S.TRYING, _E.SUCCESS): (_S.COMPLETED, _T._answered),
    (_S.TRYING, _E.FAILURE): (_S.COMPLETED, _T._answered),
    (_S.TRYING, _E.TIMEOUT): (_S.TERMINATED, _T._timed_out),
    (_S.TRYING, _E.LOST): (_S.TERMINATED, _T._lost),
    (_S.TRYING, _E.MOVE): (_S.TRYING, _T._start_again),
    (_S.TRYING, _E.ABANDON): (_S.TRYING, _T._hush),
    (_S.PROCEEDING, _E.RESEND): (_S.PROCEEDING, _T._again),
    (_S.PROCEEDING, _E.PROVISIONAL): (_S.PROCEEDING, _T._pass),
    (_S.PROCEEDING, _E.SUCCESS): (_S.COMPLETED, _T._answered),
    (_S.PROCEEDING, _E.FAILURE): (_S.COMPLETED, _T._answered),
    (_S.PROCEEDING, _E.TIMEOUT): (_S.TERMINATED, _T._timed_out),
    (_S.PROCEEDING, _E.LOST): (_S.TERMINATED, _T._lost),
    (_S.PROCEEDING, _E.ABANDON): (_S.PROCEEDING, _T._hush),
    (_S.COMPLETED, _E.TIMEOUT): (_S.TERMINATED, _T._end_quietly),
}
