"""Finding the session description in the body of a SIP message.  [pure]

The rule: `application/sdp` is the whole body; in `multipart/*` (RFC 2046, RFC 5621) the first part that is
`application/sdp` without a Content-Transfer-Encoding other than 7bit, 8bit or binary; in everything else there is none.
What is around the description is never changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from sbc.media.sdp import MAX_BODY
from sbc.sip.errors import ParseError

#: Parts of a multipart body that are looked at; an INVITE has two or three (SDP, ISUP, location).
MAX_PARTS = 16
#: Bytes of the header of a part.
MAX_PART_HEADER = 4096
#: Bytes of a boundary (RFC 2046 section 5.1.1).
MAX_BOUNDARY = 70

SDP = b"application/sdp"


def find(body: bytes, content_type: bytes | None) -> tuple[int, int] | None:
    """Where the session description begins and ends in `body`; None when there is none.

    `content_type` is the raw value of the message's Content-Type, None when it has none (then a body is taken for SDP
    if it begins like one). Raises `ParseError` for a multipart type without a usable boundary and for bodies above the
    limits.
    """
    if not body:
        return None
    if content_type is None:
        return (0, len(body)) if body.startswith(b"v=0") else None
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == SDP:
        return 0, len(body)
    if not kind.startswith(b"multipart/"):
        return None
    if len(body) > MAX_BODY:
        raise ParseError(b"Body too long", 413)
    for start, end in _parts(body, _boundary(content_type)):
        found = _described(body, start, end)
        if found is not None:
            return found
    return None


def _boundary(content_type: bytes) -> bytes:
    for parameter in content_type.split(b";")[1:]:
        name, _, value = parameter.partition(b"=")
        if name.strip().lower() == b"boundary":
            boundary = value.strip().strip(b'"')
            if 0 < len(boundary) <= MAX_BOUNDARY:
                return boundary
    raise ParseError(b"Multipart without a boundary")


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of each part; a last part that is not closed ends with the body."""
    mark = b"--" + boundary
    place = 0 if body.startswith(mark) else _next(body, mark, 0)
    for _ in range(MAX_PARTS):
        if place < 0 or body.startswith(b"--", place + len(mark)):
            return
        start = body.find(b"\n", place) + 1
        if not start:
            return
        place = _next(body, mark, start - 1)
        end = len(body) if place < 0 else place - 1
        yield start, end - 1 if place >= 0 and body[end - 1 : end] == b"\r" else end


def _next(body: bytes, mark: bytes, start: int) -> int:
    found = body.find(b"\n" + mark, start)
    return found + 1 if found >= 0 else -1


def _described(body: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The content of a part when it is a description we can edit."""
    kind, encoding = b"", b"8bit"
    place, limit = start, min(end, start + MAX_PART_HEADER)
    while place < limit:
        stop = body.find(b"\n", place, limit)
        if stop < 0:
            return None
        line, place = body[place:stop].strip(), stop + 1
        if not line:
            usable = kind == SDP and encoding in (b"7bit", b"8bit", b"binary")
            return (place, end) if usable and place < end else None
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-type", b"c"):
            kind = value.partition(b";")[0].strip().lower()
        elif name.strip().lower() == b"content-transfer-encoding":
            encoding = value.strip().lower()
    return None
