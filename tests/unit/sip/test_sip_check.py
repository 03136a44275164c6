"""The door: what a request must fulfil before anybody routes it."""

from __future__ import annotations

import pytest

from sbc.sip import ParseError, Request, limits, parse
from sbc.sip.check import check

GOOD = (
    b"INVITE sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"Max-Forwards: 70\r\n"
    b'From: "Ann" <sip:ann@example.com>;tag=1\r\n'
    b"To: <sip:bob@example.com>\r\n"
    b"Call-ID: 1\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"Contact: <sip:ann@192.0.2.1>\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def refused(old: bytes, new: bytes) -> tuple[int, bytes]:
    assert old in GOOD
    request = parse(GOOD.replace(old, new))
    with pytest.raises(ParseError) as caught:
        check(request)
    assert caught.value.request is request
    return caught.value.status, caught.value.reason


def test_a_good_request_passes() -> None:
    check(parse(GOOD))


@pytest.mark.parametrize("header", [b"Via", b"From", b"To", b"Call-ID", b"CSeq"])
def test_mandatory_headers(header: bytes) -> None:
    assert refused(b"\r\n%b: " % header, b"\r\nX-%b: " % header) == (400, b"Missing " + header)


def test_a_max_forwards_is_not_mandatory() -> None:
    check(parse(GOOD.replace(b"Max-Forwards: 70\r\n", b"")))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"From: <sip:x@y>;tag=2", b"Too Many From"),
        (b"t: <sip:x@y>", b"Too Many To"),
        (b"i: 2", b"Too Many Call-ID"),
        (b"CSeq: 2 INVITE", b"Too Many CSeq"),
        (b"Max-Forwards: 70", b"Too Many Max-Forwards"),
        (b"Expires: 1\r\nExpires : 2", b"Too Many Expires"),
    ],
)
def test_headers_given_twice(line: bytes, reason: bytes) -> None:
    assert refused(b"Contact: ", line + b"\r\nContact: ") == (400, reason)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CSeq: 1 INVITE", b"CSeq: 2147483648 INVITE"),
        (b"CSeq: 1 INVITE", b"CSeq: -1 INVITE"),
        (b"CSeq: 1 INVITE", b"CSeq: one INVITE"),
        (b"CSeq: 1 INVITE", b"CSeq: 1 BYE"),
        (b"CSeq: 1 INVITE", b"CSeq: 1 invite"),
        (b"Max-Forwards: 70", b"Max-Forwards: 256"),
        (b"Max-Forwards: 70", b"Max-Forwards: -1"),
        (b"Max-Forwards: 70", b"Expires: 4294967296"),
        (b"Via: SIP/2.0/UDP 192.0.2.1", b"Via: SIP/2.0/UDP 192.0.2.1:99999"),
        (b"<sip:bob@example.com>", b"<sip:bob@example.com"),
        (b'"Ann" ', b'"Ann '),
        (b'"Ann" ', b"Ann, Bob "),
        (b"Contact: <sip:ann@192.0.2.1>", b"Contact: <sip:ann@192.0.2.1>\r\nContact: <sip:"),
        (b"Contact: <sip:ann@192.0.2.1>", b"Route: <sip:a>, b"),
        (b"INVITE sip:bob@example.com", b"INVITE <sip:bob@example.com>"),
        (b"INVITE sip:bob@example.com", b"INVITE sip:bob@example.com "),
        (b"INVITE sip:bob@example.com", b"INVITE sip:bob@example.com?Route=x"),
        (b"INVITE sip:bob@example.com", b"INV[TE sip:bob@example.com"),
        (b"com SIP/2.0\r\n", b"com sip/2.0 \r\n"),
    ],
)
def test_400(old: bytes, new: bytes) -> None:
    assert refused(old, new)[0] == 400


def test_505_and_416() -> None:
    assert refused(b"com SIP/2.0\r\n", b"com SIP/3.0\r\n")[0] == 505
    assert refused(b"INVITE sip:bob@example.com", b"INVITE isbn:2983792873")[0] == 416
    check(parse(GOOD.replace(b"INVITE sip:bob@example.com", b"INVITE tel:+49301234")))
    check(parse(GOOD.replace(b"<sip:bob@example.com>", b"<isbn:2983792873>")))


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [
        (b"Via", b"SIP/2.0/UDP h;branch=z9hG4bK1", limits.MAX_VIAS - 1),
        (b"Route", b"<sip:h;lr>", limits.MAX_ROUTES),
        (b"Record-Route", b"<sip:h;lr>", limits.MAX_ROUTES),
        (b"Contact", b"<sip:h>", limits.MAX_CONTACTS - 1),
    ],
)
def test_numbers_of_values(name: bytes, value: bytes, most: int) -> None:
    def filled(count: int) -> bytes:
        lines = [b"%b: %b\r\n" % (name, b", ".join([value] * min(10, count - at))) for at in range(0, count, 10)]
        return GOOD.replace(b"Content-Length", b"".join(lines) + b"Content-Length")

    check(parse(filled(most)))
    with pytest.raises(ParseError) as caught:
        check(parse(filled(most + 1)))
    assert caught.value.reason == b"Too Many " + name


def test_commas_in_names_are_no_values() -> None:
    many = b'Contact: "' + b"," * 200 + b'" <sip:ann@192.0.2.1>'
    check(parse(GOOD.replace(b"Contact: <sip:ann@192.0.2.1>", many)))


@pytest.mark.parametrize(
    "address",
    [
        b"<sip:bob@example.com>",
        b"<sip:bob@example.com:5060;user=phone;x>;y=1;z",
        b'"Bob \xc3\xa4" <sip:bob@example.com>',
        b"Bob Example <sips:example.com>",
        b"bob@home <sip:bob@example.com>",
        b'"B\\"ob" <sip:bob@[::1]:70>',
        b"sip:bob@example.com",
        b'<sip:bob@example.com>;+sip.instance="<urn:uuid:1>"',
    ],
)
def test_addresses_that_pass_are_those_that_parse(address: bytes) -> None:
    request = parse(GOOD.replace(b"To: <sip:bob@example.com>", b"To: " + address))
    check(request)
    assert request.to.uri.is_sip


def test_a_bad_response_is_refused_too() -> None:
    ok = GOOD.replace(b"INVITE sip:bob@example.com SIP/2.0", b"SIP/2.0 200 OK")
    check(parse(ok))
    with pytest.raises(ParseError) as caught:
        check(parse(ok.replace(b"CSeq: 1 INVITE", b"CSeq: 99999999999 INVITE")))
    assert caught.value.request is None


def test_what_is_parsed_on_the_way_is_not_parsed_again() -> None:
    request = parse(GOOD)
    assert isinstance(request, Request)
    check(request)
    assert request.via is request.via
    assert request.parsed_uri is request.parsed_uri
