"""STUN messages as ICE uses them (RFC 8489, RFC 8445): reading requests, writing responses.  [pure]"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from ipaddress import IPv6Address
from struct import Struct
from zlib import crc32

from sbc.media.sdp import literal

COOKIE = 0x2112A442
#: Type, length, magic cookie; the transaction id of 12 bytes follows.
_HEADER = Struct("!HHI")
HEADER_SIZE = 20
_ATTRIBUTE = Struct("!HH")
_WORD = Struct("!I")

#: Bytes of a message; a connectivity check has some 100.
MAX_MESSAGE = 1500
#: Attributes of a message; a connectivity check has some 8.
MAX_ATTRIBUTES = 32

BINDING_REQUEST, BINDING_INDICATION, BINDING_SUCCESS, BINDING_ERROR = 0x0001, 0x0011, 0x0101, 0x0111

USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, UNKNOWN_ATTRIBUTES = 0x0006, 0x0008, 0x0009, 0x000A
XOR_MAPPED_ADDRESS, PRIORITY, USE_CANDIDATE = 0x0020, 0x0024, 0x0025
FINGERPRINT, ICE_CONTROLLED, ICE_CONTROLLING = 0x8028, 0x8029, 0x802A
_INTEGRITY_SIZE = 24
_FINGERPRINT_SIZE = 8
_FINGERPRINT_XOR = 0x5354554E
#: Below it are the attributes that a receiver must understand.
_OPTIONAL = 0x8000
_KNOWN = frozenset({USERNAME, MESSAGE_INTEGRITY, PRIORITY, USE_CANDIDATE, 0x0001, 0x0014, 0x0015, XOR_MAPPED_ADDRESS})


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is whole and whose FINGERPRINT is right: the first attribute of each kind up to MESSAGE-INTEGRITY
    (what follows it is not protected, so it is not there), and what the integrity is computed over."""

    kind: int
    transaction: bytes
    attributes: dict[int, bytes]
    covered: bytes

    def has(self, kind: int) -> bool:
        """Whether it has an attribute."""
        return kind in self.attributes

    @property
    def unknown(self) -> list[int]:
        """Attributes that must be understood and are not."""
        return [kind for kind in self.attributes if kind < _OPTIONAL and kind not in _KNOWN]

    def authentic(self, password: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is there and was made with this password (short-term credentials)."""
        tag = self.attributes.get(MESSAGE_INTEGRITY)
        return tag is not None and hmac.compare_digest(_integrity(self.covered, password), tag)


def parse(data: bytes) -> Message | None:
    """The message, or None for anything that is not one with a right FINGERPRINT, which ICE demands: whatever else came
    to the port gets no answer. Never raises."""
    size = len(data)
    if not HEADER_SIZE + _FINGERPRINT_SIZE <= size <= MAX_MESSAGE or size % 4:
        return None
    kind, length, cookie = _HEADER.unpack_from(data)
    if kind > 0x3FFF or length != size - HEADER_SIZE or cookie != COOKIE:
        return None
    attributes: dict[int, bytes] = {}
    covered = b""
    place, seen = HEADER_SIZE, 0
    while place + 4 <= size:
        name, count = _ATTRIBUTE.unpack_from(data, place)
        end = place + 4 + count
        seen += 1
        if end > size or seen > MAX_ATTRIBUTES:
            return None
        if name == FINGERPRINT:
            if end != size or count != 4:
                return None
            return Message(kind, data[8:20], attributes, covered) if _sealed(data, place) else None
        if MESSAGE_INTEGRITY not in attributes:
            if name == MESSAGE_INTEGRITY:
                covered = data[:2] + (place + _INTEGRITY_SIZE - HEADER_SIZE).to_bytes(2, "big") + data[4:place]
            attributes.setdefault(name, data[place + 4 : end])
        place = end + -count % 4
    return None


def success(request: Message, host: str, port: int, password: bytes) -> bytes:
    """The response to a check that came from this address."""
    return _render(BINDING_SUCCESS, request.transaction, [(XOR_MAPPED_ADDRESS, _xor(host, port, request))], password)


def error(request: Message, code: int, reason: bytes, password: bytes | None = None) -> bytes:
    """An error response; signed where the request was authentic. 420 names what was not understood."""
    attributes = [(ERROR_CODE, bytes((0, 0, code // 100, code % 100)) + reason)]
    if code == 420:
        attributes.append((UNKNOWN_ATTRIBUTES, b"".join(kind.to_bytes(2, "big") for kind in request.unknown)))
    return _render(BINDING_ERROR, request.transaction, attributes, password)


def request(transaction: bytes, attributes: list[tuple[int, bytes]], password: bytes) -> bytes:
    """A Binding request; for who plays the other part."""
    return _render(BINDING_REQUEST, transaction, attributes, password)


def _render(kind: int, transaction: bytes, attributes: list[tuple[int, bytes]], password: bytes | None) -> bytes:
    body = b"".join(_ATTRIBUTE.pack(name, len(value)) + value + bytes(-len(value) % 4) for name, value in attributes)
    if password is not None:
        start = _HEADER.pack(kind, len(body) + _INTEGRITY_SIZE, COOKIE) + transaction + body
        body += _ATTRIBUTE.pack(MESSAGE_INTEGRITY, 20) + _integrity(start, password)
    start = _HEADER.pack(kind, len(body) + _FINGERPRINT_SIZE, COOKIE) + transaction + body
    return start + _ATTRIBUTE.pack(FINGERPRINT, 4) + _WORD.pack(crc32(start) ^ _FINGERPRINT_XOR)


def _integrity(covered: bytes, password: bytes) -> bytes:
    return hmac.new(password, covered, hashlib.sha1).digest()


def _sealed(data: bytes, place: int) -> bool:
    (value,) = _WORD.unpack_from(data, place + 4)
    return bool(value == crc32(data[:place]) ^ _FINGERPRINT_XOR)


def _xor(host: str, port: int, request: Message) -> bytes:
    """The value of XOR-MAPPED-ADDRESS."""
    address = literal(host.partition("%")[0])
    packed = b"" if address is None else address.packed
    mask = COOKIE.to_bytes(4, "big") + request.transaction
    family = 2 if isinstance(address, IPv6Address) else 1
    hidden = bytes(byte ^ other for byte, other in zip(packed, mask, strict=False))
    return bytes((0, family)) + (port ^ (COOKIE >> 16)).to_bytes(2, "big") + hidden
