"""SIP and SIPS URIs (RFC 3261 section 19.1), and just enough of the other schemes to pass them on."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from sbc.sip.errors import ParseError
from sbc.sip.limits import MAX_REMEMBERED, MAX_REMEMBERED_VALUE
from sbc.sip.scan import AT, COLON, PERCENT, QUESTION, Params, is_token, parse_host_port, parse_params, render_params

_SCHEME: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-."
#: Never inside a URI: controls, blanks, and what would end the angle brackets or a quoted string around it.
_FORBIDDEN: Final = bytes(range(0x21)) + b'\x7f<>"'
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f%\udc80-\udcff]")
_ESCAPED: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
#: What means the same escaped or not (RFC 3986 section 2.3), beside letters and digits.
_UNRESERVED: Final = b"-_.!~*'()"
#: What may stand unescaped in the user part (RFC 3261 `user`), beside letters and digits.
_USER: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()&=+$,;?/")

#: Parameters that must stand in both URIs or in none to be the same (section 19.1.4; transport after its examples).
_TELLING: Final = (b"user", b"ttl", b"method", b"maddr", b"transport")


@dataclass(slots=True)
class Uri:
    """One URI in parts. Shared between messages: treat it as immutable, `replace` makes another.

    `scheme` is lower-case. For sip and sips: `user` and `password` as on the wire (escapes kept) or None, `host` as on
    the wire (an IPv6 reference with its brackets), `port` or None, `params` with lower-case names, needless escapes in
    them undone, and raw values, `headers` what stands behind "?" or None. For tel: `user` is the number, `host` empty,
    `params`. For any other scheme `host` is all that follows the colon and the rest is empty.
    """

    scheme: bytes
    user: bytes | None
    password: bytes | None
    host: bytes
    port: int | None
    params: Params
    headers: bytes | None

    @classmethod
    def parse(cls, raw: bytes) -> Uri:
        """The parts of `raw`. ParseError when it is no URI, or a sip URI without a proper host."""
        return _remembered(raw) if len(raw) <= MAX_REMEMBERED_VALUE else parse_uri(raw)

    def render(self) -> bytes:
        """The URI as it goes on the wire, without angle brackets."""
        if self.scheme == b"tel":
            return b"tel:%b%b" % (self.user or b"", render_params(self.params))
        out = self.scheme + b":"
        if self.user is not None:
            out += self.user
            if self.password is not None:
                out += b":" + self.password
            out += b"@"
        out += self.host
        if self.port is not None:
            out += b":%d" % self.port
        if self.params:
            out += render_params(self.params)
        if self.headers is not None:
            out += b"?" + self.headers
        return out

    def __bytes__(self) -> bytes:
        return self.render()

    def replace(self, **changes: Any) -> Uri:
        """A copy with some parts changed; `params` is copied too unless it is given."""
        changes.setdefault("params", dict(self.params))
        return replace(self, **changes)

    @property
    def is_sip(self) -> bool:
        """True for sip and sips."""
        return self.scheme == b"sip" or self.scheme == b"sips"

    @property
    def secure(self) -> bool:
        """True for sips."""
        return self.scheme == b"sips"

    @property
    def username(self) -> str:
        """The user part as text, escapes undone: the key under which a user is known.

        Control characters, "%" and bytes that are not UTF-8 stay escaped (upper-case hex), so that different users
        never share a name and the text is safe in a database, in a log and on a page. Empty when there is no user.
        """
        user = self.user
        if user is None:
            return ""
        if PERCENT not in user and is_token(user):
            return user.decode("ascii")
        text = unquote_to_bytes(user).decode("utf-8", "surrogateescape")
        return _UNSAFE.sub(lambda bad: f"%{ord(bad.group()) & 0xFF:02X}", text)

    @property
    def address(self) -> str:
        """The host as lower-case text without brackets, as a resolver wants it."""
        return self.host.strip(b"[]").decode("latin-1").lower()

    @property
    def transport(self) -> bytes | None:
        """The transport parameter in lower case, escapes undone, or None."""
        value = self.params.get(b"transport")
        if value and PERCENT in value:
            value = unquote_to_bytes(value)
        return value.lower() if value else None

    @property
    def loose(self) -> bool:
        """True when it carries `lr`, as every route of a loose router does."""
        return b"lr" in self.params


def parse_uri(raw: bytes) -> Uri:
    """`Uri.parse` without memory."""
    scheme, colon, rest = raw.partition(b":")
    if len(raw.translate(None, _FORBIDDEN)) != len(raw) or not colon:
        raise ParseError(b"Bad URI")
    if scheme != b"sip" and scheme != b"sips":
        scheme = scheme.lower()
        if not scheme[:1].isalpha() or scheme.translate(None, _SCHEME):
            raise ParseError(b"Bad URI Scheme")
        if scheme == b"tel":
            user, semicolon, tail = rest.partition(b";")
            return Uri(scheme, user, None, b"", None, parse_params(tail) if semicolon else {}, None)
        if scheme != b"sip" and scheme != b"sips":
            if not rest:
                raise ParseError(b"Bad URI")
            return Uri(scheme, None, None, rest, None, {}, None)
    name: bytes | None = None
    password: bytes | None = None
    headers: bytes | None = None
    if AT in rest:
        name, _, rest = rest.partition(b"@")
        if COLON in name:
            name, _, password = name.partition(b":")
        if not name:
            raise ParseError(b"Bad URI")
    if QUESTION in rest:
        rest, _, headers = rest.partition(b"?")
    place, semicolon, tail = rest.partition(b";")
    host, port = parse_host_port(place)
    params = parse_params(tail) if semicolon else {}
    if PERCENT in tail:
        params = {_ESCAPED.sub(_needless, each).lower(): value for each, value in params.items()}
    return Uri(scheme, name, password, host, port, params, headers)


def _needless(escape: re.Match[bytes]) -> bytes:
    """The character that need not have been escaped, else the escape as it is."""
    character = unquote_to_bytes(escape.group())
    return character if character.isalnum() or character in _UNRESERVED else escape.group()


_remembered = lru_cache(MAX_REMEMBERED)(parse_uri)


def escape_user(name: str) -> bytes:
    """The user part that says `name`, everything escaped that may not stand there; turns `Uri.username` back."""
    out = bytearray()
    raw = name.encode("utf-8", "surrogateescape")
    at = 0
    while at < len(raw):
        byte = raw[at]
        if byte in _USER:
            out.append(byte)
        elif byte == 0x25 and len(raw[at + 1 : at + 3].strip(b"0123456789ABCDEF")) == 0 and at + 2 < len(raw):
            out += raw[at : at + 3]  # `username` left this one escaped
            at += 2
        else:
            out += b"%%%02X" % byte
        at += 1
    return bytes(out)


def same(one: Uri, other: Uri) -> bool:
    """True when both name the same resource by the rules of RFC 3261 section 19.1.4."""
    if one.scheme != other.scheme or one.port != other.port or one.host.lower() != other.host.lower():
        return False
    if _plain(one.user) != _plain(other.user) or _plain(one.password) != _plain(other.password):
        return False
    for name in _TELLING:
        if (name in one.params) != (name in other.params):
            return False
    for name, value in one.params.items():
        if name in other.params and _plain(value, fold=True) != _plain(other.params[name], fold=True):
            return False
    return _header_set(one.headers) == _header_set(other.headers)


def _plain(part: bytes | None, *, fold: bool = False) -> bytes | None:
    if part is None:
        return None
    part = unquote_to_bytes(part)
    return part.lower() if fold else part


def _header_set(headers: bytes | None) -> list[tuple[bytes, bytes]]:
    if not headers:
        return []
    pairs = (pair.partition(b"=") for pair in headers.split(b"&"))
    return sorted((unquote_to_bytes(name).lower(), unquote_to_bytes(value)) for name, _, value in pairs)
