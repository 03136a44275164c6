"""Loops, spirals, breadth."""

from __future__ import annotations

import pytest

from sbc.proxy.loops import BREADTH, breadth_of, mark, refuse_loop, shares
from sbc.sip.errors import RemoteError
from sbc.sip.message import parse

OURS = frozenset((b"192.0.2.1",))


def request(uri=b"sip:bob@example.com", *vias, more=()):
    lines = [
        b"INVITE " + uri + b" SIP/2.0",
        *(b"Via: SIP/2.0/UDP " + via for via in (b"198.51.100.7;branch=z9hG4bKtop", *vias)),
        b"From: <sip:a@h>;tag=1",
        b"To: <sip:bob@example.com>",
        b"Call-ID: c",
        b"CSeq: 7 INVITE",
        *more,
        b"Content-Length: 0\r\n\r\n",
    ]
    return parse(b"\r\n".join(lines))


def passed(first):
    """The Via that we put on `first` when it passed."""
    return b"192.0.2.1:5060;branch=z9hG4bK0-abc-1" + mark(first)


def test_the_same_request_again_is_a_loop():
    again = request(b"sip:bob@example.com", passed(request()))
    with pytest.raises(RemoteError) as refused:
        refuse_loop(again, OURS)
    assert refused.value.status == 482


def test_a_loop_is_one_although_its_call_id_is_another_each_time():
    again = request(b"sip:bob@example.com", passed(request()))
    again.set(b"call-id", b"masked")
    with pytest.raises(RemoteError):
        refuse_loop(again, OURS)


def test_with_another_target_it_is_a_spiral():
    refuse_loop(request(b"sip:carol@example.com", passed(request())), OURS)


def test_the_marks_of_others_mean_nothing():
    refuse_loop(request(b"sip:bob@example.com", passed(request()).replace(b"192.0.2.1", b"192.0.2.99")), OURS)
    refuse_loop(request(), OURS)


def test_several_vias_in_one_line_are_seen():
    first = request()
    again = request(b"sip:bob@example.com", b"10.0.0.1;branch=z9hG4bKx, SIP/2.0/UDP " + passed(first))
    with pytest.raises(RemoteError):
        refuse_loop(again, OURS)


@pytest.mark.parametrize(("value", "breadth"), [(b"5", 5), (b"0", 0), (b"many", BREADTH), (b"", BREADTH)])
def test_how_many_branches_a_request_may_have(value, breadth):
    assert breadth_of(request(more=(b"Max-Breadth: " + value,))) == breadth
    assert breadth_of(request()) == BREADTH


def test_the_breadth_is_shared():
    assert shares(60, 1) == 60
    assert shares(60, 7) == 8
    assert shares(3, 3) == 1
    with pytest.raises(RemoteError) as refused:
        shares(2, 3)
    assert refused.value.status == 440
