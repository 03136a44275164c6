"""Twice the bytes take twice the time, whatever they are: how the work grows, not how fast the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from sbc.media import sdp
from sbc.media.bodies import find
from sbc.push import dialects
from sbc.push.tokens import AppRules
from sbc.sip import NameAddr, ParseError, Uri, Via, parse, split_commas
from sbc.sip.build import respond
from sbc.sip.check import check
from sbc.sip.digest import Challenge, Credentials
from sbc.sip.errors import RemoteError
from sbc.sip.framing import Framer
from sbc.sip.scan import parse_params, split_semicolons, unfold, unquote

SIZE = 32_768
HEAD = (
    b"REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\n"
    b"Call-ID: 1\r\nCSeq: 1 REGISTER\r\n"
)
RULES = AppRules(webpush=True, ios_by_fcm=True)


def message(data: bytes) -> None:
    """A datagram's whole way through the parser."""
    try:
        found = parse(data)
        check(found)
        dialects.read(found, RULES, 0.0)
    except ParseError as problem:
        found = problem.request
    if found is not None:
        respond(found, 400).render()


def trickle(data: bytes) -> None:
    """A stream that comes in small pieces."""
    framer = Framer(2 * SIZE + 1_000)
    for at in range(0, len(data), 16):
        framer.feed(data[at : at + 16])


SHAPES: dict[str, tuple[Callable[[bytes], object], Callable[[int], bytes]]] = {
    "many headers": (message, lambda size: HEAD + b"X-A: b\r\n" * (size // 8) + b"\r\n"),
    "one header folded often": (message, lambda size: HEAD + b"X: y" + b"\r\n z" * (size // 4) + b"\r\n\r\n"),
    "folds of blanks": (unfold, lambda size: b"\r\n \t" * (size // 4)),
    "commas": (split_commas, lambda size: b"a," * (size // 2)),
    "commas in quotes": (split_commas, lambda size: b'"a,",' * (size // 5)),
    "brackets in quotes in brackets": (split_commas, lambda size: b'<"<",>,' * (size // 7)),
    "semicolons": (split_semicolons, lambda size: b"a=b;" * (size // 4)),
    "parameters": (parse_params, lambda size: b"".join(b";p%d=v" % number for number in range(size // 9))),
    "parameters of an address": (NameAddr.parse, lambda size: b"<sip:a@b>" + b";p=v" * (size // 4)),
    "distinct parameters of a URI": (
        Uri.parse,
        lambda size: b"sip:a@b" + b"".join(b";p%d=v" % number for number in range(size // 9)),
    ),
    "escapes": (Uri.parse, lambda size: b"sip:" + b"%41" * (size // 3) + b"@b"),
    "escaped quotes": (unquote, lambda size: b'"' + b'\\"' * (size // 2) + b'"'),
    "a quoted name of quotes": (NameAddr.parse, lambda size: b'"' + b'\\"' * (size // 2) + b'" <sip:a@b>'),
    "open quotes": (NameAddr.parse, lambda size: b'"a" ' * (size // 4) + b"<sip:a@b>"),
    "parameters of a Via": (Via.parse, lambda size: b"SIP/2.0/UDP h" + b";p=v" * (size // 4)),
    "fields of a challenge": (
        Challenge.parse,
        lambda size: b"Digest realm=r, nonce=n" + b"".join(b", f%d=v" % number for number in range(size // 10)),
    ),
    "fields of a proof": (Credentials.parse, lambda size: b"Digest a=" + b'"\\\\' * (size // 3)),
    "pieces of a stream": (trickle, lambda size: HEAD + b"X: " + b"y" * size),
    "line ends in a stream": (trickle, lambda size: b"\r\n" * (size // 2)),
    "a header that almost ends": (trickle, lambda size: HEAD + b"\r\nX: y" * (size // 6)),
    "attributes": (sdp.parse, lambda size: b"v=0\r\n" + b"a=x:y\r\n" * (size // 7)),
    "boundaries": (lambda body: find(body, b"multipart/mixed;boundary=b"), lambda size: b"--b\r\n" * (size // 5)),
    "half boundaries": (lambda body: find(body, b"multipart/mixed;boundary=b"), lambda size: b"\r\n--" * (size // 4)),
    "push parameters": (
        message,
        lambda size: HEAD + b"Contact: <sip:a@h" + b";pn-prid=x" * min(size // 10, 790) + b">\r\n\r\n",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_twice_the_size_takes_twice_the_time(shape: str) -> None:
    work, made = SHAPES[shape]
    for _ in range(9):
        small, large = cpu(work, made(SIZE // 2)), cpu(work, made(2 * SIZE))
        # Four times the bytes: a little more than four times the time where it is linear, sixteen times where it is
        # square. A tenth of a millisecond is noise.
        if large < 8 * small + 0.0005:
            return
    pytest.fail(f"{SIZE // 2} bytes take {small * 1000:.2f} ms, {2 * SIZE} bytes {large * 1000:.2f} ms")


def cpu(work: Callable[[bytes], object], data: bytes) -> float:
    """CPU seconds of the fastest of some runs."""
    times = []
    for _ in range(3):
        begun = time.thread_time()
        try:
            work(data)
        except RemoteError:
            pass
        times.append(time.thread_time() - begun)
    return min(times)
