"""By what a B2BUA's own call is known to be the one that it was made of."""

from __future__ import annotations

import pytest

from sbc.proxy.returning import same_caller
from sbc.sip.build import make_request

ALICE = b"ab30317f1a784dc48ff824d0d3715d86"
NOBODY = b"0" * 32


def call(from_=b"<sip:alice@pbx.example.com>", **headers):
    return make_request(
        b"INVITE",
        b"sip:bob@pbx.example.com",
        via=b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        from_=from_ + b";tag=1",
        to=b"<sip:bob@pbx.example.com>",
        call_id=b"c",
        cseq=1,
        headers=[(name.replace("_", "-").encode(), value) for name, value in headers.items()],
    )


@pytest.mark.parametrize(
    "made",
    [
        call(),
        call(b"<sip:alice@192.0.2.7>"),
        call(b"<sip:201@pbx.example.com>", p_asserted_identity=b"<sip:alice@pbx.example.com>"),
        call(b'"Alice A." <sip:201@pbx.example.com>'),
        call(b"<sip:201@pbx.example.com>", session_id=NOBODY + b";remote=" + ALICE.upper()),
        call(b"<sip:+49301@pbx.example.com>"),
    ],
)
def test_the_same_caller(made):
    first = call(b'"Alice A." <sip:alice@pbx.example.com>', session_id=ALICE + b";remote=" + NOBODY)
    assert same_caller(made, first, "+49301")


@pytest.mark.parametrize(
    "made",
    [
        call(b"<sip:carol@pbx.example.com>", session_id=b"f" * 32 + b";remote=" + NOBODY),
        call(b'"Anonymous" <sip:anonymous@anonymous.invalid>', p_asserted_identity=b"nonsense <"),
        call(b"<sip:pbx.example.com>"),
    ],
)
def test_somebody_else(made):
    first = call(b'"Anonymous" <sip:alice@pbx.example.com>', session_id=ALICE + b";remote=" + NOBODY)
    assert not same_caller(made, first)


def test_two_who_hide():
    hidden = call(b'"Anonymous" <sip:anonymous@anonymous.invalid>')
    assert not same_caller(hidden, hidden)
