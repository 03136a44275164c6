"""Dialogs in the bodies by which lamps are lit, as each side knows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbc.proxy.dialog import Dialogs, Leg, Side
from sbc.proxy.dialog_info import MAX_ELEMENTS, as_known
from sbc.sip.message import parse

TOKEN = b"0123456789abcdef0123"
PBX = Side(b"sip:x@us-up:5060", upper="pbx")
BOB = Side(b"sip:x@us-down:5060", user="bob@pbx", device="phone")
CAROL = Side(b"sip:x@us-down:5060", user="carol@pbx", device="desk")

TEXT = """<?xml version="1.0"?>
<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="7" state="partial" entity="sip:desk@pbx">
  <dialog id="a&amp;b" call-id="high" local-tag='2' remote-tag="1" direction="recipient">
    <state>early</state>
    <local><identity>sip:desk@pbx</identity>
      <target uri="sip:desk@10.0.0.9:5070"><param pname="+sip.rendering" pval="yes"/></target></local>
    <remote><identity display="Bob > all">sip:bob@pbx</identity><target uri="sip:TOKEN@us-up:5060"/></remote>
  </dialog>
  <dialog id="x" call-id="other" local-tag="2" remote-tag="1"><state>confirmed</state></dialog>
</dialog-info>
""".replace("TOKEN", TOKEN.decode())


def known(call_id=b"low"):
    """Bob (a, tag 1) calls a desk at the upper server (b, tag 2); their Call-IDs differ."""
    dialogs = Dialogs()
    a = Side(b"sip:%b@us-down:5060" % TOKEN, target=b"sip:bob@192.0.2.7", user="bob@pbx", device="phone")
    b = Side(b"sip:%b@us-up:5060" % TOKEN, target=b"sip:desk@10.0.0.9:5070", upper="pbx", call_id=b"high")
    a.call_id = call_id
    leg = Leg(TOKEN, b"1", a, b, None, 0.0)
    dialogs.open(leg)
    answer = parse(
        b"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP us;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n"
        b"To: <sip:b@h>;tag=2\r\nCall-ID: high\r\nCSeq: 1 INVITE\r\nContact: <sip:desk@10.0.0.9:5070>\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    dialogs.responded(leg, answer, None, 0.0)
    return dialogs


def notify(body, kind=b"application/dialog-info+xml"):
    head = (
        b"NOTIFY sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:x@h>;tag=9\r\n"
        b"To: <sip:y@h>;tag=8\r\nCall-ID: c\r\nCSeq: 1 NOTIFY\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    )
    return parse(head % (kind, len(body)) + body)


def told(body, receiver=BOB, dialogs=None, **more):
    if isinstance(body, str):
        body = body.encode()
    request = notify(body, **more)
    return as_known(request, request.body, dialogs or known(), receiver)


def test_each_dialog_is_named_as_its_receiver_knows_it():
    expected = TEXT.replace('"high"', '"low"')
    expected = expected.replace('uri="sip:desk@10.0.0.9:5070"', f'uri="sip:{TOKEN.decode()}@us-down:5060"')
    expected = expected.replace(f'uri="sip:{TOKEN.decode()}@us-up:5060"', f'uri="sip:{TOKEN.decode()}@us-down:5060"')
    assert told(TEXT).decode() == expected


def test_an_upper_server_reads_what_it_would_have_read_without_us():
    below = TEXT.replace('"high"', '"low"').replace("sip:desk@10.0.0.9:5070", f"sip:{TOKEN.decode()}@us-down:5060")
    assert told(below, PBX).decode().replace("us-down", "us-up") == TEXT


def test_somebody_who_is_no_party_reads_the_call_id_that_the_called_side_knows():
    assert b'call-id="high"' in told(TEXT, CAROL)
    assert b"10.0.0.9" not in told(TEXT, CAROL)


def test_a_dialog_that_is_only_tried_has_one_tag():
    body = '<dialog-info><dialog id="1" call-id="high" local-tag="2"/></dialog-info>'
    assert told(body) == body.replace("high", "low").encode()


def test_the_dialog_that_was_replaced():
    inner = '<d:replaces call-id="high" local-tag="2" remote-tag="1"/>'
    body = f'<d:i xmlns:d="u"><d:dialog id="1">{inner}</d:dialog></d:i>'
    assert told(body) == body.replace("high", "low").encode()


def test_a_call_id_is_escaped():
    value = "a&b<c\"d'e"
    body = told(TEXT, dialogs=known(value.encode()))
    assert b'call-id="a&amp;b&lt;c&quot;d&apos;e"' in body


BOMB = '<!DOCTYPE x [<!ENTITY a "high"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "body",
    [
        BOMB + '<dialog-info><dialog call-id="&b;" local-tag="2" remote-tag="1"/></dialog-info>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><i><dialog call-id="high" local-tag="2" remote-tag="1"/></i>',
        "<i><dialog call-id='high' local-tag='2' remote-tag='1'>",
        "<i>" * 40 + "<dialog call-id='high' local-tag='2' remote-tag='1'/>" + "</i>" * 40,
        "<i><dialog call-id='high' local-tag='2' remote-tag='1'/>" + "<i/>" * MAX_ELEMENTS + "</i>",
        '<?xml version="1.0" encoding="utf-16"?>' + TEXT.partition("\n")[2],
        TEXT.encode("utf-16"),
        '<?xml version="1.0" encoding="nonsense"?>' + TEXT.partition("\n")[2],
        "call-id=high",
    ],
)
def test_what_is_not_understood_passes_as_it_is(body):
    raw = body.encode() if isinstance(body, str) else body
    assert told(raw) == raw


def test_other_types_pass():
    assert told(TEXT, kind=b"application/xml") == TEXT.encode()
    assert b'"low"' in told(TEXT, kind=b"Application/Dialog-Info+XML; charset=utf-8")


@given(st.binary(max_size=200), st.integers(0, len(TEXT)))
def test_whatever_comes_something_goes(noise, at):
    raw = TEXT.encode()
    for body in (noise, raw[:at] + noise + raw[at:], raw[:at]):
        assert isinstance(told(body), bytes)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30))
def test_what_becomes_of_it_is_read_as_it_was_meant(call_id):
    body = told(TEXT, dialogs=known(call_id.encode()))
    assert told(body, PBX, dialogs=known(call_id.encode())).count(b'call-id="high"') == 1


def test_a_call_id_that_xml_cannot_say_is_not_said():
    assert b'call-id="high"' in told(TEXT, dialogs=known(b"\x1f"))
