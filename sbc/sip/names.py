"""Header names: compact forms, odd spellings, and how we write them ourselves.

Inside the product a header name is always the lower-case long form, `b"call-id"`.
"""

from __future__ import annotations

from typing import Final

from sbc.sip.errors import ParseError
from sbc.sip.limits import MAX_SPELLING, MAX_SPELLINGS
from sbc.sip.scan import is_token

#: One-letter forms (RFC 3261 section 7.3.3 and the IANA register of later ones).
COMPACT: Final[dict[bytes, bytes]] = {
    b"a": b"accept-contact",
    b"b": b"referred-by",
    b"c": b"content-type",
    b"d": b"request-disposition",
    b"e": b"content-encoding",
    b"f": b"from",
    b"i": b"call-id",
    b"j": b"reject-contact",
    b"k": b"supported",
    b"l": b"content-length",
    b"m": b"contact",
    b"n": b"identity-info",
    b"o": b"event",
    b"r": b"refer-to",
    b"s": b"subject",
    b"t": b"to",
    b"u": b"allow-events",
    b"v": b"via",
    b"x": b"session-expires",
    b"y": b"identity",
}

_WRITTEN: Final = (
    b"Via Route Record-Route Max-Forwards From To Call-ID CSeq Contact Expires Content-Length Content-Type "
    b"Content-Encoding Content-Disposition Content-Language Allow Supported Require Proxy-Require Unsupported "
    b"User-Agent Server Date Timestamp Organization Subject Priority Accept Accept-Encoding Accept-Language "
    b"Accept-Contact Reject-Contact Request-Disposition Alert-Info Call-Info Error-Info In-Reply-To MIME-Version "
    b"Authorization Proxy-Authorization WWW-Authenticate Proxy-Authenticate Authentication-Info Min-Expires "
    b"Retry-After Reply-To Warning Path Service-Route Event Allow-Events Subscription-State SIP-ETag SIP-If-Match "
    b"Refer-To Referred-By Refer-Sub Replaces Join Reason RAck RSeq Session-Expires Min-SE Privacy History-Info "
    b"Diversion P-Asserted-Identity P-Preferred-Identity P-Called-Party-ID P-Associated-URI P-Access-Network-Info "
    b"P-Charging-Vector P-Charging-Function-Addresses P-Visited-Network-ID P-Early-Media Remote-Party-ID Flow-Timer "
    b"Identity Identity-Info Security-Client Security-Server Security-Verify Target-Dialog Max-Breadth Geolocation "
    b"Feature-Caps Session-ID User-to-User Recv-Info Info-Package Answer-Mode Resource-Priority X-MPUSH X-PIID"
).split()

#: Canonical name -> how we write it.
WRITTEN: Final[dict[bytes, bytes]] = {name.lower(): name for name in _WRITTEN}

#: Spelling on the wire (everything before the colon) -> canonical name. Filled with what is usual, learns the rest up
#: to MAX_SPELLINGS entries; a pure memo, so that the scan of a header line is one look-up.
SPELLINGS: Final[dict[bytes, bytes]] = {}
for _name, _written in WRITTEN.items():
    for _spelling in (_name, _written, _name.upper(), _name.title()):
        SPELLINGS[_spelling] = _name
for _short, _long in COMPACT.items():
    SPELLINGS[_short] = SPELLINGS[_short.upper()] = SPELLINGS[_long]


def canonical(spelling: bytes) -> bytes:
    """The canonical name of a header spelled so before its colon; blanks around it do not count.

    Raises ParseError when it is not a token (RFC 3261 section 25.1).
    """
    known = SPELLINGS.get(spelling)
    if known is not None:
        return known
    name = spelling.rstrip(b" \t").lower()
    name = SPELLINGS.get(name, name)
    if not is_token(name):
        raise ParseError(b"Bad Header Name")
    if len(SPELLINGS) < MAX_SPELLINGS and len(spelling) <= MAX_SPELLING:
        SPELLINGS[spelling] = name
    return name


def written(name: bytes) -> bytes:
    """How we write a canonical name at the start of a line."""
    return WRITTEN.get(name) or b"-".join([part.capitalize() for part in name.split(b"-")])
