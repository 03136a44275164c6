"""How whole SIP messages stand in a stream: by Content-Length over TCP and TLS, in frames over WebSocket. Pure."""

from dataclasses import dataclass, field
from typing import Protocol

from sbc.sip.build import respond
from sbc.sip.errors import ParseError
from sbc.sip.framing import Framer, KeepAlive
from sbc.sip.message import parse
from sbc.transport.limits import BROKEN_FRAMING, NOT_SIP, OVERSIZED

_PROBLEMS = {413: OVERSIZED, 414: NOT_SIP, 513: OVERSIZED}
"""Status of a framing error -> refusal; a start line without end is no SIP."""


@dataclass(slots=True)
class Heard:
    """What a piece of stream contained.

    `messages` are whole; `reply` goes back at once (pong, handshake answer); `keep_alive`: the peer showed it is alive;
    `problem` is one of `limits.REFUSALS` and ends the stream once the reply is sent; `refusal`: the SIP answer to the
    message that is the problem; `bye`: the peer ended it properly.
    """

    messages: list[bytes] = field(default_factory=list)
    reply: bytes = b""
    keep_alive: bool = False
    problem: str | None = None
    refusal: bytes = b""
    bye: str = ""


class Codec(Protocol):
    """One stream's framing. `ready`: messages may be sent, the preamble, if any, is done; `pings`: our side has a
    question that any living peer answers."""

    ready: bool
    pings: bool

    @property
    def partial(self) -> bool:
        """A message has begun and is not complete."""

    def greet(self) -> bytes:
        """What we say first, as the side that connected."""

    def feed(self, data: bytes) -> Heard:
        """Take the next bytes of the stream. Not called again after a problem."""

    def wrap(self, message: bytes) -> bytes:
        """The bytes that carry one message."""

    def ping(self) -> bytes:
        """That question, where there is one."""

    def farewell(self) -> bytes:
        """What is said before an orderly close."""


class SipCodec:
    """RFC 3261 18.3: messages follow each other, borders by Content-Length; RFC 5626 3.5.1 keep-alives."""

    __slots__ = ("_framer",)

    ready = True
    pings = False  # only the side that opened the connection may ping with CRLF (RFC 5626 4.4.1)

    def __init__(self, limit: int) -> None:
        self._framer = Framer(limit)

    @property
    def partial(self) -> bool:
        return self._framer.pending > 0

    def greet(self) -> bytes:
        return b""

    def feed(self, data: bytes) -> Heard:
        heard = Heard()
        try:
            found = self._framer.feed(data)
        except ParseError:
            found = []
        broken = self._framer.broken
        if broken is not None:
            heard.problem = _PROBLEMS.get(broken.status, NOT_SIP if broken.reason == b"Not SIP" else BROKEN_FRAMING)
            heard.refusal = _refusal(self._framer.head, broken.status)
        for what in found:
            if isinstance(what, bytes):
                heard.messages.append(what)
            else:
                heard.keep_alive = True
                if what is KeepAlive.PING:
                    heard.reply += b"\r\n"
        return heard

    def wrap(self, message: bytes) -> bytes:
        return message

    def ping(self) -> bytes:
        return b""

    def farewell(self) -> bytes:
        return b""


def _refusal(head: bytes, status: int) -> bytes:
    """The answer to the request with this header section, whose Content-Length is too large (513, RFC 3261 21.5.7) or
    cannot be trusted (400); nothing where it cannot be answered."""
    try:
        parse(head)
    except ParseError as error:
        if error.request is not None and error.request.method != b"ACK":
            return respond(error.request, status).render()
    return b""
