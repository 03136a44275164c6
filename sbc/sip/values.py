"""What stands in headers: addresses with names, Via, CSeq."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from sbc.sip.errors import ParseError
from sbc.sip.limits import CSEQ_END, MAX_REMEMBERED, MAX_REMEMBERED_VALUE
from sbc.sip.scan import (
    BLANK,
    COMMA,
    PORT_END,
    QUESTION,
    Params,
    is_token,
    number,
    parse_host_port,
    parse_params,
    quote,
    quoted_end,
    render_params,
    split_commas,
    unquote,
)
from sbc.sip.uri import Uri, parse_uri

__all__ = ["CSeq", "NameAddr", "Via", "quote", "split_commas", "unquote"]

# Characters an unquoted display name never carries: with one of them the sender meant quotes, and a receiver further
# on may read another address than we do.
_MISPLACED: Final = re.compile(rb'[",;<>\\\x00-\x08\x0a-\x1f]')
_CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")
#: How a Via value begins, nearly always -> its transport.
_PROTOCOLS: Final = {b"SIP/2.0/" + name: name for name in (b"UDP", b"TCP", b"TLS", b"WS", b"WSS")}
#: Methods in common use, so that most need no look at their characters.
_METHODS: Final = frozenset(
    b"INVITE ACK BYE CANCEL REGISTER OPTIONS PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER MESSAGE UPDATE".split()
)


@dataclass(slots=True)
class NameAddr:
    """`"display" <uri>;params` or `uri;params` (RFC 3261 section 20.10).

    Shared between messages: treat it as immutable, `replace` makes another.

    `display` is as on the wire, quotes included, empty when there is none; `name` is the same for people.
    `params` belong to the header, not to the URI.
    """

    display: bytes
    uri: Uri
    params: Params

    @classmethod
    def parse(cls, value: bytes) -> NameAddr:
        """One address, not a list. ParseError for unbalanced quotes or brackets and for bad URIs."""
        return _remembered(value) if len(value) <= MAX_REMEMBERED_VALUE else _parse_address(value)

    def render(self) -> bytes:
        """The value with angle brackets, always."""
        display = self.display
        return b"%b<%b>%b" % (display + b" " if display else b"", self.uri.render(), render_params(self.params))

    def __bytes__(self) -> bytes:
        return self.render()

    def replace(self, **changes: Any) -> NameAddr:
        """A copy with some parts changed; `params` is copied too unless it is given."""
        changes.setdefault("params", dict(self.params))
        return replace(self, **changes)

    @property
    def name(self) -> str:
        """The display name as text for people, without quotes; what is not UTF-8 or not printable shows as U+FFFD."""
        return _CONTROL.sub("\ufffd", unquote(self.display).decode("utf-8", "replace"))

    @property
    def tag(self) -> bytes | None:
        """The tag of a From or To; None without one."""
        return self.params.get(b"tag")


def _parse_address(value: bytes) -> NameAddr:
    value = value.strip(BLANK)
    display = b""
    if value[:1] == b'"':
        end = quoted_end(value)
        display = value[:end]
        value = value[end:].lstrip(BLANK)
        if value[:1] != b"<":
            raise ParseError(b"Bad Address")
    opened = value.find(b"<")
    if opened < 0:
        # Without brackets everything from the first semicolon on is the header's (section 20), and a URI with
        # headers may not stand so.
        place, semicolon, tail = value.partition(b";")
        place = place.rstrip(BLANK)
        if QUESTION in place or COMMA in place:
            raise ParseError(b"Bad Address")
        return NameAddr(b"", parse_uri(place), parse_params(tail) if semicolon else {})
    if opened and not display:
        display = value[:opened].rstrip(BLANK)
        if _MISPLACED.search(display):
            raise ParseError(b"Bad Display Name")
    closed = value.find(b">", opened)
    if closed < 0:
        raise ParseError(b"Unbalanced Brackets")
    uri = parse_uri(value[opened + 1 : closed])
    tail = value[closed + 1 :].lstrip(BLANK)
    if not tail:
        return NameAddr(display, uri, {})
    if tail[:1] != b";":
        raise ParseError(b"Bad Address")
    return NameAddr(display, uri, parse_params(tail[1:]))


_remembered = lru_cache(MAX_REMEMBERED)(_parse_address)
_place = lru_cache(MAX_REMEMBERED)(parse_host_port)


@dataclass(slots=True)
class Via:
    """One Via value (RFC 3261 section 20.42); treat it as immutable. `transport` upper-case, `host` as on the wire."""

    transport: bytes
    host: bytes
    port: int | None
    params: Params

    @classmethod
    def parse(cls, value: bytes) -> Via:
        """One value, not a list. ParseError when malformed or not of SIP/2.0."""
        sent, semicolon, tail = value.partition(b";")
        protocol, _, place = sent.partition(b" ")
        transport = _PROTOCOLS.get(protocol)
        if transport is None or place[:1] == b"/":
            transport, place = _spaced_protocol(sent)
        place = place.strip(BLANK)
        host, port = _place(place) if len(place) <= MAX_REMEMBERED_VALUE else parse_host_port(place)
        return cls(transport, host, port, parse_params(tail) if semicolon else {})

    def render(self) -> bytes:
        """The value as it goes on the wire."""
        port = b"" if self.port is None else b":%d" % self.port
        return b"SIP/2.0/%b %b%b%b" % (self.transport, self.host, port, render_params(self.params))

    def __bytes__(self) -> bytes:
        return self.render()

    def replace(self, **changes: Any) -> Via:
        """A copy with some parts changed; `params` is copied too unless it is given."""
        changes.setdefault("params", dict(self.params))
        return replace(self, **changes)

    @property
    def branch(self) -> bytes:
        """The branch, empty when there is none (RFC 2543)."""
        return self.params.get(b"branch") or b""

    @property
    def received(self) -> bytes | None:
        """The address the request came from, as written by the next element."""
        return self.params.get(b"received")

    @property
    def rport(self) -> int | None:
        """The port the request came from (RFC 3581); None when absent or only asked for."""
        value = self.params.get(b"rport")
        return number(value, PORT_END, b"Via") if value else None

    @property
    def wants_rport(self) -> bool:
        """True when the sender asks for symmetric answers (RFC 3581 section 3)."""
        return b"rport" in self.params


def _spaced_protocol(sent: bytes) -> tuple[bytes, bytes]:
    """Transport and the rest of `SIP / 2.0 / UDP   host` with blanks anywhere, in odd case, of any transport."""
    name, _, rest = sent.partition(b"/")
    version, slash, rest = rest.partition(b"/")
    words = rest.replace(b"\t", b" ").strip(b" ").split(b" ", 1)
    if not slash or name.strip(BLANK).upper() != b"SIP" or version.strip(BLANK) != b"2.0" or len(words) < 2:
        raise ParseError(b"Bad Via")
    if not is_token(words[0]):
        raise ParseError(b"Bad Via")
    return words[0].upper(), words[1]


@dataclass(slots=True)
class CSeq:
    """Sequence number (0 … 2**31 - 1) and method. Shared between messages: treat it as immutable."""

    number: int
    method: bytes

    @classmethod
    def parse(cls, value: bytes) -> CSeq:
        """ParseError unless it is a number below 2**31, a blank and a token (RFC 3261 section 8.1.1.5)."""
        return _remembered_cseq(value) if len(value) <= MAX_REMEMBERED_VALUE else _parse_cseq(value)

    def render(self) -> bytes:
        """The value as it goes on the wire."""
        return b"%d %b" % (self.number, self.method)

    def __bytes__(self) -> bytes:
        return self.render()


def _parse_cseq(value: bytes) -> CSeq:
    words = value.split()
    if len(words) != 2 or (words[1] not in _METHODS and not is_token(words[1])):
        raise ParseError(b"Bad CSeq")
    return CSeq(number(words[0], CSEQ_END, b"CSeq"), words[1])


_remembered_cseq = lru_cache(MAX_REMEMBERED)(_parse_cseq)
