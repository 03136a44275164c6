"""One request inside a dialog on its way to the other side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from twisted.python.failure import Failure

from sbc.observe import kinds
from sbc.proxy.describing import described
from sbc.proxy.dialog import REFRESHING, Inside, contact_of, next_hop
from sbc.proxy.hiding import homeward, outward
from sbc.proxy.reaching import reach
from sbc.proxy.references import mapped
from sbc.proxy.sleepers import DOUBT, FRESH, Hold
from sbc.sip.build import respond
from sbc.sip.message import Request, Response
from sbc.soon import when_there
from sbc.transaction.client import ClientTransaction
from sbc.transaction.server import ServerTransaction
from sbc.transport.flow import Flow
from sbc.upper.face import via
from sbc.upper.ways import flow_of, on_flow, refusal

if TYPE_CHECKING:
    from sbc.proxy.calls import Calls


class Passing:
    """A request inside a dialog: the client of its transaction toward the receiver."""

    __slots__ = ("_answered", "_doubt", "_hold", "_over", "_sent", "calls", "flow", "inside", "request", "txn")

    def __init__(self, calls: Calls, txn: ServerTransaction, request: Request, flow: Flow, inside: Inside) -> None:
        self.calls = calls
        self.txn = txn
        self.request = request
        self.flow = flow
        self.inside = inside
        self._sent: ClientTransaction | None = None
        self._answered: Response | None = None
        self._over = False
        """Cancelled before it was sent."""
        self._hold: Hold | None = None
        self._doubt: Any = None

    def begin(self) -> None:
        """Send it on, or hold it for a phone whose flow is gone."""
        if self.request.method == b"INVITE":
            self.calls.driver.respond(self.txn, respond(self.request, 100))
        side = self.inside.receiver
        if side.device and (side.hop is None or not side.hop.open):
            self._rouse()
            return
        on_flow(reach(self.calls.ways, self.inside.receiver), self._describe, partial(self._refused, 503))

    def cancelled(self, now: float, reasons: Sequence[bytes] = ()) -> None:
        """The sender gave up on its re-INVITE; `reasons` are the Reason values of its CANCEL."""
        sent = self._sent
        if sent is None:
            if self._hold is not None:
                self._hold.stop()
            self._over = True
            self._answer(respond(self.request, 487))
        else:
            self.calls.driver.cancel(sent, [(b"Reason", reason) for reason in reasons])

    def woken(self, flow: Flow) -> None:
        """The receiver has registered, on this flow."""
        sent = self._sent
        if sent is None:
            self._returned(flow)
            return
        self.inside.receiver.hop = flow
        self.calls.lasting.changed(self.inside.dialog)
        sent.request.set_top(b"via", via(flow.listener, sent.branch))
        self.calls.driver.move(sent, flow)

    def given_up(self, reason: str) -> None:
        """The receiver did not wake; a proxy before it may have lost nothing but its connection to us. Its dialog lives
        on: nothing that would end it is answered (RFC 5057)."""
        side = self.inside.receiver
        if self._sent is not None:
            return
        asleep = respond(self.request, 504, reason.encode())
        if side.routes:
            on_flow(
                self.calls.edges.toward(side.routes[0], side.address), self._returned, lambda _: self._answer(asleep)
            )
        else:
            self._answer(asleep)

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        self._trust()
        if response.status == 100:
            return
        if self._answered is not None:
            self.calls.driver.respond(self.txn, self._answered)
            return
        inside = self.inside
        leg = inside.dialog.leg
        if response.status < 300 and self.request.method in REFRESHING:
            inside.receiver.target = contact_of(response) or inside.receiver.target
        if response.status >= 200:
            self.calls.terms.subscribed(leg, self.request, response)
            if self.request.method == b"INVITE" and (response.status >= 300 or not response.body):
                leg.offer = ""
        if response.body and response.status < 300:
            side: Literal["a", "b"] = "b" if inside.from_a else "a"
            body = described(self.calls.media, leg, side, response, flow_of(txn), self.flow, self.request)
            when_there(body, partial(self._back, response), partial(self._unfit, response))
        else:
            self._back(response, response.body)

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        self._trust()
        self._refused(408, "no answer")

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        self._trust()
        self._refused(503, reason)

    def _returned(self, flow: Flow) -> None:
        """The receiver is reached again, by this flow."""
        self.inside.receiver.hop = flow
        self.calls.lasting.changed(self.inside.dialog)
        self._describe(flow)

    def _rouse(self) -> None:
        settings = self.calls.settings()
        invite = self.request.method == b"INVITE"
        wait = settings.max_wait if invite else min(settings.max_wait, settings.max_wait_non_invite)
        leg = self.inside.dialog.leg
        self._hold = self.calls.sleepers.hold(self.inside.receiver, self.request, leg.story, wait, self)

    def _trust(self) -> None:
        """The receiver was heard, or cannot be: nobody needs to wake it for this request."""
        if self._doubt is not None:
            if self._doubt.active():
                self._doubt.cancel()
            self._doubt = None
        if self._hold is not None:
            self._hold.stop()

    def _describe(self, flow: Flow) -> None:
        if not self.request.body:
            self._send(flow, b"")
            return
        inside = self.inside
        side: Literal["a", "b"] = "a" if inside.from_a else "b"
        body = described(self.calls.media, inside.dialog.leg, side, self.request, self.flow, flow)
        when_there(body, partial(self._send, flow), self._no_media)

    def _send(self, flow: Flow, body: bytes) -> None:
        if self._over:
            return
        out = passed_on(self.calls, self.request, self.inside, flow, body)
        if self.inside.receiver.upper is None:
            self._put(out, flow)
        else:
            self.calls.ways.carry(out, flow, partial(self._put, out))

    def _put(self, out: Request, flow: Flow) -> None:
        if self._over:
            return
        self._sent = self.calls.driver.send(out, flow, self)
        if self.inside.receiver.device and not flow.reliable and flow.heard_at + FRESH < self.calls.driver.clock():
            self._doubt = self.calls.call_later(DOUBT, self._rouse)

    def _no_media(self, failure: Failure) -> None:
        problem = refusal(failure)
        self._refused(problem.status, str(problem))

    def _unfit(self, response: Response, failure: Failure) -> None:
        self.inside.dialog.leg.story.note(kinds.ERROR, f"media refused: {refusal(failure)}")
        self._back(response, b"")

    def _back(self, response: Response, body: bytes) -> None:
        rules = self.calls.settings().header_rules
        back = homeward(response, self.request, contact=self.inside.sender.contact, rules=rules)
        if body is not response.body:
            back.body = body
        if response.status >= 200:
            self._answered = back
            self.calls.terms.timed(self.inside.dialog, self.request, response)
            if self.request.method in REFRESHING and response.status < 300:
                self.calls.lasting.changed(self.inside.dialog)
        self._answer(back)

    def _refused(self, status: int, reason: str) -> None:
        """Nothing came back. 480 or 404 here would end the whole dialog (RFC 5057), a non-INVITE gets no 408 (4320)."""
        if self.request.method == b"INVITE" or status != 408:
            self._answer(respond(self.request, status, to_tag=None))
        else:
            self.calls.passed(self.inside, self.request, status)

    def _answer(self, response: Response) -> None:
        self.calls.driver.respond(self.txn, response)
        if response.status >= 200:
            self.calls.passed(self.inside, self.request, response.status)


def passed_on(calls: Calls, request: Request, inside: Inside, flow: Flow, body: bytes) -> Request:
    """A request inside a dialog as its receiver sees it."""
    uri, routes, _ = next_hop(inside.receiver)
    hops = request.max_forwards
    out = outward(
        request,
        uri=uri,
        via=via(flow.listener, calls.identifiers.branch()),
        routes=routes,
        contact=inside.receiver.contact,
        call_id=inside.receiver.call_id,
        rules=calls.settings().header_rules,
        references=mapped(request, calls.dialogs, inside.sender, inside.receiver, calls.mask()),
        hops=(70 if hops is None else hops) - 1,
    )
    if body is not request.body:
        out.body = body
    return out
