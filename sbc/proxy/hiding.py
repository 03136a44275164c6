"""What each side gets to see: requests and responses as they cross the SBC. Pure.

Call-ID, tags, CSeq, bodies and unknown headers pass. Via, Route, Record-Route and Contact of one side never reach the
other: the request leaves with our Via and our Contact alone, the response comes back with the Vias, From and To that
its sender knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sbc.proxy.header_rules import KEEP_ALL, NOTHING, HeaderRules
from sbc.sip.message import Request, Response
from sbc.sip.values import NameAddr

OURS = (
    b"x-mpush",
    b"x-piid",
    b"record-route",
    b"path",
    b"service-route",
)
"""Headers that concern one side and us alone."""

_FAMILY = b"x-sy."
"""Every header that begins so is between an app and us."""

_NONE: dict[bytes, tuple[bytes, ...]] = {}
"""What nearly every message has of them."""

_NOT_THEIRS: dict[bytes, Sequence[bytes]] = dict.fromkeys(OURS, ())

PRIVATE_PARAMS = (b"+sip.instance", b"reg-id", b"expires", b"q", b"pub-gruu", b"temp-gruu")
"""Contact header parameters that identify a device or belong to registrations (RFC 5626, 5627)."""


def outward(
    request: Request,
    *,
    uri: bytes,
    via: bytes,
    routes: Sequence[bytes],
    contact: bytes | None,
    hops: int,
    call_id: bytes | None = None,
    rules: HeaderRules = KEEP_ALL,
    references: Mapping[bytes, Sequence[bytes]] = NOTHING,
) -> Request:
    """The request as the next side sees it.

    `uri` is the new Request-URI, `via` the value of our Via, `routes` the next side's route set, `contact` our Contact
    URI for that side, `hops` the new Max-Forwards, `call_id` the Call-ID there (None: the same), `rules` say which
    other headers cross, `references` how those that name other dialogs read there.
    """
    out = request.edited(
        {
            **references,
            **rules.changes(request),
            **_NOT_THEIRS,
            **_family(request.names()),
            **({} if call_id is None else {b"call-id": (call_id,)}),
            b"via": (via,),
            b"route": routes,
            b"max-forwards": (b"%d" % hops,),
            **_shown_contact(request, contact),
        }
    )
    out.uri = uri
    return out


def _family(names: list[bytes]) -> dict[bytes, tuple[bytes, ...]]:
    if b" ".join(names).find(_FAMILY) < 0:
        return _NONE
    return {name: () for name in names if name.startswith(_FAMILY)}


def homeward(response: Response, request: Request, *, contact: bytes | None, rules: HeaderRules = KEEP_ALL) -> Response:
    """The response as the sender of `request` sees it: its own Vias, From, To and Call-ID come back as sent."""
    to = request.first(b"to") or b""
    tag = response.to_tag
    if tag is not None and request.to_tag is None:
        to += b";tag=" + tag
    return response.edited(
        {
            **rules.changes(response),
            **_NOT_THEIRS,
            **({} if response.call_id == request.call_id else {b"call-id": (request.call_id,)}),
            b"via": request.lines(b"via"),
            b"from": (request.first(b"from") or b"",),
            b"to": (to,),
            **({} if 300 <= response.status < 400 else _shown_contact(response, contact)),
        }
    )


def show_contact(message: Request | Response, contact: bytes | None) -> None:
    """Put our URI in the place of the peer's in every Contact; its feature parameters stay."""
    for name, values in _shown_contact(message, contact).items():
        message.replace(name, values)


def _shown_contact(message: Request | Response, contact: bytes | None) -> dict[bytes, tuple[bytes, ...]]:
    """What becomes of the Contact lines: as `Message.edited` takes it; empty where there are none."""
    if not message.has(b"contact"):
        return {}
    if contact is None or not message.contacts:
        return {b"contact": ()}
    params = message.contacts[0].params
    kept = b"".join(_param(name, value) for name, value in params.items() if not _private(name)) if params else b""
    return {b"contact": (b"<%b>%b" % (contact, kept),)}


def _private(name: bytes) -> bool:
    return name in PRIVATE_PARAMS or name.startswith((b"pn-", b"push-token", b"app-id"))


def renamed(value: bytes, ours: frozenset[bytes], domain: bytes) -> bytes:
    """A From or To value whose host, where it is one of ours, has become the upper server's domain."""
    address = NameAddr.parse(value)
    if address.uri.host.lower() not in ours:
        return value
    return address.replace(uri=address.uri.replace(host=domain, port=None)).render()


def _param(name: bytes, value: bytes | None) -> bytes:
    return b";" + name if value is None else b";" + name + b"=" + value
