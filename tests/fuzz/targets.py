"""The targets: `python -m tests.fuzz.targets NAME [libFuzzer options] [corpus folder …]`.

A target takes any bytes. What it may raise is named; anything else is a finding, and so is a promise that is broken.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["sbc.sip", "sbc.transaction", "sbc.media.sdp", "sbc.push"]):
    from sbc.media import sdp
    from sbc.push import dialects
    from sbc.push.tokens import AppRules
    from sbc.sip.build import respond, stamp
    from sbc.sip.check import check
    from sbc.sip.digest import Challenge, Credentials, verify
    from sbc.sip.errors import ParseError, RemoteError
    from sbc.sip.framing import Framer
    from sbc.sip.message import Request, parse
    from sbc.sip.uri import Uri
    from sbc.sip.values import NameAddr, Via

RULES = AppRules(webpush=True, ios_by_fcm=True)
HA1 = "0" * 32


def message(data: bytes) -> None:
    """A datagram: parsed, judged, answered, written again."""
    try:
        found = parse(data)
    except ParseError as problem:
        if problem.request is not None:
            parse(respond(problem.request, problem.status, problem.reason or None).render())
        return
    again = parse(found.render())
    assert again.render() == found.render(), "what is written reads as the same"
    try:
        check(found)
        if isinstance(found, Request):
            stamp(found, b"192.0.2.1", 5060)
            parse(found.render())
    except ParseError:
        return
    if isinstance(found, Request) and found.method == b"REGISTER":
        handover = dialects.read(found, RULES, 0.0)
        dialects.strip(found)
        left = found.render().lower()
        assert b"x-piid:" not in left, "an HA1 never goes up"
        for token in handover.tokens:
            assert token.prid
        parse(found.render())


def stream(data: bytes) -> None:
    """A stream cut in two: the same messages come out, whatever the cut."""
    if not data:
        return
    cut, rest = data[0] % (len(data) or 1), data[1:]

    def run(*pieces: bytes) -> list[object]:
        framer, found = Framer(65_000), []
        try:
            for piece in pieces:
                found += framer.feed(piece)
        except ParseError:
            pass
        return [*(each for each in found if isinstance(each, bytes)), framer.broken is not None]

    assert run(rest) == run(rest[:cut], rest[cut:])


def values(data: bytes) -> None:
    """Addresses, URIs, Vias: what is read is written and read again."""
    for kind in (Uri, NameAddr, Via):
        try:
            found = kind.parse(data)
        except ParseError:
            continue
        kind.parse(found.render())


def digest(data: bytes) -> None:
    """Challenges and credentials."""
    try:
        Challenge.parse(data).render()
    except ParseError:
        pass
    try:
        verify(Credentials.parse(data), HA1, b"REGISTER")
    except RemoteError:
        pass


def description(data: bytes) -> None:
    """Session descriptions."""
    try:
        found = sdp.parse(data)
    except RemoteError:
        return
    sdp.parse(found.render())


TARGETS: dict[str, Callable[[bytes], None]] = {
    "message": message,
    "stream": stream,
    "values": values,
    "digest": digest,
    "description": description,
}

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
