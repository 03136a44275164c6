"""The upper server's answer to a REGISTER as its phone sees it: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sbc.push.indication import promises_push
from sbc.registrar.outbound import Outbound, path_of, understands_path
from sbc.sip.errors import ParseError
from sbc.sip.message import Request, Response
from sbc.sip.uri import Uri
from sbc.store.records import Subscriber
from sbc.upper.given import GRUUS
from sbc.upper.servers import UpperServer

HIDDEN = (b"route", b"record-route", b"service-route", b"path", b"contact", b"expires", b"flow-timer")
"""Headers of the upper server's 2xx that name its inside, or our registration there."""


def refused(response: Response, request: Request, domain: bytes) -> Response:
    """A final answer that is none of success; it never speaks of push (RFC 8599 §5.6.1).

    A challenge tells an app that knows another domain which URI its digest is for.
    """
    back = _homeward(response, request, _REFUSE)
    if response.status in (401, 407) and request.parsed_uri.host.lower() != domain:
        back.set(b"x-sy.authuri", b"sip:" + domain)
    return back


def accepted(
    response: Response,
    request: Request,
    contact: bytes | None,
    caps: Sequence[bytes],
    *,
    chained: bool,
    outbound: Outbound = Outbound.NONE,
    timer: int = 0,
) -> Response:
    """A 2xx: `contact` is the phone's own with its seconds, `caps` our promises as Feature-Caps values.

    What the upper server says of push is about its own clients; only where a proxy before us asked for it (`chained`)
    it passes. `outbound`: whether and how the flow is kept, `timer` the seconds in which the phone must be heard.
    """
    back = _homeward(response, request, _HIDE)
    if contact is not None:
        back.add(b"contact", contact)
        if understands_path(request):
            for value in path_of(request):
                back.add(b"path", value)
    if not chained and back.has(b"feature-caps"):
        back.replace(b"feature-caps", [value for value in back.each(b"feature-caps") if not promises_push(value)])
    for value in caps:
        back.add(b"feature-caps", value)
    if contact is not None and outbound is not Outbound.NONE:
        if b"outbound" not in back.each(b"require"):
            back.add(b"require", b"outbound")
        if outbound is Outbound.DIRECT and timer:
            back.add(b"flow-timer", b"%d" % timer)
    return back


def gruus(response: Response, contact: bytes, request: Request, server: UpperServer) -> dict[bytes, bytes | None]:
    """The GRUUs (RFC 5627) that the upper server gave to this Contact URI of ours, as Contact parameters.

    They name the domain that the phone knows: where that is not the server's own name, requests for them come to us.
    """
    user = contact.partition(b":")[2].partition(b"@")[0]
    inside = (server.domain, server.uri.host.lower())
    known = request.to.uri
    found: dict[bytes, bytes | None] = {}
    for shown in response.contacts:
        if shown.uri.user != user:
            continue
        for name in GRUUS:
            try:
                gruu = Uri.parse((shown.params.get(name) or b"").strip(b'"'))
            except ParseError:
                continue
            if gruu.host.lower() in inside:
                gruu = gruu.replace(host=known.host, port=known.port)
            found[name] = b'"%s"' % gruu.render()
    return found


def bound(known: Subscriber | None, now_at: float) -> list[bytes]:
    """The Contact values that tell a user of the devices that are registered now (RFC 3261 section 10.2.3)."""
    bindings = [target.binding for target in known.targets] if known is not None else []
    left = ((each, round(each.expires_at - now_at)) for each in bindings if each.state == "live")
    return [b"<%b>;expires=%d" % (each.contact.encode(), seconds) for each, seconds in left if seconds > 0]


_HIDE: dict[bytes, Sequence[bytes]] = dict.fromkeys(HIDDEN, ())
_REFUSE: dict[bytes, Sequence[bytes]] = dict.fromkeys((b"record-route", b"contact", b"feature-caps"), ())


def _homeward(response: Response, request: Request, hidden: Mapping[bytes, Sequence[bytes]]) -> Response:
    """The response with the sender's own Vias, From, To, Call-ID and CSeq, without the headers in `hidden`."""
    to = request.first(b"to") or b""
    tag = response.to_tag
    return response.edited(
        {
            **hidden,
            b"via": request.lines(b"via"),
            b"from": (request.first(b"from") or b"",),
            b"to": (to if tag is None else to + b";tag=" + tag,),
            b"call-id": (request.call_id,),
            b"cseq": (request.first(b"cseq") or b"",),
        }
    )
