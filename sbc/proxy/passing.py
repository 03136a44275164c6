"""One request inside a dialog on its way to the other side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from twisted.python.failure import Failure

from sbc.observe import kinds
from sbc.proxy import overdue
from sbc.proxy.codes import FLOW_FAILED
from sbc.proxy.describing import described
from sbc.proxy.dialog import REFRESHING, Inside, Leg, contact_of, next_hop
from sbc.proxy.dialog_info import as_known
from sbc.proxy.ends import moved
from sbc.proxy.hiding import homeward, outward
from sbc.proxy.identities import identified, name_of
from sbc.proxy.references import mapped
from sbc.proxy.sleepers import DOUBT, FRESH, Hold
from sbc.registrar.flows import Awake
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

    __slots__ = (
        *("_answered", "_doubt", "_hold", "_left", "_looked_at", "_over", "_refusal", "_sent", "_tried", "_woke"),
        *("calls", "flow", "inside", "request", "txn"),
    )

    def __init__(self, calls: Calls, txn: ServerTransaction, request: Request, flow: Flow, inside: Inside) -> None:
        self.calls = calls
        self.txn = txn
        self.request = request
        self.flow = flow
        self.inside = inside
        self._sent: ClientTransaction | None = None
        self._answered: Response | None = None
        self._over = False
        """Cancelled: it is not sent any more."""
        self._hold: Hold | None = None
        self._doubt: Any = None
        self._tried: set[str] = set()
        """The ways by which it did not get to its receiver."""
        self._left: ClientTransaction | None = None
        """The transaction on the way that the receiver has left."""
        self._refusal: Response | None = None
        """The response of a proxy that could not deliver it."""
        self._looked_at = calls.driver.clock()
        """When its receiver was last looked for: a registration from then on is news."""
        self._woke = False
        """Its receiver has come for it: nobody waits for it a second time."""

    def begin(self) -> None:
        """Send it on, or hold it for a phone whose flow is gone."""
        if self.request.method == b"INVITE":
            self.calls.driver.respond(self.txn, respond(self.request, 100))
        on_flow(self.calls.ends.flow(self.inside.receiver), self._describe, self._unreached)

    def cancelled(self, now: float, reasons: Sequence[bytes] = ()) -> None:
        """The sender gave up on its re-INVITE; `reasons` are the Reason values of its CANCEL."""
        self._trust()
        self._over = True
        if self._sent is None:
            self._answer(respond(self.request, 487))
        else:
            self.calls.driver.cancel(self._sent, [(b"Reason", reason) for reason in reasons])

    def woken(self, news: Awake) -> None:
        """The receiver has registered."""
        sent, side, flow = self._sent, self.inside.receiver, news.flow
        self._woke = True
        behind = bool(side.routes or news.path)
        moved(side, flow, news.path, news.contact)
        if sent is None:
            self._returned(flow)
        elif behind:  # a proxy would absorb what comes again under the same Via branch
            self._leave(sent)
            self._returned(flow)
        else:
            self.calls.lasting.changed(self.inside.dialog)
            sent.request.set_top(b"via", via(flow.listener, sent.branch))
            self.calls.driver.move(sent, flow)

    def given_up(self, reason: str) -> None:
        """The receiver did not wake. Its dialog lives on: nothing that would end it is answered (RFC 5057)."""
        if self._sent is not None:
            return
        refusal = self._refusal
        if refusal is not None:
            self._back(refusal, refusal.body)
        else:
            self._answer(respond(self.request, 504, reason.encode()))

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        if txn is self._left and not self._there(txn, response):
            return
        lost = response.status in FLOW_FAILED and self._answered is None
        if lost and self._elsewhere(response):
            return
        if response.status > 100 or not self._behind:
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
        if txn is not self._left:
            self._trust()
            self._refused(408, "no answer")

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        if txn is not self._left and not (self._answered is None and self._elsewhere(None)):
            self._trust()
            self._refused(503, reason)

    @property
    def _behind(self) -> bool:
        """Whether the receiver is a device behind a proxy, whose 100 says nothing of it."""
        return bool(self.inside.receiver.device and self.inside.receiver.routes)

    def _unreached(self, reason: str) -> None:
        if not self._elsewhere(None):
            self._refused(503, reason)

    def _elsewhere(self, refusal: Response | None) -> bool:
        """The request did not get to the device that it is for: another of its flows is tried, else it is woken.

        `refusal`: what a proxy before it said. False: there is nothing that could be tried.
        """
        if self._over or self._woke or not self.inside.receiver.device:
            return False
        if self._doubt is not None and self._doubt.active():
            self._doubt.cancel()
        self._sent, self._refusal = None, refusal
        self._looked_at = self.calls.driver.clock()
        found = self.calls.ends.anew(self.inside.receiver, self._tried)
        on_flow(found, self._returned, lambda _: self._rouse())
        return True

    def _returned(self, flow: Flow) -> None:
        """The receiver is reached again, by this flow."""
        self.calls.lasting.changed(self.inside.dialog)
        self._describe(flow)

    def _leave(self, sent: ClientTransaction) -> None:
        """The receiver is not where this went."""
        self._left, self._sent = sent, None
        if self.request.method == b"INVITE":
            self.calls.driver.cancel(sent)
        else:
            self.calls.driver.rest(sent)

    def _there(self, txn: ClientTransaction, response: Response) -> bool:
        """Whether the request has got by its first way to where its receiver was not any more: a 2xx that nobody
        acknowledges would end the call. What went the other way is left then."""
        if not 200 <= response.status < 300:
            return False
        if self._sent is not None:
            self._leave(self._sent)
        self._sent, self._over = txn, True
        return True

    def _rouse(self) -> None:
        if self._over or (self._hold is not None and not self._hold.over):
            return
        settings = self.calls.settings()
        invite = self.request.method == b"INVITE"
        wait = settings.max_wait if invite else min(settings.max_wait, settings.max_wait_non_invite)
        leg = self.inside.dialog.leg
        side, since = self.inside.receiver, self._looked_at
        self._hold = self.calls.sleepers.hold(side, self.request, leg.story, wait, self, since)

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
        if out.method == b"INVITE":
            overdue.unfinished(self.calls, self.inside, self.request)
        self._sent = self.calls.driver.send(out, flow, self)
        stale = not flow.reliable and flow.heard_at + FRESH < self.calls.driver.clock()
        if self.inside.receiver.device and (stale or self._behind) and not self._woke:
            self._looked_at = self.calls.driver.clock()
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
            overdue.finished(self.calls, self.inside, self.request.cseq.number)
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
    leg = inside.dialog.leg
    if leg.shown_from:
        _show_caller(out, leg, inside)
    if body is request.body:
        body = as_known(request, body, calls.dialogs, inside.receiver)
    if body is not request.body:
        out.body = body
    return out


def _show_caller(out: Request, leg: Leg, inside: Inside) -> None:
    """The caller has the name that this side knows it by, as in the request that began the dialog."""
    if not inside.from_a:
        out.set(b"to", leg.from_)
        return
    out.set(b"from", leg.shown_from)
    before, shown = name_of(leg.from_), name_of(leg.shown_from)
    if before != shown:
        identified(out, before, shown)
