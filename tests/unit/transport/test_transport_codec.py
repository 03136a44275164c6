"""Messages in a stream, and what is no message."""

import pytest

from sbc.transport.codec import SipCodec
from sbc.transport.limits import BROKEN_FRAMING, NOT_SIP, OVERSIZED
from sbc.transport.sniff import begins_sip
from tests.unit.transport.transport_world import ASKED, options


def test_messages_come_whole_however_the_stream_is_cut() -> None:
    stream = options(1, b"one") + options(2) + options(3, b"three")
    for cut in range(1, len(stream)):
        codec = SipCodec(65_000)
        found = codec.feed(stream[:cut]).messages
        found += codec.feed(stream[cut:]).messages
        assert found == [options(1, b"one"), options(2), options(3, b"three")]
        assert not codec.partial


def test_a_ping_is_answered() -> None:
    codec = SipCodec(65_000)
    heard = codec.feed(b"\r\n\r\n" + options(1))
    assert heard.reply == b"\r\n"
    assert heard.keep_alive
    assert heard.messages == [options(1)]


def test_half_a_message_is_partial() -> None:
    codec = SipCodec(65_000)
    assert codec.feed(b"OPT").messages == []
    assert codec.partial


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\x01octet\x00",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_what_is_not_sip_is_told_at_once_and_not_answered(noise: bytes) -> None:
    heard = SipCodec(65_000).feed(noise)
    assert heard.problem == NOT_SIP
    assert heard.reply == b""


def test_lost_borders_end_the_stream() -> None:
    request = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\n"
    for line in (
        b"",
        b"Content-Length: -1\r\n",
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"Content-Length: x\r\n",
    ):
        assert SipCodec(65_000).feed(request + line + b"\r\n").problem == BROKEN_FRAMING


def test_the_size_is_known_before_the_body_comes() -> None:
    assert SipCodec(1_000).feed(b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 5000\r\n\r\n").problem == OVERSIZED
    assert SipCodec(1_000).feed(b"OPTIONS sip:a@b SIP/2.0\r\nX: " + b"y" * 2_000).problem == OVERSIZED


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (b"Content-Length: 5000\r\n", b"SIP/2.0 513 "),
        (b"Content-Length: 99999999999\r\n", b"SIP/2.0 400 "),
        (b"Content-Length: -1\r\n", b"SIP/2.0 400 "),
        (b"Content-Length: 0\r\nl: 0\r\n", b"SIP/2.0 400 "),
        (b"", b""),
    ],
)
def test_who_can_be_told_why_is_told(lines: bytes, answer: bytes) -> None:
    heard = SipCodec(1_000).feed(options(7) + ASKED + lines + b"\r\n" + bytes(100))
    assert (heard.messages, heard.problem is not None) == ([options(7)], True)
    assert heard.refusal[:12] == answer
    assert (b"branch=z9hG4bK1\r\n" in heard.refusal) == bool(answer)


def test_responses_and_ack_are_not_answered() -> None:
    for start in (b"SIP/2.0 200 OK\r\n", b"ACK sip:a@b SIP/2.0\r\n"):
        head = start + ASKED.partition(b"\r\n")[2] + b"Content-Length: 5000\r\n\r\n"
        heard = SipCodec(1_000).feed(head)
        assert (heard.problem, heard.refusal) == (OVERSIZED, b"")


def test_datagrams_begin_with_a_start_line() -> None:
    assert begins_sip(options())
    assert begins_sip(b"SIP/2.0 200 OK\r\n\r\n")
    assert begins_sip(b"OPTIONS sip:a@b SIP/7.0\r\n\r\n")  # the parser answers 505
    assert not begins_sip(b"GET / HTTP/1.1\r\n\r\n")
    assert not begins_sip(b"")
    assert not begins_sip(b"\0" * 400)
    assert not begins_sip(b"A" * 65_000)
