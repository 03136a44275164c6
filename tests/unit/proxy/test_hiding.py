"""What each side gets to see."""

from __future__ import annotations

from sbc.proxy.hiding import homeward, outward, renamed
from sbc.sip.message import parse

INVITE = parse(
    b"INVITE sip:opaque@198.51.100.1 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKu\r\n"
    b"v: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKc\r\n"
    b"Record-Route: <sip:10.0.0.1;lr>\r\n"
    b"Max-Forwards: 60\r\n"
    b'From: "A" <sip:alice@pbx.example.com>;tag=a\r\n'
    b"To: <sip:bob@pbx.example.com>\r\n"
    b"Call-ID: c1@10.0.0.2\r\n"
    b"CSeq: 5 INVITE\r\n"
    b'm: <sip:alice@10.0.0.2:5061;ob>;+sip.instance="<urn:uuid:7>";isfocus\r\n'
    b"X-Custom:  kept as it came \r\n"
    b"X-PIID: 0123456789abcdef0123456789abcdef\r\n"
    b"Content-Length: 0\r\n\r\n"
)
RINGING = parse(
    b"SIP/2.0 180 Ringing\r\n"
    b"Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKours\r\n"
    b"Record-Route: <sip:10.9.9.9;lr>\r\n"
    b'From: "A" <sip:alice@pbx.example.com>;tag=a\r\n'
    b"To: <sip:bob@pbx.example.com>;tag=b\r\n"
    b"Call-ID: c1@10.0.0.2\r\n"
    b"CSeq: 5 INVITE\r\n"
    b"Contact: <sip:bob@10.9.9.8>\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def test_a_request_leaves_with_our_via_and_contact_alone():
    out = outward(
        INVITE, uri=b"sip:bob@192.0.2.7", via=b"SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKours", routes=(),
        contact=b"sip:tok@198.51.100.1", hops=59,
    )  # fmt: skip
    sent = out.render()
    for secret in (b"10.0.0.1", b"10.0.0.2;branch", b"urn:uuid:7", b"X-PIID", b"Record-Route"):
        assert secret not in sent
    assert out.uri == b"sip:bob@192.0.2.7"
    assert out.lines(b"contact") == [b"<sip:tok@198.51.100.1>;isfocus"]
    assert out.max_forwards == 59
    assert out.call_id == INVITE.call_id
    assert b"X-Custom:  kept as it came" in sent
    assert INVITE.lines(b"via") == [b"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKu", b"SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKc"]


def test_the_route_set_of_the_next_side_goes_with_it():
    out = outward(
        INVITE, uri=b"sip:b@h", via=b"v", routes=(b"<sip:r1;lr>", b"<sip:r2;lr>"), contact=b"sip:t@us", hops=1
    )
    assert out.lines(b"route") == [b"<sip:r1;lr>", b"<sip:r2;lr>"]


def test_a_response_comes_back_as_its_request_was_sent():
    back = homeward(RINGING, INVITE, contact=b"sip:tok@198.51.100.1")
    assert back.lines(b"via") == INVITE.lines(b"via")
    assert back.lines(b"contact") == [b"<sip:tok@198.51.100.1>"]
    assert back.first(b"to") == b"<sip:bob@pbx.example.com>;tag=b"
    assert b"10.9.9" not in back.render()


def test_a_host_of_ours_becomes_the_domain_of_the_upper_server():
    ours = frozenset((b"198.51.100.1",))
    assert renamed(b'"A" <sip:alice@198.51.100.1:5060>;tag=a', ours, b"pbx.example.com") == (
        b'"A" <sip:alice@pbx.example.com>;tag=a'
    )
    other = b"<sip:alice@elsewhere.example>;tag=a"
    assert renamed(other, ours, b"pbx.example.com") is other


def test_a_contact_that_names_nobody_does_not_cross():
    for nobody in (b"", b"*", b" , "):
        ringing = RINGING.copy()
        ringing.set(b"contact", nobody)
        assert not homeward(ringing, INVITE, contact=b"sip:tok@198.51.100.1").has(b"contact")
