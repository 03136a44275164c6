"""The upper server's answer to a REGISTER as its phone sees it: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sbc.push.indication import promises_push
from sbc.sip.message import Request, Response

HIDDEN = (b"route", b"record-route", b"service-route", b"path", b"contact", b"expires")
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
    response: Response, request: Request, contact: bytes | None, caps: Sequence[bytes], *, chained: bool
) -> Response:
    """A 2xx: `contact` is the phone's own with its seconds, `caps` our promises as Feature-Caps values.

    What the upper server says of push is about its own clients; only where a proxy before us asked for it (`chained`)
    it passes.
    """
    back = _homeward(response, request, _HIDE)
    if contact is not None:
        back.add(b"contact", contact)
    if not chained and back.has(b"feature-caps"):
        back.replace(b"feature-caps", [value for value in back.each(b"feature-caps") if not promises_push(value)])
    for value in caps:
        back.add(b"feature-caps", value)
    if contact is not None and keeps_flow(request) and b"outbound" not in back.each(b"require"):
        back.add(b"require", b"outbound")
    return back


def keeps_flow(request: Request) -> bool:
    """Whether requests for this phone go over the flow of its REGISTER because it asked for that (RFC 5626 §6).

    Not where a proxy stands between: the flow from there to the phone is not ours.
    """
    if len(request.vias) > 1 or b"outbound" not in (each.strip().lower() for each in request.each(b"supported")):
        return False
    return any(b"reg-id" in each.params and b"+sip.instance" in each.params for each in request.contacts)


def gruus(response: Response, contact: bytes) -> dict[bytes, bytes | None]:
    """The GRUUs (RFC 5627) that the upper server gave to this Contact URI of ours."""
    user = contact.partition(b":")[2].partition(b"@")[0]
    for shown in response.contacts:
        if shown.uri.user == user:
            return {name: shown.params[name] for name in (b"pub-gruu", b"temp-gruu") if name in shown.params}
    return {}


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
