"""Messages of our own: answers, requests, the ACK and CANCEL of a transaction; and what each element notes in Via."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sbc.sip.errors import LocalError, ParseError
from sbc.sip.headers import Message, header_line
from sbc.sip.message import Request, Response
from sbc.sip.names import canonical
from sbc.sip.scan import BLANK, split_commas
from sbc.sip.values import Via

#: The usual phrase of each status (IANA register).
REASONS: Final[dict[int, bytes]] = {
    100: b"Trying",
    180: b"Ringing",
    181: b"Call Is Being Forwarded",
    182: b"Queued",
    183: b"Session Progress",
    199: b"Early Dialog Terminated",
    200: b"OK",
    202: b"Accepted",
    204: b"No Notification",
    300: b"Multiple Choices",
    301: b"Moved Permanently",
    302: b"Moved Temporarily",
    305: b"Use Proxy",
    380: b"Alternative Service",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    410: b"Gone",
    412: b"Conditional Request Failed",
    413: b"Request Entity Too Large",
    414: b"Request-URI Too Long",
    415: b"Unsupported Media Type",
    416: b"Unsupported URI Scheme",
    420: b"Bad Extension",
    421: b"Extension Required",
    422: b"Session Interval Too Small",
    423: b"Interval Too Brief",
    424: b"Bad Location Information",
    428: b"Use Identity Header",
    429: b"Provide Referrer Identity",
    430: b"Flow Failed",
    433: b"Anonymity Disallowed",
    436: b"Bad Identity Info",
    437: b"Unsupported Credential",
    438: b"Invalid Identity Header",
    439: b"First Hop Lacks Outbound Support",
    440: b"Max-Breadth Exceeded",
    469: b"Bad Info Package",
    470: b"Consent Needed",
    480: b"Temporarily Unavailable",
    481: b"Call/Transaction Does Not Exist",
    482: b"Loop Detected",
    483: b"Too Many Hops",
    484: b"Address Incomplete",
    485: b"Ambiguous",
    486: b"Busy Here",
    487: b"Request Terminated",
    488: b"Not Acceptable Here",
    489: b"Bad Event",
    491: b"Request Pending",
    493: b"Undecipherable",
    494: b"Security Agreement Required",
    500: b"Server Internal Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Server Time-out",
    505: b"Version Not Supported",
    513: b"Message Too Large",
    555: b"Push Notification Service Not Supported",
    580: b"Precondition Failure",
    600: b"Busy Everywhere",
    603: b"Decline",
    604: b"Does Not Exist Anywhere",
    606: b"Not Acceptable",
    607: b"Unwanted",
    608: b"Rejected",
}

_COPIED: Final = frozenset((b"via", b"from", b"to", b"call-id", b"cseq"))
_COPIED_100: Final = _COPIED | {b"timestamp"}

Headers = Iterable[tuple[bytes, bytes]]


def reason_of(status: int) -> bytes:
    """The usual phrase of a status, that of its class (x00) when it has none."""
    return REASONS.get(status) or REASONS.get(status // 100 * 100, b"Unknown")


def respond(
    request: Request,
    status: int,
    reason: bytes | None = None,
    *,
    to_tag: bytes | None = None,
    headers: Headers = (),
    body: bytes = b"",
) -> Response:
    """An answer to `request` (RFC 3261 section 8.2.6.2): Via, From, To, Call-ID and CSeq copied byte for byte,
    of all but Via the first only.

    `to_tag` is added to To unless that has one already. Works on requests that are broken elsewhere; a copied header
    that is missing stays missing. `headers` follow in their order, names in any spelling.
    """
    copied = _COPIED if status != 100 else _COPIED_100
    names: list[bytes] = []
    lines: list[bytes] = []
    for name, line in request.items():
        if name in copied and (name == b"via" or name not in names):
            if to_tag is not None and name == b"to" and not _tagged(request):
                line = b"%b;tag=%b" % (line.rstrip(b" \t\r\n;"), to_tag)
            names.append(name)
            lines.append(line)
    _append(names, lines, headers)
    if b"content-length" not in names:
        names.append(b"content-length")
        lines.append(b"Content-Length: %d" % len(body))
    return Response(status, reason_of(status) if reason is None else reason, names, lines, body)


def make_request(
    method: bytes,
    uri: bytes,
    *,
    via: bytes,
    from_: bytes,
    to: bytes,
    call_id: bytes,
    cseq: int,
    max_forwards: int = 70,
    headers: Headers = (),
    body: bytes = b"",
) -> Request:
    """A request from header values; `via` is the whole value with its branch."""
    names: list[bytes] = []
    lines: list[bytes] = []
    start = (
        (b"via", via),
        (b"max-forwards", b"%d" % max_forwards),
        (b"from", from_),
        (b"to", to),
        (b"call-id", call_id),
        (b"cseq", b"%d %b" % (cseq, method)),
    )
    _append(names, lines, start)
    _append(names, lines, headers)
    return Request(method, uri, names, lines, body)


def ack_for(invite: Request, response: Response) -> Request:
    """The ACK of a final answer other than 2xx, in the transaction of `invite` (RFC 3261 section 17.1.1.3)."""
    return _in_transaction(b"ACK", invite, response)


def cancel_for(invite: Request) -> Request:
    """The CANCEL of a request sent earlier (RFC 3261 section 9.1)."""
    return _in_transaction(b"CANCEL", invite, invite)


def stamp(request: Request, host: bytes, port: int) -> None:
    """Note in the top Via where the request came from: `received` and `rport` (RFC 3261 section 18.2.1, RFC 3581).

    `host` is the source address, an IPv6 one without brackets. What the sender wrote there itself does not survive.
    """
    via = request.via
    params = via.params
    if b"rport" in params:
        noted = Via(via.transport, via.host, via.port, {**params, b"rport": b"%d" % port, b"received": host})
        value = request.first(b"via") or b""
        bare, found, rest = (value + b";").partition(b";rport;")
        if found and b"," not in value and b'"' not in value and b"received" not in params:
            # What nearly every phone sends: nothing to take away, so its line stays as it is but for the addition.
            stamped = (b"%b;rport=%d;received=%b;%b" % (bare, port, host, rest)).rstrip(b";")
        else:
            stamped = noted.render()
    elif via.host.strip(b"[]") != host or b"received" in params:
        noted = Via(via.transport, via.host, via.port, {**params, b"received": host})
        stamped = noted.render()
    else:
        return
    request.set_top(b"via", stamped, noted)


def _in_transaction(method: bytes, invite: Request, to: Message) -> Request:
    via = invite.first(b"via")
    if not via:
        raise LocalError("a request of ours without Via")
    names = [b"via"]
    lines = [header_line(b"via", split_commas(via)[0])]
    for wanted, source in ((b"route", invite), (b"from", invite), (b"to", to), (b"call-id", invite)):
        for name, line in source.items():
            if name == wanted:
                names.append(name)
                lines.append(line)
    _append(names, lines, ((b"cseq", b"%d %b" % (invite.cseq.number, method)), (b"max-forwards", b"70")))
    return Request(method, invite.uri, names, lines, b"")


def _append(names: list[bytes], lines: list[bytes], headers: Headers) -> None:
    for name, value in headers:
        name = canonical(name)
        names.append(name)
        lines.append(header_line(name, value.strip(BLANK)))


def _tagged(request: Request) -> bool:
    try:
        return request.to_tag is not None
    except ParseError:
        return b"tag=" in (request.first(b"to") or b"")
