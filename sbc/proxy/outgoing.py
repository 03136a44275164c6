"""What an attempt sends: the leg and the request of a branch, and the same request for another flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbc.proxy.branch import Branch
from sbc.proxy.dialog import OPENING, Leg, Side
from sbc.proxy.dialog_info import as_known
from sbc.proxy.hiding import outward, renamed, show_contact
from sbc.proxy.identities import called_by, identified
from sbc.proxy.loops import mark
from sbc.proxy.references import mapped
from sbc.proxy.target import Target, through
from sbc.registrar.flows import Resident
from sbc.sip.message import Request
from sbc.transport.flow import Flow
from sbc.upper.face import contact, via
from sbc.upper.servers import UpperServer

if TYPE_CHECKING:
    from sbc.proxy.attempt import Attempt


def caller(request: Request, flow: Flow, origin: UpperServer | None, lodger: Resident | None) -> Side:
    """The side that a request outside of dialogs comes from."""
    contacts = request.contacts if request.method in OPENING else []
    return Side(
        b"",
        flow,
        contacts[0].uri.render() if contacts else b"",
        tuple(route.render() for route in request.record_routes),
        origin.name if origin is not None else None,
        flow.peer[0],
        f"{lodger.username}@{lodger.domain}" if lodger is not None else "",
        lodger.device if lodger is not None else "",
        request.call_id,
    )


def leg_for(attempt: Attempt, branch: Branch[Target], flow: Flow) -> Leg:
    """A leg for this branch, with a token of its own that both sides will know."""
    calls, request = attempt.calls, attempt.request
    token = calls.identifiers.token()
    return Leg(
        token,
        request.from_tag or b"",
        attempt.caller.shown(contact(attempt.flow.listener, token, secure=request.parsed_uri.secure)),
        _receiver(attempt, branch, flow, token),
        attempt.story,
        calls.driver.clock(),
        from_=request.first(b"from") or b"",
        to=request.first(b"to") or b"",
        cseq=request.cseq.number,
    )


def request_for(attempt: Attempt, branch: Branch[Target], flow: Flow, body: bytes) -> Request:
    """The request as this branch's target sees it, with a Via branch of its own."""
    calls, target, request = attempt.calls, branch.target, attempt.request
    hops = request.max_forwards
    uri, routes = through(_preloaded(attempt, target), target.uri) if target.server is not None else target.routed()
    receiver = branch.leg.b if branch.leg is not None else _receiver(attempt, branch, flow, b"")
    out = outward(
        request,
        uri=uri,
        via=via(flow.listener, calls.identifiers.branch() + mark(request)),
        routes=routes,
        contact=branch.leg.b.contact if branch.leg is not None else None,
        hops=(70 if hops is None else hops) - 1,
        call_id=receiver.call_id,
        rules=calls.settings().header_rules,
        references=mapped(request, calls.dialogs, attempt.caller, receiver, calls.mask()),
    )
    if body is request.body:
        body = as_known(request, body, calls.dialogs, receiver)
    if body is not request.body:
        out.body = body
    if len(attempt.fork.branches) > 1 or request.has(b"max-breadth"):
        out.set(b"max-breadth", b"%d" % max(1, attempt.breadth))
    if target.server is not None:
        for name in (b"from", b"to"):
            value = request.first(name) or b""
            shown = renamed(value, calls.ours(), target.server.domain)
            if shown is not value:
                out.set(name, shown)
    if attempt.shown_caller and (target.server is not None or attempt.origin is not None):
        out.set(b"from", called_by(out.first(b"from") or b"", attempt.shown_caller))
        identified(out, request.from_.uri.username, attempt.shown_caller)
    if branch.leg is not None and out.first(b"from") != branch.leg.from_:
        branch.leg.shown_from = out.first(b"from") or b""
    return out


def onto(branch: Branch[Target]) -> Request:
    """The request already sent to this device, for its new flow: same branch, so that it is no second one to it."""
    target, leg = branch.target, branch.leg
    flow = target.flow
    request: Request = branch.sent
    request.uri, routes = target.routed()
    request.replace(b"route", list(routes))
    request.set_top(b"via", via(flow.listener, branch.txn.branch))
    if leg is not None:
        side = leg.b
        side.hop, side.address = flow, flow.peer[0]
        side.contact = contact(flow.listener, leg.token, secure=request.parsed_uri.secure)
        show_contact(request, side.contact)
    return request


def shown_call_id(attempt: Attempt) -> bytes:
    """The Call-ID for the next side: the caller's own, or one that says nothing of it."""
    mask = attempt.calls.mask()
    return attempt.request.call_id if mask is None else mask(attempt.request.call_id)


def _preloaded(attempt: Attempt, target: Target) -> tuple[bytes, ...]:
    """The Service-Route that this server gave to the sender's registration (RFC 3608 §6.1)."""
    lodger, server = attempt.lodger, target.server
    return lodger.service_route if lodger is not None and server is not None and lodger.held_by == server.name else ()


def _receiver(attempt: Attempt, branch: Branch[Target], flow: Flow, token: bytes) -> Side:
    """The side that this branch leads to."""
    target = branch.target
    user = attempt.user if target.server is None else None
    return Side(
        contact(flow.listener, token, secure=target.uri.startswith(b"sips:")),
        flow,
        b"" if target.server else target.uri,
        upper=target.server.name if target.server else None,
        address=flow.peer[0],
        user=f"{user.username}@{user.domain}" if user is not None else "",
        device=branch.key if user is not None else "",
        call_id=shown_call_id(attempt),
    )
