"""The STUN keep-alive of UDP flows (RFC 5626 3.5.2, 8): a Binding request on the SIP port is answered. Pure.

Nothing else of STUN is spoken here; the answer is at most twelve (IPv6: 24) octets longer than the shortest question,
so that nobody gains from forging one.
"""

from ipaddress import ip_address
from struct import pack, unpack_from

MAGIC = 0x2112A442
_BINDING, _SUCCESS, _XOR_MAPPED_ADDRESS = 0x0001, 0x0101, 0x0020
_HEADER = 20


def binding_answer(data: bytes, host: str, port: int) -> bytes | None:
    """The success response to a Binding request that came from `host` and `port`; None when `data` is none."""
    if len(data) < _HEADER:
        return None
    kind, length, magic = unpack_from("!HHI", data)
    if kind != _BINDING or magic != MAGIC or length % 4 or length != len(data) - _HEADER:
        return None
    address = ip_address(host).packed
    key = data[4:_HEADER]  # magic cookie and transaction id (RFC 5389 15.2)
    hidden = bytes(one ^ other for one, other in zip(address, key, strict=False))
    family = 1 if len(address) == 4 else 2
    value = pack("!BBH", 0, family, port ^ (MAGIC >> 16)) + hidden
    return pack("!HH", _SUCCESS, len(value) + 4) + key + pack("!HH", _XOR_MAPPED_ADDRESS, len(value)) + value
