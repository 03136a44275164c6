"""PROXY protocol version 2, as balancers put it in front of a connection (HAProxy's PROXY protocol, section 2.2). Pure.

Only version 2 is read, and only from networks the operator trusts: the header names the true source, and whoever may
write it may take any address.
"""

from ipaddress import IPv4Address, IPv6Address
from struct import unpack_from

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_HEAD = 16
_LOCAL, _PROXY = 0x0, 0x1
_INET, _INET6 = 0x1, 0x2
_STREAM = 0x1
MAX_HEADER_BYTES = 2_048
"""Longest header taken; addresses need 52 bytes, the rest are extensions that we skip."""


class Preamble:
    """Reads the header from the first bytes of a connection."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen = b""

    def feed(self, data: bytes) -> tuple[tuple[str, int] | None, bytes] | None:
        """None while the header is incomplete; then (source or None, the bytes after the header).

        No source means that the balancer speaks for itself (a health check). Raises ValueError when this is no header.
        """
        self._seen = seen = self._seen + data
        if not seen.startswith(SIGNATURE[: len(seen)]):
            raise ValueError("no PROXY signature")
        if len(seen) < _HEAD:
            return None
        version_command, family_protocol, length = unpack_from("!BBH", seen, len(SIGNATURE))
        if version_command >> 4 != 2 or length > MAX_HEADER_BYTES:
            raise ValueError("not PROXY version 2, or too long")
        if len(seen) < _HEAD + length:
            return None
        addresses, rest = seen[_HEAD : _HEAD + length], seen[_HEAD + length :]
        command = version_command & 0x0F
        if command == _LOCAL:
            return None, rest
        if command != _PROXY or family_protocol & 0x0F != _STREAM:
            raise ValueError("not a proxied stream")
        return _source(family_protocol >> 4, addresses), rest


def _source(family: int, addresses: bytes) -> tuple[str, int]:
    if family == _INET and len(addresses) >= 12:
        return str(IPv4Address(addresses[:4])), int(unpack_from("!H", addresses, 8)[0])
    if family == _INET6 and len(addresses) >= 36:
        return str(IPv6Address(addresses[:16])), int(unpack_from("!H", addresses, 32)[0])
    raise ValueError("no address in the PROXY header")
