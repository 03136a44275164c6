"""Streams: however they are cut, the same messages come out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbc.sip import ParseError, limits
from sbc.sip.framing import MAX_START_LINE, Framer, KeepAlive

REGISTER = b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.1;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n"
MESSAGE = b"MESSAGE sip:a@b SIP/2.0\r\nl\t:\r\n  15\r\nSubject: x\r\n\r\nhello\r\n\r\nworld!"
OK = b"SIP/2.0 200 OK\r\nCONTENT-LENGTH:3\r\n\r\nabc"


def fed(*pieces: bytes, limit: int = limits.MAX_MESSAGE) -> list[bytes | KeepAlive]:
    framer = Framer(limit)
    return [found for piece in pieces for found in framer.feed(piece)]


def test_messages_come_out_whole() -> None:
    assert fed(REGISTER + MESSAGE + OK) == [REGISTER, MESSAGE, OK]
    assert fed(REGISTER[:40], REGISTER[40:] + MESSAGE[:10], MESSAGE[10:]) == [REGISTER, MESSAGE]


def test_what_is_pending_is_known() -> None:
    framer = Framer()
    assert framer.feed(REGISTER + OK[:9]) == [REGISTER]
    assert framer.pending == 9


def test_keep_alives_between_messages() -> None:
    assert fed(b"\r\n\r\n") == [KeepAlive.PING]
    assert fed(b"\r\n") == [KeepAlive.PONG]
    assert fed(REGISTER + b"\r\n\r\n" + OK + b"\r\n") == [REGISTER, KeepAlive.PING, OK, KeepAlive.PONG]
    assert fed(b"\r\n" + REGISTER) == [KeepAlive.PONG, REGISTER]


def test_a_ping_in_four_pieces_is_still_a_ping() -> None:
    assert fed(b"\r", b"\n", b"\r", b"\n") == [KeepAlive.PONG, KeepAlive.PING]
    assert fed(b"\r\n\r", b"\n") == [KeepAlive.PING]


def test_the_answer_to_our_ping_is_never_half_a_ping() -> None:
    framer = Framer()
    framer.pinged()
    assert framer.feed(b"\r\n") == [KeepAlive.PONG]
    framer.pinged()
    assert framer.feed(b"\r\n") == [KeepAlive.PONG]
    assert framer.feed(b"\r\n\r\n") == [KeepAlive.PING]


@given(st.lists(st.integers(1, 40), min_size=1), st.permutations([REGISTER, MESSAGE, OK, REGISTER]))
def test_the_cut_does_not_matter(cuts: list[int], messages: list[bytes]) -> None:
    stream = b"".join(messages)
    framer = Framer()
    found: list[bytes | KeepAlive] = []
    at = 0
    for cut in cuts * (len(stream) // sum(cuts) + 1):
        found += framer.feed(stream[at : at + cut])
        at += cut
    found += framer.feed(stream[at:])
    assert found == messages


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"\x00",
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"<policy-file-request/>",
        b"\n\n",
        b"\rX",
        b"hello\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
    ],
)
def test_what_is_not_sip_ends_the_stream_at_once(data: bytes) -> None:
    with pytest.raises(ParseError):
        fed(data)


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"Content-Length: x\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 1\r\nContent-Length: 1\r\n",
        b"Content-Length: 1\r\nl: 2\r\n",
        b"Content-Length: 1, 1\r\n",
        b"Content-Length: 1\nX: y\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: 65000\r\n",
        b"X-Content-Length: 5\r\n",
    ],
)
def test_a_length_that_cannot_be_trusted_ends_the_stream(lines: bytes) -> None:
    with pytest.raises(ParseError):
        fed(b"MESSAGE sip:a SIP/2.0\r\n" + lines + b"\r\n1234567890", limit=60_000)


def test_an_endless_header_is_cut_off() -> None:
    framer = Framer(10_000)
    framer.feed(b"MESSAGE sip:a SIP/2.0\r\n")
    with pytest.raises(ParseError) as caught:
        for _ in range(20_000):
            framer.feed(b"X: y\r\n")
    assert caught.value.status == 513
    assert framer.pending < 10_100


def test_an_endless_start_line_is_cut_off() -> None:
    framer = Framer()
    with pytest.raises(ParseError):
        for _ in range(MAX_START_LINE):
            framer.feed(b"A ")


def test_one_byte_at_a_time_costs_no_more_than_its_bytes() -> None:
    message = b"MESSAGE sip:a SIP/2.0\r\n" + b"X: y\r\n" * 150 + b"l: 5\r\n\r\nhello"
    framer = Framer()
    found = [out for byte in message for out in framer.feed(bytes([byte]))]
    assert found == [message]
