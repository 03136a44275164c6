"""Messages of rtnetlink, as the kernel sends and wants them."""

from __future__ import annotations

from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from sbc.media.kernel import rtnetlink
from sbc.media.kernel.ipsec import Policies
from sbc.media.kernel.rtnetlink import Interface, Route


def attribute(kind: int, value: bytes) -> bytes:
    return pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes) -> bytes:
    return pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link(*, kind: int = 1, index: int = 2, flags: int = 0x41, more: bytes = b"") -> bytes:
    return pack("=BxHiII", 0, kind, index, flags, 0) + attribute(3, b"eth0\0") + attribute(4, pack("=I", 1500)) + more


def test_interfaces() -> None:
    assert rtnetlink.interface(link()) == Interface(2, "eth0", 1500, ethernet=True, running=True, enslaved=False)
    assert rtnetlink.interface(link(more=attribute(10, pack("=I", 5)))).enslaved
    assert not rtnetlink.interface(link(flags=0x01)).running, "up, but without its cable"
    assert not rtnetlink.interface(link(flags=0x40)).running
    assert not rtnetlink.interface(link(kind=0xFFFE)).ethernet, "a tunnel"
    assert not rtnetlink.interface(link(kind=772, flags=0x49)).ethernet, "loopback"


def route(kind: int = 1, *attributes: bytes) -> bytes:
    return message(24, pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 0, 0, kind, 0) + b"".join(attributes))


def test_routes() -> None:
    out = attribute(4, pack("=I", 3))
    assert rtnetlink.route(route(1, out)) == Route(3, 0, "")
    metrics = attribute(8, attribute(2, pack("=I", 1280)))
    assert rtnetlink.route(route(1, out, metrics)) == Route(3, 1280, "")
    assert rtnetlink.route(route(1, out, attribute(5, bytes([192, 0, 2, 1])))) == Route(3, 0, "192.0.2.1")
    over_six = attribute(18, pack("=H", 10) + bytes.fromhex("fe80") + bytes(13) + b"\1")
    assert rtnetlink.route(route(1, out, over_six)) == Route(3, 0, "fe80::1")
    assert rtnetlink.route(route(2, out)) is None, "local"
    assert rtnetlink.route(route(5, out)) is None, "multicast"
    assert rtnetlink.route(route(1)) is None
    assert rtnetlink.route(message(2, pack("=i", -101))) is None, "unreachable"


def test_a_question_names_both_addresses() -> None:
    asked = rtnetlink.ask_route("192.0.2.9", "198.51.100.1")
    assert asked[4:6] == pack("=H", 26)
    assert asked[16:19] == bytes([2, 32, 32])
    assert asked.endswith(attribute(1, bytes([192, 0, 2, 9])) + attribute(2, bytes([198, 51, 100, 1])))
    assert len(rtnetlink.ask_route("2001:db8::1", "2001:db8::2")) == int.from_bytes(asked[:1], "little") + 24


def test_acknowledgements_and_errors() -> None:
    assert rtnetlink.failure(pack("=i", 0)) == 0
    assert rtnetlink.failure(pack("=i", -17) + bytes(16)) == 17


@given(st.binary(max_size=200))
def test_garbage_ends(data: bytes) -> None:
    assert len(list(rtnetlink.messages(data))) <= len(data) // 16


def test_policies_of_ipsec() -> None:
    """Numbered as the kernel numbers them; the first word of what follows the selector and the limits."""

    def policy(number: int, direction: int = 1) -> bytes:
        return bytes(156) + pack("=IBBBBxxxx", number, direction, 0, 0, 0)

    def deleted(number: int) -> bytes:
        return bytes(64) + attribute(7, policy(number))

    policies = Policies.__new__(Policies)
    policies._out, policies._missed = set(), False
    for kind, body, encrypt in (
        (0x13, policy(8, 0), False),  # for what comes in
        (0x13, policy(9), True),
        (0x13, policy(17), True),
        (0x14, deleted(9), True),
        (0x14, deleted(8), True),
        (0x14, bytes(64), True),  # says nothing
        (0x14, deleted(17), False),
        (0x19, policy(25), True),
        (0x1B, policy(25) + bytes(8), True),  # its soft limit
        (0x1B, policy(25) + b"\1" + bytes(7), False),
        (0x13, policy(9), True),
        (0x1D, attribute(16, bytes(4)), False),
        (0x13, b"\0" * 20, False),
    ):
        policies.told(kind, body)
        assert policies.encrypt is encrypt, (hex(kind), body)
