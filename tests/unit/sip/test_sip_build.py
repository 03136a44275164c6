"""Messages of our own."""

from __future__ import annotations

import pytest

from sbc.sip import LocalError, Request, Response, parse
from sbc.sip.build import REASONS, ack_for, cancel_for, make_request, reason_of, respond, stamp

INVITE = (
    b"INVITE sip:bob@example.com SIP/2.0\r\n"
    b"v:SIP/2.0/UDP  10.0.0.1;branch=z9hG4bKone;rport ,\r\n  SIP/2.0/TCP 10.0.0.2;branch=z9hG4bKtwo\r\n"
    b"Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\n"
    b"f: <sip:ann@example.com>;tag=a\r\n"
    b"VIA : SIP/2.0/TLS 10.0.0.3;branch=z9hG4bKthree\r\n"
    b"Timestamp: 54\r\n"
    b"To: <sip:bob@example.com>\r\n"
    b"Call-ID: c\r\n"
    b"CSeq: 7 INVITE\r\n"
    b"Authorization: Digest x\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def request(data: bytes = INVITE) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    return message


def test_an_answer_copies_byte_for_byte() -> None:
    answer = respond(request(), 180, to_tag=b"t", headers=[(b"Contact", b"<sip:us>")])
    assert answer.render() == (
        b"SIP/2.0 180 Ringing\r\n"
        b"v:SIP/2.0/UDP  10.0.0.1;branch=z9hG4bKone;rport ,\r\n  SIP/2.0/TCP 10.0.0.2;branch=z9hG4bKtwo\r\n"
        b"f: <sip:ann@example.com>;tag=a\r\n"
        b"VIA : SIP/2.0/TLS 10.0.0.3;branch=z9hG4bKthree\r\n"
        b"To: <sip:bob@example.com>;tag=t\r\n"
        b"Call-ID: c\r\n"
        b"CSeq: 7 INVITE\r\n"
        b"Contact: <sip:us>\r\n"
        b"Content-Length: 0\r\n\r\n"
    )


def test_a_tag_that_is_there_stays() -> None:
    tagged = request(INVITE.replace(b"To: <sip:bob@example.com>", b"To: sip:bob@example.com;tag=theirs"))
    assert respond(tagged, 200, to_tag=b"ours").to_tag == b"theirs"
    bare = request(INVITE.replace(b"To: <sip:bob@example.com>", b"To: sip:bob@example.com ; "))
    assert respond(bare, 200, to_tag=b"ours").to_tag == b"ours"
    folded = request(INVITE.replace(b"To: <sip:bob@example.com>", b"To: sip:bob@example.com\r\n  ;"))
    assert parse(respond(folded, 200, to_tag=b"ours").render()).to_tag == b"ours"


def test_100_copies_the_timestamp() -> None:
    assert respond(request(), 100).first(b"timestamp") == b"54"
    assert not respond(request(), 200).has(b"timestamp")


def test_reasons() -> None:
    assert respond(request(), 404).reason == b"Not Found"
    assert respond(request(), 404, b"Gone Fishing").reason == b"Gone Fishing"
    assert reason_of(599) == b"Server Internal Error"
    assert all(b"\r" not in reason for reason in REASONS.values())


def test_a_body_brings_its_length() -> None:
    answer = respond(request(), 200, headers=[(b"c", b"text/plain")], body=b"hello")
    assert parse(answer.render()).body == b"hello"
    assert answer.first(b"content-type") == b"text/plain"


def test_a_request_with_two_tos_is_answered_with_one() -> None:
    twice = request(INVITE.replace(b"Call-ID: c\r\n", b"Call-ID: c\r\nTo: <sip:other>\r\nCSeq: 8 BYE\r\n"))
    answer = respond(twice, 400)
    assert (answer.count(b"to"), answer.count(b"cseq"), answer.count(b"via")) == (1, 1, 2)


def test_a_request_of_ours() -> None:
    options = make_request(
        b"OPTIONS",
        b"sip:pbx.example.com",
        via=b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        from_=b"<sip:sbc@192.0.2.1>;tag=1",
        to=b"<sip:pbx.example.com>",
        call_id=b"x",
        cseq=1,
        headers=[(b"USER-AGENT", b"test")],
    )
    assert options.render() == (
        b"OPTIONS sip:pbx.example.com SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
        b"Max-Forwards: 70\r\n"
        b"From: <sip:sbc@192.0.2.1>;tag=1\r\n"
        b"To: <sip:pbx.example.com>\r\n"
        b"Call-ID: x\r\n"
        b"CSeq: 1 OPTIONS\r\n"
        b"User-Agent: test\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    with pytest.raises(LocalError):
        make_request(b"A", b"sip:a", via=b"a\r\nb", from_=b"", to=b"", call_id=b"", cseq=1)


def test_ack_of_a_refusal() -> None:
    invite = request()
    refusal = respond(invite, 486, to_tag=b"busy")
    ack = ack_for(invite, refusal)
    assert (ack.method, ack.uri, ack.cseq.render()) == (b"ACK", b"sip:bob@example.com", b"7 ACK")
    assert ack.lines(b"via") == [b"SIP/2.0/UDP  10.0.0.1;branch=z9hG4bKone;rport"]
    assert ack.to_tag == b"busy"
    assert ack.lines(b"route") == invite.lines(b"route")
    assert ack.from_tag == b"a"
    assert parse(ack.render()).names()[0] == b"via"


def test_cancel() -> None:
    invite = request()
    cancel = cancel_for(invite)
    assert (cancel.method, cancel.cseq.render(), cancel.to_tag, cancel.call_id) == (b"CANCEL", b"7 CANCEL", None, b"c")
    assert [via.branch for via in cancel.vias] == [b"z9hG4bKone"]
    assert len(cancel.routes) == 2
    assert not cancel.has(b"authorization")


@pytest.mark.parametrize(
    ("via", "stamped"),
    [
        (
            b"SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bK1;rport",
            b"SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bK1;rport=4711;received=192.0.2.7",
        ),
        (
            b"SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1",
            b"SIP/2.0/UDP 10.0.0.1;rport=4711;received=192.0.2.7;branch=z9hG4bK1",
        ),
        (b"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1", b"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.7"),
        (b"SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1", b"SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1"),
        (
            b"SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1;received=192.0.2.66;rport=1",
            b"SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1;received=192.0.2.7;rport=4711",
        ),
    ],
)
def test_the_source_is_noted(via: bytes, stamped: bytes) -> None:
    message = request(INVITE)
    message.set(b"via", via)
    stamp(message, b"192.0.2.7", 4711)
    assert message.first(b"via") == stamped
    assert message.via.branch == b"z9hG4bK1"


def test_the_source_is_noted_in_the_first_of_several() -> None:
    message = request()
    stamp(message, b"192.0.2.7", 4711)
    assert [(via.received, via.rport) for via in message.vias] == [(b"192.0.2.7", 4711), (None, None), (None, None)]


def test_ipv6_sources_match_their_brackets() -> None:
    message = request()
    message.set(b"via", b"SIP/2.0/UDP [2001:db8::1];branch=z9hG4bK1")
    stamp(message, b"2001:db8::1", 5060)
    assert message.via.received is None


def test_answers_are_answers() -> None:
    answer = parse(respond(request(), 603).render())
    assert isinstance(answer, Response)
    assert answer.via.branch == b"z9hG4bKone"
