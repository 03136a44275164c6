"""One request inside a dialog on its way to the other side."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from twisted.python.failure import Failure

from sbc.observe import kinds
from sbc.proxy.dialog import REFRESHING, Inside, next_hop
from sbc.proxy.hiding import homeward, outward
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

    __slots__ = ("_answered", "_sent", "calls", "flow", "inside", "request", "txn")

    def __init__(self, calls: Calls, txn: ServerTransaction, request: Request, flow: Flow, inside: Inside) -> None:
        self.calls = calls
        self.txn = txn
        self.request = request
        self.flow = flow
        self.inside = inside
        self._sent: ClientTransaction | None = None
        self._answered: Response | None = None

    def begin(self) -> None:
        """Send it on."""
        if self.request.method == b"INVITE":
            self.calls.driver.respond(self.txn, respond(self.request, 100))
        on_flow(self.calls.reach(self.inside.receiver), self._describe, partial(self._refused, 503))

    def cancelled(self, now: float) -> None:
        """The sender gave up on its re-INVITE."""
        sent = self._sent
        if sent is None:
            self._answer(respond(self.request, 487))
        else:
            self.calls.driver.cancel(sent)

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        if response.status == 100:
            return
        if self._answered is not None:
            self.calls.driver.respond(self.txn, self._answered)
            return
        inside = self.inside
        leg = inside.dialog.leg
        if response.status < 300 and self.request.method in REFRESHING and response.has(b"contact"):
            inside.receiver.target = response.contacts[0].uri.render()
        if response.status >= 300 and self.request.method in (b"INVITE", b"UPDATE"):
            leg.offer = ""
        if response.body and response.status < 300:
            side: Literal["a", "b"] = "b" if inside.from_a else "a"
            body = self.calls.described(leg, side, response, flow_of(txn), self.flow, final=response.status >= 200)
            when_there(body, partial(self._back, response), partial(self._unfit, response))
        else:
            self._back(response, response.body)

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        self._refused(408, "no answer")

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        self._refused(503, reason)

    def _describe(self, flow: Flow) -> None:
        if not self.request.body:
            self._send(flow, b"")
            return
        inside = self.inside
        side: Literal["a", "b"] = "a" if inside.from_a else "b"
        body = self.calls.described(inside.dialog.leg, side, self.request, self.flow, flow, final=True)
        when_there(body, partial(self._send, flow), self._no_media)

    def _send(self, flow: Flow, body: bytes) -> None:
        out = passed_on(self.calls, self.request, self.inside, flow, body)
        self._sent = self.calls.driver.send(out, flow, self)

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
            self.calls.timed(self.inside.dialog, self.request, response)
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
        hops=(70 if hops is None else hops) - 1,
    )
    if body is not request.body:
        out.body = body
    return out
