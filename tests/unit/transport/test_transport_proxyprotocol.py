"""The header that balancers put in front of a connection."""

import pytest

from sbc.transport.proxyprotocol import SIGNATURE, Preamble

IPV4 = SIGNATURE + bytes.fromhex("2111000c") + bytes([203, 0, 113, 9, 192, 0, 2, 1]) + bytes.fromhex("c35113c4")
IPV6 = (
    SIGNATURE
    + bytes.fromhex("21210024")
    + bytes.fromhex("20010db8" + "00" * 11 + "09")
    + bytes(16)
    + bytes.fromhex("c35113c4")
)
LOCAL = SIGNATURE + bytes.fromhex("20000000")


@pytest.mark.parametrize(
    ("header", "source"), [(IPV4, ("203.0.113.9", 50001)), (IPV6, ("2001:db8::9", 50001)), (LOCAL, None)]
)
def test_the_true_source_is_read_however_the_bytes_come(header: bytes, source: tuple[str, int] | None) -> None:
    assert Preamble().feed(header + b"rest") == (source, b"rest")
    slow = Preamble()
    for octet in header[:-1]:
        assert slow.feed(bytes([octet])) is None
    assert slow.feed(header[-1:]) == (source, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"OPTIONS sip:a@b SIP/2.0\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        SIGNATURE + bytes.fromhex("1111000c"),
        SIGNATURE + bytes.fromhex("2111ffff"),
        SIGNATURE + bytes.fromhex("21110004") + bytes(4),
        SIGNATURE + bytes.fromhex("2112000c") + bytes(12),
        SIGNATURE + bytes.fromhex("2131000c") + bytes(12),
    ],
)
def test_anything_else_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Preamble().feed(data)
