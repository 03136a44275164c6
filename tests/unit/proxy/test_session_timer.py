"""Calls that nobody refreshes."""

from __future__ import annotations

import pytest

from sbc.proxy.session_timer import GRACE, dead_at, interval_of
from sbc.sip.build import make_request, respond


def request(method=b"INVITE"):
    return make_request(
        method, b"sip:b@h", via=b"SIP/2.0/UDP h;branch=z9hG4bK1", from_=b"<sip:a@h>;tag=1", to=b"<sip:b@h>",
        call_id=b"c", cseq=1,
    )  # fmt: skip


def answer(to, status=200, value=None):
    return respond(to, status, headers=[(b"x", value)] if value is not None else [])


def test_a_2xx_that_names_an_interval_starts_the_clock():
    invite = request()
    assert dead_at(invite, answer(invite, value=b"1800;refresher=uac"), None, 100.0) == 100.0 + 1800 + GRACE
    update = request(b"UPDATE")
    assert dead_at(update, answer(update, value=b"90"), 500.0, 400.0) == 400.0 + 90 + GRACE


def test_a_2xx_without_one_stops_it():
    invite = request()
    assert dead_at(invite, answer(invite), 500.0, 100.0) is None


def test_other_answers_and_methods_change_nothing():
    invite, info = request(), request(b"INFO")
    assert dead_at(invite, answer(invite, 491, b"1800"), 500.0, 100.0) == 500.0
    assert dead_at(info, answer(info, 200, b"1800"), 500.0, 100.0) == 500.0


@pytest.mark.parametrize("value", [b"", b"soon", b"-5", b"89", b"99999999999"])
def test_nonsense_is_no_interval(value):
    assert interval_of(answer(request(), value=value)) is None
