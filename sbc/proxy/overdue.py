"""The answer to a re-INVITE that was under way when the node died: its transaction is gone, but the dialog has kept how
it gets back.

Without it the sender of the re-INVITE would wait for ever (it has heard 100), and its peer repeat a 2xx until it ends
the call (RFC 3261 §13.3.1.4, §14.2).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from twisted.python.failure import Failure

from sbc.observe import kinds
from sbc.proxy.describing import described
from sbc.proxy.dialog import Inside, Unfinished
from sbc.proxy.hiding import homeward
from sbc.sip.build import make_request
from sbc.sip.message import Request, Response
from sbc.soon import when_there
from sbc.transport.flow import Flow
from sbc.upper.ways import on_flow, refusal

if TYPE_CHECKING:
    from sbc.proxy.calls import Calls

OFFER = (b"Content-Type", b"application/sdp"), b"v=0\r\n"
"""What stands for the offer of the request: of that it is enough to know that there was one."""


def unfinished(calls: Calls, inside: Inside, request: Request) -> None:
    """This INVITE goes out inside its dialog: what its answer needs is written with the next commit."""
    offered = calls.media.describes(request.body, request.first(b"content-type"))
    inside.dialog.unfinished = Unfinished(
        inside.from_a, request.cseq.number, tuple(request.lines(b"via")), offered=offered
    )
    if inside.dialog.confirmed:
        calls.lasting.confirmed(inside.dialog)


def finished(calls: Calls, inside: Inside, number: int) -> None:
    """The INVITE of that number has its final response."""
    asked = inside.dialog.unfinished
    if asked is not None and (asked.from_a, asked.number) == (inside.from_a, number):
        inside.dialog.unfinished = None
        calls.lasting.changed(inside.dialog)


def waited_for(inside: Inside, response: Response) -> bool:
    """Whether the sender of a re-INVITE still waits for this final response."""
    asked = inside.dialog.unfinished
    return asked is not None and (asked.from_a, asked.number) == (inside.from_a, response.cseq.number)


def bring(calls: Calls, inside: Inside, response: Response, came: Flow) -> None:
    """Pass it on to its sender, as often as it comes, without a transaction; the sender acknowledges it."""
    asked = inside.dialog.unfinished
    assert asked is not None, "waited_for"
    header, body = OFFER
    request = make_request(
        b"INVITE",
        inside.sender.contact,
        via=asked.vias[0],
        from_=inside.dialog.leg.from_ if inside.from_a else response.first(b"from") or b"",
        to=response.first(b"to") or b"",
        call_id=inside.sender.call_id,
        cseq=asked.number,
        headers=[header] if asked.offered else [],
        body=body if asked.offered else b"",
    )
    request.replace(b"via", list(asked.vias))
    lost = partial(_lost, calls, inside, response)
    on_flow(calls.ends.flow(inside.sender), partial(_describe, calls, inside, request, response, came), lost)


def _describe(calls: Calls, inside: Inside, request: Request, response: Response, came: Flow, goes: Flow) -> None:
    put = partial(_put, calls, inside, request, response, goes)
    if not response.body or response.status >= 300:
        put(response.body)
        return
    side: Literal["a", "b"] = "b" if inside.from_a else "a"
    body = described(calls.media, inside.dialog.leg, side, response, came, goes, request)

    def unfit(failure: Failure) -> None:
        _lost(calls, inside, response, f"media refused: {refusal(failure)}")

    when_there(body, put, unfit)


def _put(calls: Calls, inside: Inside, request: Request, response: Response, flow: Flow, body: bytes) -> None:
    back = homeward(response, request, contact=inside.sender.contact, rules=calls.settings().header_rules)
    if body is not response.body:
        back.body = body
    calls.terms.timed(inside.dialog, request, response)
    calls.driver.put(back.render(), flow)


def _lost(calls: Calls, inside: Inside, response: Response, reason: str) -> None:
    """It cannot be passed on; acknowledged it is all the same, so that the call lives on."""
    inside.dialog.leg.story.note(kinds.ERROR, f"an answer to a re-INVITE was not delivered: {reason}")
    if response.status < 300:
        calls.endings.acknowledge(inside, response.cseq.number)
