"""What a message must fulfil before anybody routes it: mandatory headers, ranges, agreement, limits of number.

The structure (line ends, Content-Length, sizes) has been judged by `parse` already. Not judged here: extensions
(Require, Proxy-Require: 420), Max-Forwards 0 (483), the body; those are decisions of whoever handles the request.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from sbc.sip import limits
from sbc.sip.errors import ParseError
from sbc.sip.message import Message, Request, Response
from sbc.sip.names import written
from sbc.sip.scan import is_token

_MANDATORY: Final = frozenset((b"via", b"from", b"to", b"call-id", b"cseq"))
#: Bytes of a line that cannot hold too many values: the least of the limits times the shortest address, `<sip:a>,`.
_SHORT: Final = min(limits.MAX_VIAS, limits.MAX_ROUTES, limits.MAX_CONTACTS) * len(b"<sip:a>,")

#: How many values a header may have in one message. Those with one have no list form in RFC 3261 section 20 and its
#: extensions; two of them would let two elements read two different messages.
MOST: Final[dict[bytes, int]] = {
    b"via": limits.MAX_VIAS,
    b"route": limits.MAX_ROUTES,
    b"record-route": limits.MAX_ROUTES,
    b"path": limits.MAX_ROUTES,
    b"service-route": limits.MAX_ROUTES,
    b"contact": limits.MAX_CONTACTS,
} | dict.fromkeys(
    (
        b"from",
        b"to",
        b"call-id",
        b"cseq",
        b"max-forwards",
        b"expires",
        b"content-length",
        b"content-type",
        b"event",
        b"refer-to",
        b"referred-by",
        b"replaces",
        b"session-expires",
        b"min-se",
        b"rack",
        b"rseq",
        b"subscription-state",
        b"sip-etag",
        b"sip-if-match",
        b"target-dialog",
        b"join",
        b"date",
        b"timestamp",
        b"user-agent",
        b"server",
    ),
    1,
)

#: The methods of RFC 3261 and its extensions.
METHODS: Final = frozenset(
    b"INVITE ACK CANCEL BYE OPTIONS MESSAGE REGISTER SUBSCRIBE NOTIFY PUBLISH INFO REFER UPDATE PRACK".split()
)

#: Request-URI schemes that can be routed.
SCHEMES: Final = frozenset((b"sip", b"sips", b"tel"))

# The addresses of nearly all messages; what it matches NameAddr.parse accepts too, at a tenth of the price. Every
# repetition ends at a character that is not in it, so it takes linear time.
_PLAIN: Final = re.compile(
    rb"""(?:"[^"\\\x00-\x1f]*"[ ]?|[\w.!%*+`'~-][\w .!%*+`'~-]*)?"""
    rb"""<sips?:(?:[\w.!~*'()&=+$,;?/%-]+@)?[A-Za-z0-9._-]+(?::[1-5]?[0-9]{1,4})?"""
    rb"""(?:;[\w.!~*'()&+$/:%\[\]-]+(?:=[\w.!~*'()&+$/:%\[\]-]+)?)*>"""
    rb"""(?:;[\w.!%*+`'~-]+(?:=(?:[\w.!%*+`'~:\[\]-]+|"[^"\\\x00-\x1f]*"))?)*"""
)


def _matched(value: bytes) -> bool:
    return _PLAIN.fullmatch(value) is not None


_remembered = lru_cache(limits.MAX_REMEMBERED)(_matched)


def _plain(value: bytes) -> bool:
    """Whether an address is of the usual form. From, To and Contact are the same in all messages of a dialog."""
    return _remembered(value) if len(value) <= limits.MAX_REMEMBERED_VALUE else _matched(value)


def check(message: Message) -> None:
    """Raise ParseError for what makes the message unfit, with the status a request is answered with: 505 for a foreign
    version, 416 for a Request-URI of a scheme nobody routes, 400 for the rest. A response like that is to be dropped.

    What is parsed on the way stays cached in the message. A request without Max-Forwards, From tag or branch passes:
    RFC 2543 allowed that.
    """
    try:
        if isinstance(message, Request):
            _check_request(message)
        elif isinstance(message, Response):
            _check_common(message)
    except ParseError as error:
        if error.request is None and isinstance(message, Request):
            error.request = message
        raise


def _check_common(message: Message) -> None:
    names = message.names()
    distinct = set(names)
    if not distinct >= _MANDATORY:
        raise ParseError(b"Missing " + written(min(_MANDATORY - distinct)))
    if len(distinct) != len(names) or message.longest() > _SHORT:
        _count(message)
    if not message.call_id:
        raise ParseError(b"Missing Call-ID")
    _ = message.cseq, message.via
    if not _plain(message.first(b"from") or b""):
        _ = message.from_
    if not _plain(message.first(b"to") or b""):
        _ = message.to


def _count(message: Message) -> None:
    seen: dict[bytes, int] = {}
    for name, line in message.items():
        most = MOST.get(name)
        if most is not None:
            count = seen[name] = seen.get(name, 0) + (1 if most == 1 else line.count(b",") + 1)
            # Commas in quoted names have been counted too.
            if count > most and (most == 1 or len(message.each(name)) > most):
                raise ParseError(b"Too Many " + written(name))


def _check_request(request: Request) -> None:
    if request.version != b"SIP/2.0":
        if request.version.strip(b" \t").upper() != b"SIP/2.0":
            raise ParseError(b"Version Not Supported", 505)
        raise ParseError(b"Bad Request Line")
    if not is_token(request.method):
        raise ParseError(b"Bad Method")
    _check_common(request)
    if request.cseq.method != request.method:
        # RFC 4475 section 3.1.2.18: 501 for a method nobody here knows, since its CSeq may follow other rules.
        raise ParseError(b"CSeq Names Another Method", 400 if request.method in METHODS else 501)
    uri = request.parsed_uri
    if uri.scheme not in SCHEMES:
        raise ParseError(b"Unsupported URI Scheme", 416)
    if uri.headers is not None:
        raise ParseError(b"Headers In Request-URI")
    _ = request.max_forwards, request.expires
    contacts = request.count(b"contact")
    if contacts > 1 or (contacts and not _plain(request.first(b"contact") or b"")):
        _ = request.contacts
    if request.has(b"route"):
        _ = request.routes
