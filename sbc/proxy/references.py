"""Dialogs that headers name: Replaces, Join, Target-Dialog, In-Reply-To, and what stands in Refer-To. Pure.

Tags cross unchanged, but each side of a dialog may know it by a Call-ID of its own and knows the peer by a Contact of
ours. So a request that names another dialog than its own must name it as its receiver would: an attended transfer
(RFC 3891, 5589 §7), a joined conference (RFC 3911), a request outside of a dialog that proves its knowledge of one
(RFC 4538). A dialog that did not pass here is named as before.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sbc.proxy.dialog import Dialogs, Named, Side
from sbc.sip.errors import ParseError
from sbc.sip.message import Request
from sbc.sip.uri import Uri
from sbc.sip.values import NameAddr

NAMING = (b"replaces", b"join", b"target-dialog")
"""Headers whose value is a Call-ID with two tags."""

ALL = frozenset((*NAMING, b"in-reply-to", b"refer-to"))

_TAGS = {
    b"replaces": (b"to-tag", b"from-tag"),
    b"join": (b"to-tag", b"from-tag"),
    b"target-dialog": (b"local-tag", b"remote-tag"),
}
"""The tag of whom the header is about, and the other; of Target-Dialog as its receiver sees it (RFC 4538 §3)."""

_HEADER_VALUE = "[]/?:+$-_.!~*'()"
"""What may stand unescaped in a header of a URI beside letters and digits (RFC 3261 §25.1, hvalue)."""

Changes = dict[bytes, tuple[bytes, ...]]


def meant(dialogs: Dialogs, request: Request, sender: Side) -> Named | None:
    """The dialog that a request outside of dialogs is about, where its Request-URI is a Contact of ours.

    The tags of a Replaces, Join or Target-Dialog say whose dialog it is; without them it is for the end that is not its
    sender. None: it names none that `sender` could be a party of or have been told of.
    """
    token = (request.parsed_uri.user or b"").lower()
    for name in NAMING:
        value = request.first(name)
        for named in () if value is None else _named(dialogs, name, value):
            if named.leg.token == token:
                return named
    return dialogs.across(token, sender)


def mapped(
    request: Request, dialogs: Dialogs, sender: Side, receiver: Side, mask: Callable[[bytes], bytes] | None
) -> Changes:
    """What becomes of these headers on their way from `sender` to `receiver`, as `Message.edited` takes it.

    `receiver.contact` is the URI of ours that it is shown. `mask`: Call-IDs are hidden, and this is what becomes of one
    of no known dialog in a header that only informs (In-Reply-To); None: they are not.
    """
    changes: Changes = {}
    for name in ALL.intersection(request.names()):
        if name == b"refer-to":
            lines = [_referred(dialogs, value, sender, receiver) for value in request.lines(name)]
        elif name == b"in-reply-to":
            lines = [_replied(dialogs, value, receiver, mask) for value in request.lines(name)]
        else:
            lines = [_translated(dialogs, name, value, receiver) for value in request.lines(name)]
        if lines != request.lines(name):
            changes[name] = tuple(lines)
    return changes


def _named(dialogs: Dialogs, name: bytes, value: bytes) -> list[Named]:
    call_id, _, tail = value.partition(b";")
    tags = {}
    for part in tail.split(b";"):
        key, _, tag = part.partition(b"=")
        tags[key.strip().lower()] = tag.strip()
    about, other = _TAGS[name]
    found = dialogs.named(call_id.strip(), tags.get(about, b""), tags.get(other, b""))
    if not found and name == b"target-dialog":
        found = dialogs.named(call_id.strip(), tags.get(other, b""), tags.get(about, b""))
    return found


def _translated(dialogs: Dialogs, name: bytes, value: bytes, receiver: Side) -> bytes:
    found = _named(dialogs, name, value)
    return _renamed(value, preferred(found, None, receiver), receiver) if found else value


def _renamed(value: bytes, named: Named, receiver: Side) -> bytes:
    """The value with the Call-ID that `receiver` knows."""
    call_id, semicolon, tail = value.partition(b";")
    theirs = known_as(named, receiver)
    return value if call_id.strip() == theirs else theirs + semicolon + tail


def known_as(named: Named, receiver: Side) -> bytes:
    """The Call-ID of a dialog for this receiver: its own where it is a party, else the upper server's side of it for an
    upper server, else the called side's, which is our own invention where Call-IDs are masked."""
    sides = (named.end, named.far)
    for side in sides:
        if side.same_party(receiver):
            return side.call_id
    if receiver.upper is not None:
        for side in sides:
            if side.upper is not None:
                return side.call_id
    return named.leg.b.call_id


def preferred(found: list[Named], token: bytes | None, receiver: Side) -> Named:
    """Of a call that passed here twice: the leg that the URI names, else one that the receiver is a party of, else one
    whose end is upward."""

    def rank(named: Named) -> tuple[bool, bool, bool]:
        ours = named.end.same_party(receiver) or named.far.same_party(receiver)
        return named.leg.token != token, not ours, named.end.upper is None

    return min(found, key=rank)


def _replied(dialogs: Dialogs, value: bytes, receiver: Side, mask: Callable[[bytes], bytes] | None) -> bytes:
    call_ids = []
    for part in value.split(b","):
        call_id = part.strip()
        legs = dialogs.call_ids(call_id)
        if legs:
            leg = legs[0]
            call_id = known_as(Named(leg, leg.b, leg.a), receiver)
        elif mask is not None:
            call_id = mask(call_id)
        call_ids.append(call_id)
    return b", ".join(call_ids) if call_ids != [part.strip() for part in value.split(b",")] else value


def _referred(dialogs: Dialogs, value: bytes, sender: Side, receiver: Side) -> bytes:
    """A Refer-To for its receiver: the dialog in its headers, and the URI where it is a Contact that one side knows."""
    try:
        address = NameAddr.parse(value)
    except ParseError:
        return value
    uri = address.uri
    if not uri.is_sip:
        return value
    token = uri.user.lower() if uri.user is not None else b""
    headers, named = _headers(dialogs, uri.headers, token, receiver)
    target = shown_uri(uri, named or dialogs.across(token, sender), receiver)
    if headers == uri.headers and target is None:
        return value
    return address.replace(uri=(target or uri).replace(headers=headers)).render()


def _headers(
    dialogs: Dialogs, headers: bytes | None, token: bytes, receiver: Side
) -> tuple[bytes | None, Named | None]:
    """The headers of a URI for the receiver, and the dialog that they name."""
    if not headers:
        return headers, None
    named: Named | None = None
    parts = headers.split(b"&")
    for at, part in enumerate(parts):
        name, equals, escaped = part.partition(b"=")
        header = unquote_to_bytes(name).lower()
        if header not in NAMING:
            continue
        value = unquote_to_bytes(escaped)
        found = _named(dialogs, header, value)
        if not found:
            continue
        named = preferred(found, token, receiver)
        renamed = _renamed(value, named, receiver)
        if renamed != value:
            parts[at] = name + equals + quote_from_bytes(renamed, safe=_HEADER_VALUE).encode()
    return b"&".join(parts), named


def shown_uri(uri: Uri, named: Named | None, receiver: Side) -> Uri | None:
    """The URI by which the receiver can reach the end of this dialog; None: the one that it says already.

    An upper server gets what it would have seen without us; nobody else learns where a peer is.
    """
    if named is None:
        return None
    end, far = named.end, named.far
    if not end.target or not _points_at(uri, named.leg.token, end):
        return None
    if receiver.upper is None:
        ours = Uri.parse(receiver.contact)
        return ours.replace(user=named.leg.token)
    if end.upper is not None:
        return Uri.parse(end.target)
    if far.upper is not None:
        return Uri.parse(far.contact)
    return Uri.parse(receiver.contact).replace(user=named.leg.token)


def _points_at(uri: Uri, token: bytes, end: Side) -> bool:
    if uri.user is not None and uri.user.lower() == token:
        return True
    try:
        target = Uri.parse(end.target)
    except ParseError:
        return False
    return target.is_sip and (uri.user, uri.host.lower(), uri.port) == (target.user, target.host.lower(), target.port)
