"""Scanning below the header level: tokens, numbers, lists and parameters. All of it takes linear time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sbc.sip.errors import ParseError
from sbc.sip.limits import MAX_DIGITS

#: What separates words inside a header value once folding is undone.
BLANK: Final = b" \t"

# Octets that are looked for, by their numbers: for `b"," in value` Python makes an exception and drops it again before
# it looks, which takes fifty times as long.
CR: Final = 0x0D
LF: Final = 0x0A
QUOTE: Final = 0x22
PERCENT: Final = 0x25
COMMA: Final = 0x2C
COLON: Final = 0x3A
ANGLE: Final = 0x3C
QUESTION: Final = 0x3F
AT: Final = 0x40
BACKSLASH: Final = 0x5C

TOKEN: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~"
HOST: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
IPV6: Final = b"0123456789abcdefABCDEF:."
PORT_END: Final = 65_536

# One character per match and no repetition: a scan over them cannot backtrack.
_MARKS: Final = re.compile(rb'["\\<>,]')
_MARKS_SEMICOLON: Final = re.compile(rb'["\\<>;]')
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)

#: Parameters in their order. Parsed values are shared between messages: whoever wants others makes another mapping.
Params = Mapping[bytes, bytes | None]


def is_token(value: bytes) -> bool:
    """True for a non-empty `token` of RFC 3261 section 25.1."""
    return bool(value) and not value.translate(None, TOKEN)


def unfold(value: bytes) -> bytes:
    """Undo line folding: a line end with the blanks around it is one space (RFC 3261 section 7.3.1)."""
    return b" ".join([part.strip(BLANK) for part in value.split(b"\r\n")])


def number(value: bytes, end: int, what: bytes) -> int:
    """The decimal number `value`, 0 <= number < end. ParseError naming `what` otherwise."""
    if value.isdigit():
        if len(value) > MAX_DIGITS:
            value = value.lstrip(b"0") or b"0"
        if len(value) <= MAX_DIGITS:
            result = int(value)
            if result < end:
                return result
    raise ParseError(b"Bad " + what)


def split_commas(value: bytes) -> list[bytes]:
    """The members of a comma separated list, trimmed, empty ones left out.

    Commas inside quoted strings and inside <> do not separate. What is never closed reaches to the end of the value.
    """
    if COMMA not in value:
        value = value.strip(BLANK)
        return [value] if value else []
    if QUOTE not in value and ANGLE not in value:
        pieces = value.split(b",")
    else:
        pieces = _split_outside(value, _MARKS, b",")
    return [trimmed for piece in pieces if (trimmed := piece.strip(BLANK))]


def split_semicolons(value: bytes) -> list[bytes]:
    """The same for semicolons; members are neither trimmed nor left out."""
    if QUOTE not in value and ANGLE not in value:
        return value.split(b";")
    return _split_outside(value, _MARKS_SEMICOLON, b";")


def _split_outside(value: bytes, marks: re.Pattern[bytes], separator: bytes) -> list[bytes]:
    pieces = []
    start = 0
    quoted = angled = False
    escaped = -1  # position of a character behind a backslash
    for match in marks.finditer(value):
        mark = match.group()
        at = match.start()
        if quoted:
            if at == escaped:
                continue
            if mark == b"\\":
                escaped = at + 1
            elif mark == b'"':
                quoted = False
        elif angled:
            angled = mark != b">"
        elif mark == b'"':
            quoted = True
        elif mark == b"<":
            angled = True
        elif mark == separator:
            pieces.append(value[start:at])
            start = at + 1
    pieces.append(value[start:])
    return pieces


def quoted_end(value: bytes, start: int = 0) -> int:
    """Index behind the quoted string that begins at `start` (which is its opening quote). ParseError when unclosed."""
    at = start + 1
    while True:
        at = value.find(b'"', at)
        if at < 0:
            raise ParseError(b"Unbalanced Quotes")
        slashes = at - 1
        while value[slashes] == 0x5C and slashes > start:
            slashes -= 1
        if (at - slashes) % 2:
            return at + 1
        at += 1


def unquote(value: bytes) -> bytes:
    """The content of a quoted string, escapes undone; anything else is returned as it is."""
    if len(value) >= 2 and value[:1] == b'"' and value[-1:] == b'"':
        value = value[1:-1]
        if BACKSLASH in value:
            value = _QUOTED_PAIR.sub(rb"\1", value)
    return value


def quote(value: bytes) -> bytes:
    """`value` as a quoted string; line ends, which cannot be said in one, become blanks."""
    escaped = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\r", b" ").replace(b"\n", b" ")
    return b'"' + escaped + b'"'


def parse_params(text: bytes) -> Params:
    """Parameters from what stands behind the first semicolon.

    Names are lower-case; values as on the wire, quotes included; None for a parameter without "=". Of a name given
    twice the first counts. One semicolon too many at the end is forgiven, anywhere else it is a ParseError.
    """
    params: dict[bytes, bytes | None] = {}
    pieces = text.split(b";") if QUOTE not in text else split_semicolons(text)
    last = len(pieces) - 1
    for index, piece in enumerate(pieces):
        name, equals, value = piece.partition(b"=")
        name = name.strip(BLANK).lower()
        if not name:
            if index == last and not equals:
                break
            raise ParseError(b"Empty Parameter")
        if equals:
            value = value.strip(BLANK)
            if value[:1] == b'"' and quoted_end(value) != len(value):
                raise ParseError(b"Unbalanced Quotes")
            params.setdefault(name, value)
        else:
            params.setdefault(name, None)
    return params


def render_params(params: Params) -> bytes:
    """`;name=value;flag` in the order of the mapping; empty for no parameters."""
    if not params:
        return b""
    return b"".join([b";" + name if value is None else b";%b=%b" % (name, value) for name, value in params.items()])


def parse_host_port(text: bytes) -> tuple[bytes, int | None]:
    """`host[:port]`; an IPv6 reference keeps its brackets. ParseError for anything else."""
    if text[:1] == b"[":
        host, closed, rest = text.partition(b"]")
        if not closed or len(host) < 3 or host[1:].translate(None, IPV6) or COLON not in host:
            raise ParseError(b"Bad IPv6 Reference")
        host += b"]"
        rest = rest.strip(BLANK)
        if not rest:
            return host, None
        if rest[:1] != b":":
            raise ParseError(b"Bad Host")
        return host, number(rest[1:].strip(BLANK), PORT_END, b"Port")
    host, colon, port = text.partition(b":")
    if colon:
        host = host.rstrip(BLANK)
        if not host or host.translate(None, HOST):
            raise ParseError(b"Bad Host")
        return host, number(port.strip(BLANK), PORT_END, b"Port")
    if not host or host.translate(None, HOST):
        raise ParseError(b"Bad Host")
    return host, None
