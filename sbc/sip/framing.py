"""Cutting a stream into messages by Content-Length (RFC 3261 section 18.3), with RFC 5626 keep-alives between."""

from __future__ import annotations

import enum
import re
from typing import Final

from sbc.sip.errors import ParseError
from sbc.sip.limits import MAX_MESSAGE, SECONDS_END
from sbc.sip.scan import number, unfold

#: Every Content-Length line in any spelling, its value up to the line end, folding included.
_LENGTH: Final = re.compile(rb"\r\n(?:content-length|l)[ \t]*:((?:[^\r]|\r\n[ \t])*)", re.IGNORECASE)
#: The start of a first line that can be SIP: a method or "SIP/".
_OPENING: Final = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~/]+ ?")
#: Bytes of a first line after which it must have ended: a method, a URI of 4 KiB, a version.
MAX_START_LINE: Final = 4_200


class KeepAlive(enum.Enum):
    """A double line end, to be answered by a single one; and that answer (RFC 5626 section 3.5.1)."""

    PING = b"\r\n\r\n"
    PONG = b"\r\n"


class Framer:
    """One direction of one connection. Whole messages come out as they came in, however the stream was cut.

    `limit` is the largest message in bytes. After a ParseError the stream is lost: where the next message starts
    cannot be known, so the connection is to be closed.
    """

    __slots__ = ("_buffer", "_half", "_limit", "_opened", "_pong_due", "_searched", "_size", "broken", "head")

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._searched = 0  # no end of the header section starts before this offset
        self._opened = False  # the start line of the message at the front looks like SIP
        self._size = 0  # bytes of the message at the front once its header section is complete, else 0
        self._half = False  # a line end was the last thing that came: another makes a ping
        self._pong_due = False
        self.broken: ParseError | None = None
        """Why nothing more can come out of this stream."""
        self.head = b""
        """The header section of the message that broke it, where that came whole."""

    @property
    def pending(self) -> int:
        """Bytes of a message that is not complete yet."""
        return len(self._buffer)

    def pinged(self) -> None:
        """We sent a ping: the next line end is its pong, also when another one follows it."""
        self._pong_due = True

    def feed(self, data: bytes) -> list[bytes | KeepAlive]:
        """What became complete with `data`, in order.

        A single line end with nothing behind it counts as PONG at once; when its other half comes later, a PING
        follows. ParseError: not SIP, no Content-Length, or larger than the limit. When something was complete before
        that in the same data it comes out first; `broken` tells, and the next call raises.
        """
        if self.broken is not None:
            raise self.broken
        self._buffer += data
        found: list[bytes | KeepAlive] = []
        try:
            self._cut(found)
        except ParseError as problem:
            self.broken = problem
            if not found:
                raise
        return found

    def _cut(self, found: list[bytes | KeepAlive]) -> None:
        """Take what is complete off the front of the buffer."""
        buffer = self._buffer
        while buffer:
            if not self._size:
                if buffer[0] == 0x0D or buffer[0] == 0x0A:
                    if not self._blank(found):
                        break
                    continue
                self._half = False
                if not self._header_end():
                    break
            if len(buffer) < self._size:
                break
            found.append(bytes(buffer[: self._size]))
            del buffer[: self._size]
            self._size = self._searched = 0
            self._opened = False

    def _blank(self, found: list[bytes | KeepAlive]) -> bool:
        """Take a line end between messages; False when it is not complete."""
        buffer = self._buffer
        if buffer[0] == 0x0A:
            raise ParseError(b"Bare Line End")
        if len(buffer) < 2:
            return False
        if buffer[1] != 0x0A:
            raise ParseError(b"Bare Line End")
        if self._pong_due:
            self._pong_due = self._half = False
            found.append(KeepAlive.PONG)
            del buffer[:2]
        elif self._half:
            self._half = False
            found.append(KeepAlive.PING)
            del buffer[:2]
        elif buffer[:4] == b"\r\n\r\n":
            found.append(KeepAlive.PING)
            del buffer[:4]
        elif buffer[2:] == b"\r":
            return False
        else:
            self._half = True
            found.append(KeepAlive.PONG)
            del buffer[:2]
        return True

    def _header_end(self) -> bool:
        """Find the size of the message at the front; False while its header section is not complete."""
        buffer = self._buffer
        if not self._opened:
            self._opening()
        end = buffer.find(b"\r\n\r\n", self._searched)
        if end < 0:
            if len(buffer) > self._limit:
                raise ParseError(b"Message Too Large", 513)
            self._searched = max(len(buffer) - 3, 0)
            return False
        lengths = _LENGTH.findall(buffer, 0, end + 2)
        try:
            if len(lengths) != 1:
                raise ParseError(b"Several Content-Length" if lengths else b"Missing Content-Length")
            length = number(unfold(bytes(lengths[0])).strip(), SECONDS_END, b"Content-Length")
            self._size = end + 4 + length
            if self._size > self._limit:
                raise ParseError(b"Message Too Large", 513)
        except ParseError:
            self.head = bytes(buffer[: end + 4])
            raise
        return True

    def _opening(self) -> None:
        """Refuse what cannot become SIP as early as can be told: a TLS hello, an HTTP request, noise."""
        buffer = self._buffer
        end = buffer.find(b"\r\n", 0, MAX_START_LINE)
        stop = len(buffer) - buffer.endswith(b"\r") if end < 0 else end
        opening = _OPENING.match(buffer, 0, stop)
        if not opening or (opening.end() < stop and opening.group()[-1:] != b" "):
            raise ParseError(b"Not SIP")
        if end < 0:
            if len(buffer) >= MAX_START_LINE:
                raise ParseError(b"Start Line Too Long", 414)
            return
        line = bytes(buffer[:end]).upper()
        if not line.startswith(b"SIP/") and line.find(b" SIP/") < 0:
            raise ParseError(b"Not SIP")
        self._opened = True
