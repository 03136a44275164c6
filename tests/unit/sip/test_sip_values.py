"""Addresses, Via, CSeq and the lists they stand in."""

from __future__ import annotations

import pytest

from sbc.sip import CSeq, NameAddr, ParseError, Via, split_commas
from sbc.sip.scan import parse_params, quote, unquote


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"", []),
        (b"  ", []),
        (b"a", [b"a"]),
        (b" a , b,, c ,", [b"a", b"b", b"c"]),
        (b'"a,b" <sip:x>, <sip:y,z@h>', [b'"a,b" <sip:x>', b"<sip:y,z@h>"]),
        (b'"a\\",b", c', [b'"a\\",b"', b"c"]),
        (b'"a\\\\", b', [b'"a\\\\"', b"b"]),
        (b'<sip:a>;x="<,", b', [b'<sip:a>;x="<,"', b"b"]),
        (b'"never closed, a, b', [b'"never closed, a, b']),
        (b"<never closed, a", [b"<never closed, a"]),
    ],
)
def test_comma_lists(value: bytes, members: list[bytes]) -> None:
    assert split_commas(value) == members


@pytest.mark.parametrize(
    ("value", "display", "uri", "params"),
    [
        (b"<sip:a@b>", b"", b"sip:a@b", {}),
        (b"Anna <sip:a@b>", b"Anna", b"sip:a@b", {}),
        (b"Anna Example<sip:a@b>;x", b"Anna Example", b"sip:a@b", {b"x": None}),
        (b'"A, \\"B\\" <c>"<sip:a@b;p=1>;tag=2', b'"A, \\"B\\" <c>"', b"sip:a@b;p=1", {b"tag": b"2"}),
        (b"sip:a@b;tag=2", b"", b"sip:a@b", {b"tag": b"2"}),
        (b"sip:a@b ; TAG=2", b"", b"sip:a@b", {b"tag": b"2"}),
        (b'<sip:a@b> ; q=0.5;+sip.instance="<urn:uuid:1;2,3>"', b"", b"sip:a@b", None),
        (b"<tel:+4930123;phone-context=x>;tag=1", b"", b"tel:+4930123;phone-context=x", {b"tag": b"1"}),
        (b"J\xc3\xbcrgen <sip:j@b>", b"J\xc3\xbcrgen", b"sip:j@b", {}),
        (b"<sip:a@[2001:db8::1]:5060>", b"", b"sip:a@[2001:db8::1]:5060", {}),
    ],
)
def test_addresses(value: bytes, display: bytes, uri: bytes, params: dict[bytes, bytes | None] | None) -> None:
    address = NameAddr.parse(value)
    assert (address.display, address.uri.render()) == (display, uri)
    if params is not None:
        assert address.params == params
    again = NameAddr.parse(address.render())
    assert again == address


def test_quoted_parameters_keep_their_quotes() -> None:
    address = NameAddr.parse(b'<sip:a@b>;+sip.instance="<urn:uuid:1;2,3>";reg-id=1')
    assert address.params == {b"+sip.instance": b'"<urn:uuid:1;2,3>"', b"reg-id": b"1"}
    assert unquote(address.params[b"+sip.instance"] or b"") == b"<urn:uuid:1;2,3>"


def test_names_for_people() -> None:
    assert NameAddr.parse(b'"Zo\xc3\xab \\"Z\\"" <sip:z@b>').name == 'Zoë "Z"'
    assert NameAddr.parse(b'"\xff\\\x00" <sip:z@b>').name == "\ufffd\ufffd"
    assert NameAddr.parse(b"<sip:z@b>").name == ""


def test_replace_makes_another() -> None:
    address = NameAddr.parse(b"<sip:a@b>;tag=1")
    other = address.replace(display=b'"X"', params={**address.params, b"tag": b"2"})
    assert address.tag == b"1"
    assert other.render() == b'"X" <sip:a@b>;tag=2'


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"<sip:a@b",
        b'"open <sip:a@b>',
        b'"closed" sip:a@b',
        b"<sip:a@b> trailing",
        b"< sip:a@b>",
        b"<sip:a b@c>",
        b"sip:a@b?Route=x",
        b"sip:a@b,sip:c@d",
        b"Doe, John <sip:a@b>",
        b"<sip:a@b>;;tag=1",
        b"<sip:a@b>;=1",
        b'<sip:a@b>;x="open',
        b"<>",
        b"*",
        b"<sip:a@b:port>",
    ],
)
def test_bad_addresses(value: bytes) -> None:
    with pytest.raises(ParseError):
        NameAddr.parse(value)


@pytest.mark.parametrize(
    ("value", "transport", "host", "port", "branch"),
    [
        (b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1", b"UDP", b"192.0.2.1", 5060, b"z9hG4bK1"),
        (b"SIP/2.0/wss x.invalid;branch=z9hG4bK1;rport", b"WSS", b"x.invalid", None, b"z9hG4bK1"),
        (
            b"SIP / 2.0 / UDP \t first.example.com : 4000 ; ttl=16 ;branch = z9hG4bK1",
            b"UDP",
            b"first.example.com",
            4000,
            None,
        ),
        (b"sip/2.0/tcp [2001:db8::1]:5061;branch=z9hG4bK1", b"TCP", b"[2001:db8::1]", 5061, b"z9hG4bK1"),
        (b"SIP/2.0/UDP h", b"UDP", b"h", None, b""),
        (b"SIP/2.0/TLS-SCTP h", b"TLS-SCTP", b"h", None, b""),
    ],
)
def test_vias(value: bytes, transport: bytes, host: bytes, port: int | None, branch: bytes | None) -> None:
    via = Via.parse(value)
    assert (via.transport, via.host, via.port) == (transport, host, port)
    if branch is not None:
        assert via.branch == branch
    assert Via.parse(via.render()) == via


def test_via_source() -> None:
    via = Via.parse(b"SIP/2.0/UDP 10.0.0.1;rport=4711;received=192.0.2.1;branch=z9hG4bK1")
    assert (via.received, via.rport, via.wants_rport) == (b"192.0.2.1", 4711, True)
    assert Via.parse(b"SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1").rport is None
    with pytest.raises(ParseError):
        _ = Via.parse(b"SIP/2.0/UDP 10.0.0.1;rport=x").rport


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"SIP/2.0/UDP",
        b"SIP/2.0/UDP ",
        b"SIP/2.0 h",
        b"SIP/7.0/UDP h",
        b"HTTP/2.0/UDP h",
        b"SIP/2.0/ h",
        b"SIP/2.0/UDP h h",
        b"SIP/2.0/UDP h:65536",
        b"SIP/2.0/UDP h:-1",
        b"SIP/2.0/UDP [::1",
        b"SIP/2.0/UDP [g::1]",
        b"SIP/2.0/UDP [::1]x",
        b"SIP/2.0/UDP /h",
        b"SIP/2.0/UDP h;;branch=x",
    ],
)
def test_bad_vias(value: bytes) -> None:
    with pytest.raises(ParseError):
        Via.parse(value)


def test_cseq() -> None:
    assert CSeq.parse(b"0009 \t INVITE") == CSeq(9, b"INVITE")
    assert CSeq.parse(b"2147483647 BYE").render() == b"2147483647 BYE"
    assert CSeq.parse(b"1 X!") == CSeq(1, b"X!")
    for bad in (b"2147483648 BYE", b"-1 BYE", b"1", b"BYE", b"1 BYE x", b"1.0 BYE", b"1 B;E", b"1_0 BYE", b""):
        with pytest.raises(ParseError):
            CSeq.parse(bad)


def test_parameters() -> None:
    assert parse_params(b"A=1; b ;c = ") == {b"a": b"1", b"b": None, b"c": b""}
    assert parse_params(b"a=1;a=2") == {b"a": b"1"}
    assert parse_params(b"a=1;") == {b"a": b"1"}
    assert parse_params(b'a="x;y";b') == {b"a": b'"x;y"', b"b": None}


def test_quoting_goes_both_ways() -> None:
    for text in (b"", b"plain", b'with "quotes" and \\', b"\xc3\xa4,;<>"):
        assert unquote(quote(text)) == text
    assert quote(b"a\r\nb") == b'"a  b"'
    assert unquote(b'"') == b'"'
