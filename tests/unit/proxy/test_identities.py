"""A caller with another name, in all headers that name it."""

from __future__ import annotations

import pytest

from sbc.proxy.identities import called_by, identified
from sbc.sip.build import make_request


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (
            b'"Bob" <sip:201@pbx.example.com>;party=calling;privacy=off',
            b'"Bob" <sip:+49301@pbx.example.com>;party=calling;privacy=off',
        ),
        (b"sip:201@pbx.example.com", b"<sip:+49301@pbx.example.com>"),
        (b"<sips:201;phone-context=pbx@pbx.example.com>", b"<sips:+49301@pbx.example.com>"),
        (b"<tel:2-0-1;phone-context=pbx>", b"<tel:+49301;phone-context=pbx>"),
        (b"<sip:202@pbx.example.com>", b"<sip:202@pbx.example.com>"),
        (b"<sip:pbx.example.com>", b"<sip:pbx.example.com>"),
        (b"<urn:service:201>", b"<urn:service:201>"),
        (b"nonsense <", b"nonsense <"),
    ],
)
def test_who_is_named_by_the_name_that_goes_gets_the_new_one(value, shown):
    assert after(value) == [shown]


def test_every_value_is_looked_at():
    assert after(b"<sip:201@a.example.com>, <tel:201>") == [b"<sip:+49301@a.example.com>", b"<tel:+49301>"]


def test_a_telephone_number_gets_no_name():
    assert after(b"<sip:201@a.example.com>, <tel:201>", user="reception") == [b"<sip:reception@a.example.com>"]
    assert after(b"<tel:201>", user="reception") == []


def test_a_from_that_is_no_sip_uri_stays():
    assert called_by(b"<sip:201@a.example.com>;tag=1", "x") == b"<sip:x@a.example.com>;tag=1"
    assert called_by(b"<tel:201>;tag=1", "x") == b"<tel:201>;tag=1"


def after(value, user="+49301"):
    request = make_request(
        b"INVITE",
        b"sip:00@example.com",
        via=b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        from_=b"<sip:201@pbx.example.com>;tag=1",
        to=b"<sip:00@example.com>",
        call_id=b"c",
        cseq=1,
        headers=[(b"P-Asserted-Identity", value)],
    )
    identified(request, "201", user)
    return request.each(b"p-asserted-identity")
