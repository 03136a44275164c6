"""Bytes of people who mean harm: nothing but ParseError comes out, and quickly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sbc.sip import CSeq, NameAddr, ParseError, Request, Uri, Via, parse, split_commas
from sbc.sip.build import ack_for, cancel_for, respond, stamp
from sbc.sip.check import _PLAIN, check
from sbc.sip.digest import Challenge, Credentials
from sbc.sip.framing import Framer
from sbc.sip.scan import parse_params, split_semicolons, unfold, unquote
from sbc.sip.uri import same
from tests import cpu

TORTURE = Path(__file__).parent.parent.parent / "torture"
MESSAGES = [path.read_bytes() for path in sorted(TORTURE.glob("rfc*/*"))]

#: Pieces that mean something to the parser, to be thrown into messages.
PIECES = [
    b"\r\n",
    b"\r",
    b"\n",
    b"\r\n ",
    b"\r\n\r\n",
    b"\0",
    b'"',
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"@",
    b"=",
    b"?",
    b"%",
    b"[",
    b"]",
    b"*",
    b" ",
    b"\t",
    b"/",
    b"tag=",
    b"branch=",
    b"rport",
    b"sip:",
    b"SIP/2.0",
    b"Via: ",
    b"l: 4\r\n",
    b"99999999999999999999999",
    b"-1",
    b"\xff\xfe",
    "٣".encode(),
]


def use(data: bytes) -> None:
    """Everything that is ever asked of a message."""
    message = parse(data)
    for ask in (
        lambda: message.via,
        lambda: message.vias,
        lambda: [via.rport for via in message.vias],
        lambda: message.cseq,
        lambda: message.call_id,
        lambda: (message.from_.name, message.from_.uri.username, message.to.render()),
        lambda: message.from_tag,
        lambda: message.to_tag,
        lambda: message.contacts,
        lambda: message.star_contact,
        lambda: message.routes,
        lambda: message.record_routes,
        lambda: message.max_forwards,
        lambda: message.expires,
        lambda: check(message),
        lambda: message.pop_top(b"via"),
        lambda: [Credentials.parse(value) for value in message.lines(b"authorization")],
        lambda: [Challenge.parse(value) for value in message.lines(b"www-authenticate")],
    ):
        try:
            ask()
        except ParseError:
            pass
    if isinstance(message, Request):
        for make in (
            lambda: message.parsed_uri.username,
            lambda: stamp(message, b"192.0.2.1", 5060),
            lambda: cancel_for(message).render(),
            lambda: ack_for(message, respond(message, 486, to_tag=b"x")).render(),
        ):
            try:
                make()
            except ParseError:
                pass
            except Exception as error:
                if message.has(b"via") and message.first(b"via"):
                    raise AssertionError(data) from error
        parse(respond(message, 400, to_tag=b"x").render())
    message.render()


def only_parse_errors(data: bytes) -> None:
    try:
        use(data)
    except ParseError as error:
        if error.request is not None:
            parse(respond(error.request, error.status, error.reason, to_tag=b"x").render())


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A real message with some pieces cut out, doubled, changed or put in."""
    data = draw(st.sampled_from(MESSAGES))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            data = data[:at] + data[end:]
        elif kind == 1:
            data = data[:at] + draw(st.sampled_from(PIECES)) + data[at:]
        elif kind == 2:
            data = data[:end] + data[at:end] * draw(st.integers(1, 3)) + data[end:]
        else:
            data = data[:at] + draw(st.binary(max_size=8)) + data[end:]
    return data


@settings(max_examples=300)
@given(mutants())
def test_mutants_raise_nothing_but_parse_errors(data: bytes) -> None:
    only_parse_errors(data)


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=40).map(b"".join))
def test_values_raise_nothing_but_parse_errors(value: bytes) -> None:
    for read in (NameAddr.parse, Via.parse, CSeq.parse, Uri.parse, Challenge.parse, Credentials.parse, parse_params):
        try:
            read(value)
        except ParseError:
            pass
    split_commas(value)
    unquote(value)


@given(mutants(), st.integers(1, 60))
def test_streams_raise_nothing_but_parse_errors(data: bytes, cut: int) -> None:
    framer = Framer(5000)
    try:
        for at in range(0, len(data), cut):
            for found in framer.feed(data[at : at + cut]):
                if isinstance(found, bytes):
                    only_parse_errors(found)
    except ParseError:
        pass


@given(st.sampled_from(MESSAGES))
def test_parsing_and_rendering_is_the_identity(data: bytes) -> None:
    try:
        message = parse(data)
    except ParseError:
        return
    if not message.has(b"content-length"):
        return
    assert message.render() == data[: len(data) - len(data.partition(b"\r\n\r\n")[2]) + len(message.body)]


@given(mutants())
def test_rendering_is_stable(data: bytes) -> None:
    try:
        message = parse(data)
    except ParseError:
        return
    once = message.render()
    again = parse(once)
    assert again.render() == once
    assert (again.names(), again.body) == (message.names(), message.body)


@given(
    st.lists(
        st.sampled_from(
            [b"<", b">", b'"', b"sip:", b"sips:", b"a", b"b c", b"@", b":", b"5060", b";", b"=", b"%41", b"[::1]", b"."]
        ),
        max_size=14,
    ).map(b"".join)
)
@example(b"<sip:a@b:59999;c=d>;e")
@example(b'"x"<sip:b>')
def test_the_short_cut_of_check_accepts_only_addresses(value: bytes) -> None:
    if _PLAIN.fullmatch(value):
        NameAddr.parse(value)


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_same_is_symmetric(one: bytes, other: bytes) -> None:
    try:
        a, b = Uri.parse(b"sip:" + one), Uri.parse(b"sip:" + other)
    except ParseError:
        return
    assert same(a, b) == same(b, a)
    assert same(a, a)


HEAD = b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: sip:a\r\nTo: sip:b\r\nCall-ID: 1\r\n"
SIZE = 65_536
#: CPU seconds any one of them may take; on a quiet machine all stay below a twentieth of it.
MOST = 0.1


@pytest.mark.parametrize("prefix", [b"", b'"', b"<", b"sip:", b'<sip:a>;x="', b"SIP/2.0/UDP a;", b"Digest a=", b"1 "])
def test_a_repeated_byte_takes_linear_time(prefix: bytes) -> None:
    for byte in range(256):
        value = prefix + bytes([byte]) * SIZE
        for read in (NameAddr.parse, Via.parse, CSeq.parse, Uri.parse, Challenge.parse, _PLAIN.fullmatch):
            assert cost(lambda read=read, value=value: read(value)) < MOST, (read, byte)  # type: ignore[misc]


def cost(work: Callable[[], object]) -> float:
    """CPU seconds that it takes, whether or not it finds anything."""

    def try_it() -> None:
        with suppress(ParseError):
            work()

    return cpu.least(try_it, MOST)


@pytest.mark.parametrize(
    "pair",
    [b",", b";", b'"', b"\\", b'\\"', b'",', b"<,", b"<>", b'"<', b"\r\n ", b" ,", b"%4", b"a=", b";=", b'\\\\"'],
)
def test_repeated_pieces_take_linear_time(pair: bytes) -> None:
    value = pair * (SIZE // len(pair))
    for read in (split_commas, split_semicolons, parse_params, unfold, unquote, NameAddr.parse, Via.parse, Uri.parse):
        assert cost(lambda read=read: read(value)) < MOST, read  # type: ignore[misc]
    for prefix in (b'"', b"<sip:a>;", b'<sip:a>;x="'):
        assert cost(lambda prefix=prefix: NameAddr.parse(prefix + value)) < MOST, prefix  # type: ignore[misc]


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"A: " + b"b" * SIZE,
        HEAD + b"A: b\r\n" * (SIZE // 6),
        HEAD + b"\r\n " * (SIZE // 3),
        HEAD + b"A:\r\n" + b" \r\n" * (SIZE // 3),
        HEAD + b"Via: " + b"," * SIZE,
        HEAD + b"a" * SIZE,
        HEAD + b":" * SIZE,
        b"\r\n" * (SIZE // 2),
        b" " * SIZE,
        b"A" * SIZE,
        b"INVITE " + b"a" * SIZE + b" SIP/2.0\r\n",
        b"INVITE " + b" SIP/" * (SIZE // 5) + b"\r\n",
        HEAD + b"l: " + b"0" * SIZE,
        HEAD + b"l: " + b"9" * SIZE,
        HEAD + b"l" + b" " * SIZE,
        HEAD + (b"l" + b" " * 50 + b"\r\n") * (SIZE // 53),
    ],
)
def test_whole_messages_take_linear_time(data: bytes) -> None:
    for end in (b"", b"\r\n\r\n"):
        assert cost(lambda end=end: use(data + end)) < MOST  # type: ignore[misc]
        assert cost(lambda end=end: Framer(SIZE * 2).feed(data + end)) < MOST  # type: ignore[misc]


def test_a_long_folded_header_in_small_pieces_is_linear_too() -> None:
    def work() -> None:
        framer = Framer(SIZE)
        framer.feed(HEAD + b"A: b")
        for _ in range(SIZE // 64):
            framer.feed(b"\r\n  x" * 8)

    assert cost(work) < 10 * MOST
