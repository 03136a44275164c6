"""Dialogs that headers name, as each side of them knows them."""

from __future__ import annotations

import pytest

from sbc.proxy.dialog import Dialogs, Leg, Side
from sbc.proxy.masking import masker
from sbc.proxy.references import mapped, meant
from sbc.sip.message import parse

TOKEN = b"0123456789abcdef0123"
PBX = Side(b"sip:x@us-up:5060", upper="pbx")
BOB = Side(b"sip:x@us-down:5060", user="bob@pbx", device="phone")
CAROL = Side(b"sip:x@us-down:5060", user="carol@pbx", device="desk")


def request(*headers, uri=b"sip:a@h", method=b"INVITE"):
    lines = [
        method + b" " + uri + b" SIP/2.0",
        b"Via: SIP/2.0/UDP h;branch=z9hG4bK1",
        b"From: <sip:x@h>;tag=9",
        b"To: <sip:y@h>",
        b"Call-ID: another",
        b"CSeq: 1 " + method,
        *headers,
        b"Content-Length: 0\r\n\r\n",
    ]
    return parse(b"\r\n".join(lines))


@pytest.fixture
def dialogs():
    """Bob (a, tag 1) has called somebody at the upper server (b, tag 2); their Call-IDs differ."""
    known = Dialogs()
    a = Side(
        b"sip:%b@us-down:5060" % TOKEN, target=b"sip:bob@192.0.2.7", user="bob@pbx", device="phone", call_id=b"low"
    )
    b = Side(b"sip:%b@us-up:5060" % TOKEN, target=b"sip:desk@10.0.0.9:5070", upper="pbx", call_id=b"high")
    leg = Leg(TOKEN, b"1", a, b, None, 0.0)
    known.open(leg)
    answer = parse(
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP us;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n"
        b"Call-ID: high\r\nCSeq: 1 INVITE\r\nContact: <sip:desk@10.0.0.9:5070>\r\nContent-Length: 0\r\n\r\n"
    )
    known.responded(leg, answer, None, 0.0)
    return known


def crossed(dialogs, sender, receiver, *headers, mask=None, method=b"INVITE"):
    message = request(*headers, method=method)
    return message.edited(mapped(message, dialogs, sender, receiver, mask))


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        (b"Replaces", b";to-tag=2;from-tag=1"),
        (b"Replaces", b" ; early-only ; from-tag=1 ; to-tag=2"),
        (b"Join", b";from-tag=1;to-tag=2"),
        (b"Target-Dialog", b";local-tag=2;remote-tag=1"),
        (b"Target-Dialog", b";remote-tag=2;local-tag=1"),
    ],
)
def test_each_side_reads_the_call_id_that_it_knows(dialogs, name, tags):
    up = crossed(dialogs, BOB, PBX, name + b": low" + tags)
    assert up.first(name.lower()) == b"high;" + tags.partition(b";")[2]
    down = crossed(dialogs, PBX, BOB, name + b": high" + tags)
    assert down.first(name.lower()).startswith(b"low;")
    third = crossed(dialogs, PBX, CAROL, name + b": low" + tags)
    assert third.first(name.lower()).startswith(b"high;"), "the caller's own stays his secret"


@pytest.mark.parametrize("value", [b"low;to-tag=3;from-tag=1", b"low", b"", b"elsewhere;to-tag=2;from-tag=1", b";;=;"])
def test_what_names_no_dialog_stays(dialogs, value):
    assert mapped(request(b"Replaces: " + value), dialogs, BOB, PBX, None) == {}


def test_a_referral_upward_names_the_peer_as_if_we_were_not_there(dialogs):
    value = (
        b'"D" <sip:%b@us-down:5060;transport=tcp?Subject=x&Replaces=low%%3Bto-tag%%3D2%%3Bfrom-tag%%3D1>;p=1' % TOKEN
    )
    up = crossed(dialogs, BOB, PBX, b"Refer-To: " + value, method=b"REFER")
    assert up.first(b"refer-to") == (
        b'"D" <sip:desk@10.0.0.9:5070?Subject=x&Replaces=high%3Bto-tag%3D2%3Bfrom-tag%3D1>;p=1'
    )


def test_a_referral_downward_shows_no_address_of_the_peer(dialogs):
    value = b"<sip:desk@10.0.0.9:5070?Replaces=high%3Bto-tag%3D2%3Bfrom-tag%3D1>"
    down = crossed(dialogs, PBX, CAROL, b"Refer-To: " + value, method=b"REFER")
    shown = b"<sip:%b@us-down:5060?Replaces=high%%3Bto-tag%%3D2%%3Bfrom-tag%%3D1>" % TOKEN
    assert down.first(b"refer-to") == shown


def test_a_referral_by_an_address_of_record_keeps_it(dialogs):
    value = b"<sip:desk@pbx.example?Replaces=low%3Bto-tag%3D2%3Bfrom-tag%3D1>"
    up = crossed(dialogs, BOB, PBX, b"Refer-To: " + value, method=b"REFER")
    assert up.first(b"refer-to") == value.replace(b"low", b"high")


def test_the_bare_contact_of_a_dialog_is_its_peer(dialogs):
    up = crossed(dialogs, BOB, PBX, b"Refer-To: <sip:%b@us-down:5060>" % TOKEN, method=b"REFER")
    assert up.first(b"refer-to") == b"<sip:desk@10.0.0.9:5070>"
    other = crossed(dialogs, CAROL, PBX, b"Refer-To: <sip:%b@us-down:5060>" % TOKEN, method=b"REFER")
    assert other.first(b"refer-to") == b"<sip:%b@us-down:5060>" % TOKEN, "Carol is no party of it"


@pytest.mark.parametrize("value", [b"<tel:+1555>", b"<sip:a@h?b>", b"<sip:a@h?Replaces=%>", b"broken <", b"<sip:@h>"])
def test_a_referral_to_anything_else_stays(dialogs, value):
    assert mapped(request(b"Refer-To: " + value, method=b"REFER"), dialogs, BOB, PBX, None) == {}


def test_in_reply_to_names_what_is_known_and_hides_the_rest(dialogs):
    value = b"In-Reply-To: low, gone"
    assert crossed(dialogs, BOB, PBX, value).first(b"in-reply-to") == b"high, gone"
    hidden = crossed(dialogs, BOB, PBX, value, mask=masker(b"key")).first(b"in-reply-to")
    assert hidden.startswith(b"high, ")
    assert b"gone" not in hidden


def test_a_mask_is_always_the_same_and_says_nothing():
    mask = masker(b"key")
    assert mask(b"abc@10.0.0.1") == mask(b"abc@10.0.0.1") != mask(b"abc@10.0.0.2")
    assert b"10.0.0.1" not in mask(b"abc@10.0.0.1")
    assert masker(b"other")(b"abc@10.0.0.1") != mask(b"abc@10.0.0.1")


def test_whom_a_request_to_our_contact_means(dialogs):
    uri = b"sip:%b@us" % TOKEN.upper()
    assert meant(dialogs, request(uri=uri), BOB).end.upper == "pbx"
    assert meant(dialogs, request(uri=uri), PBX).end.user == "bob@pbx"
    assert meant(dialogs, request(uri=uri), CAROL) is None
    assert meant(dialogs, request(b"Replaces: low;to-tag=1;from-tag=2", uri=uri), CAROL).end.user == "bob@pbx"
    assert meant(dialogs, request(b"Replaces: high;to-tag=2;from-tag=1", uri=uri), CAROL).end.upper == "pbx"
    assert meant(dialogs, request(uri=b"sip:bob@us"), PBX) is None


def test_a_request_whose_uri_lost_our_contact_is_known_by_its_tags(dialogs):
    lines = [
        b"BYE sip:bob@192.0.2.7 SIP/2.0",
        b"Via: SIP/2.0/UDP h;branch=z9hG4bK1",
        b"From: <sip:b@h>;tag=2",
        b"To: <sip:a@h>;tag=1",
        b"Call-ID: high",
        b"CSeq: 9 BYE",
        b"Content-Length: 0\r\n\r\n",
    ]
    found = dialogs.find(parse(b"\r\n".join(lines)), 1.0)
    assert found is not None
    assert not found.from_a
    lines[4] = b"Call-ID: low"
    assert dialogs.find(parse(b"\r\n".join(lines)), 1.0) is None, "the other side's Call-ID"
