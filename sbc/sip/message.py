"""Messages: header lines stay bytes in their order, values are parsed on first use, edits replace lines.

Every header *name* is scanned once when a message is parsed, so no spelling hides a header from us. What nobody
touches leaves as it came, odd spelling and folding included. What can be asked of headers stands in `headers`.
"""

from __future__ import annotations

from typing import Final, Self

from sbc.sip import limits
from sbc.sip.errors import LocalError, ParseError
from sbc.sip.headers import Message
from sbc.sip.names import SPELLINGS, canonical
from sbc.sip.scan import BLANK, CR, LF, number, unfold
from sbc.sip.uri import Uri

__all__ = ["Message", "Request", "Response", "parse"]

#: Without these a request cannot be answered (RFC 3261 section 8.2.6.2).
_ANSWERABLE: Final = (b"via", b"from", b"to", b"call-id", b"cseq")


class Request(Message):
    """A request. `method` and `uri` (the raw Request-URI) may be set; `version` is as on the wire."""

    __slots__ = ("method", "uri", "version")

    def __init__(
        self,
        method: bytes,
        uri: bytes,
        names: list[bytes],
        lines: list[bytes],
        body: bytes,
        version: bytes = b"SIP/2.0",
    ) -> None:
        super().__init__(names, lines, body)
        self.method = method
        self.uri = uri
        self.version = version

    def __repr__(self) -> str:
        return f"<Request {self.start_line()!r}>"

    @property
    def parsed_uri(self) -> Uri:
        """The Request-URI in parts; ParseError when it is none."""
        known: tuple[bytes, Uri] | None = self._typed.get(b"")
        if known is not None and known[0] is self.uri:
            return known[1]
        uri = Uri.parse(self.uri)
        self._typed[b""] = (self.uri, uri)
        return uri

    def _twin(self, names: list[bytes], lines: list[bytes]) -> Self:
        return self.__class__(self.method, self.uri, names, lines, self.body, self.version)

    def start_line(self) -> bytes:
        return _one_line(b"%b %b %b" % (self.method, self.uri, self.version))


class Response(Message):
    """A response: `status` 100 … 699 and `reason`, which may be empty or UTF-8."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: bytes, names: list[bytes], lines: list[bytes], body: bytes) -> None:
        super().__init__(names, lines, body)
        self.status = status
        self.reason = reason

    def __repr__(self) -> str:
        return f"<Response {self.start_line()!r}>"

    def _twin(self, names: list[bytes], lines: list[bytes]) -> Self:
        return self.__class__(self.status, self.reason, names, lines, self.body)

    def start_line(self) -> bytes:
        return _one_line(b"SIP/2.0 %d %b" % (self.status, self.reason))


def _one_line(start: bytes) -> bytes:
    if LF in start or CR in start:
        raise LocalError(f"line end in start line: {start!r}")
    return start


def parse(data: bytes) -> Request | Response:
    """The message in `data`, one datagram or one whole message of a stream (RFC 3261 section 7).

    Line ends before the start line are skipped. A body longer than Content-Length says is cut (section 18.3), one
    shorter is a ParseError. Only what the structure needs is judged here; `sbc.sip.check` judges the rest. ParseErrors
    carry the request when it can be answered.
    """
    if data.startswith((b"\r", b"\n")):
        data = data.lstrip(b"\r\n")
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        raise ParseError(b"Incomplete Header Section")
    lines = head.splitlines()
    # A lone CR or LF is a line end to some elements and not to others: a way to smuggle headers past one of them.
    if b"\r\n".join(lines) != head:
        raise ParseError(b"Bare Line End")
    if len(lines) > limits.MAX_HEADERS + 1:
        raise ParseError(b"Too Many Headers", 513)
    start = lines.pop(0)
    names = _scan(lines)
    message: Request | Response
    if start.startswith(b"SIP/2.0 ") or start[:4].upper() == b"SIP/":
        message = _response(start, names, lines, body)
    else:
        message = _request(start, names, lines, body)
    trouble = _cut_body(message, names, lines)
    if len(head) > limits.MAX_HEADER_LINE:
        if len(start) > limits.MAX_HEADER_LINE:
            trouble = ParseError(b"Request-URI Too Long", 414)
        elif message.longest() > limits.MAX_HEADER_LINE:
            trouble = ParseError(b"Header Line Too Long", 513)
    if len(message.body) > limits.MAX_BODY:
        trouble = ParseError(b"Body Too Large", 513)
    if trouble is not None:
        if isinstance(message, Request) and all(name in names for name in _ANSWERABLE):
            trouble.request = message
        raise trouble
    return message


def _scan(lines: list[bytes]) -> list[bytes]:
    """The canonical names of header lines. Folded lines are joined to those before them, in place, line ends kept."""
    known = SPELLINGS.get
    names = []
    for line in lines:
        spelling, colon, _ = line.partition(b":")
        name = known(spelling)
        if name is None or not colon:
            if line[:1] in (b" ", b"\t"):
                lines[:] = _join_folded(lines)
                return _scan(lines)
            if not colon:
                raise ParseError(b"Header Without Colon")
            name = canonical(spelling)
        names.append(name)
    return names


def _join_folded(lines: list[bytes]) -> list[bytes]:
    joined: list[list[bytes]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            if not joined:
                raise ParseError(b"Folded Start Line")
            joined[-1].append(line)
        else:
            joined.append([line])
    return [b"\r\n".join(pieces) for pieces in joined]


def _response(start: bytes, names: list[bytes], lines: list[bytes], body: bytes) -> Response:
    version, _, rest = start.partition(b" ")
    digits, _, reason = rest.partition(b" ")
    if version.upper() != b"SIP/2.0" or len(digits) != 3 or not digits.isdigit() or not b"100" <= digits <= b"699":
        raise ParseError(b"Bad Status Line")
    return Response(int(digits), reason, names, lines, body)


def _request(start: bytes, names: list[bytes], lines: list[bytes], body: bytes) -> Request:
    """The Request-URI is what stands between the first and the last word, right or wrong: a bad one gets an answer."""
    method, _, rest = start.partition(b" ")
    if rest.endswith(b" SIP/2.0"):
        return Request(method, rest[:-8], names, lines, body)
    at = rest.upper().rfind(b" SIP/")
    if at < 0 or not method:
        raise ParseError(b"Bad Request Line")
    return Request(method, rest[:at], names, lines, body, rest[at + 1 :])


def _cut_body(message: Message, names: list[bytes], lines: list[bytes]) -> ParseError | None:
    """Apply Content-Length; returned, not raised, is what is wrong with it."""
    count = names.count(b"content-length")
    if not count:
        return None
    if count > 1:
        return ParseError(b"Several Content-Length")
    value = lines[names.index(b"content-length")].partition(b":")[2]
    try:
        length = number((unfold(value) if CR in value else value).strip(BLANK), limits.SECONDS_END, b"Content-Length")
    except ParseError as error:
        return error
    body = message.body
    if length > len(body):
        return ParseError(b"Body Shorter Than Content-Length")
    if length < len(body):
        message.body = body[:length]
    message.declared = length
    return None
