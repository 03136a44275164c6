"""Nothing secret is readable afterwards; what an operator needs still is."""

import pytest

from sbc.observe.masking import masked, masked_bytes, printable
from tests import cpu

HA1 = "0123456789abcdef0123456789abcdef"
TOKEN = "dQw4w9WgXcQ:APA91bH_-token"

REGISTER = (
    "REGISTER sip:pbx.example.com SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.2:5062;branch=z9hG4bK1\r\n"
    "Call-ID: reg-1@phone\r\n"
    f"Contact: <sip:alice@127.0.0.2:5062;pn-provider=fcm;pn-param=proj;pn-prid={TOKEN}>;expires=3600\r\n"
    f"X-PIID : {HA1}\r\n"
    f"X-MPUSH: s:a:com.example.app:{TOKEN}\r\n"
    'Authorization: Digest username="alice", realm="pbx", nonce="n1",\r\n'
    f'  uri="sip:pbx.example.com", response="{HA1}"\r\n'
    "User-Agent: Phone/1.0\r\n"
    "Content-Length: 0\r\n\r\n"
)


def test_a_register_keeps_its_shape_and_loses_its_secrets():
    shown = masked_bytes(REGISTER.encode())
    assert HA1 not in shown
    assert TOKEN not in shown
    assert "response" not in shown
    assert "X-MPUSH: s:a:com.example.app:***" in shown
    assert "Authorization: Digest ***\r\nUser-Agent: Phone/1.0" in shown
    assert "pn-provider=fcm;pn-param=proj;pn-prid=***>;expires=3600" in shown
    assert "Call-ID: reg-1@phone" in shown


@pytest.mark.parametrize(
    "text",
    [
        f"x-piid:{HA1}",
        f"X-Piid\t :\t{HA1}",
        f"pn-prid={TOKEN}:remote&{TOKEN}:voip;expires=60",
        f'Contact: <sip:a@b>;pn-prid="{TOKEN}"',
        f"PN-TOK={TOKEN}",
        f"Contact: <sip:a@b;pn-provider=webpush;pn-p256dh={TOKEN};pn-auth={TOKEN}>",
        f"push-token-id={TOKEN}",
        f"X-MPUSH: i:com.example.app:{TOKEN}",
        f"X-MPUSH: d:w:com.example.app:{TOKEN}",
        f"X-MPUSH: {TOKEN.partition(':')[2]}",
        f"proxy-authorization: digest response={HA1}",
        f"Authorization: bearer {HA1}",
        f"Authorization: {HA1}",
        f"GET /mvapireq/?apientry=sendpush&authkey={HA1}&now=1",
        f"GET /mvapireq/?to_token={TOKEN.partition(':')[2]}",
        f'{{"token": "{TOKEN}", "data": {{}}}}',
        f"{{'ha1': '{HA1}'}}",
        f"POST https://api.push.apple.com/3/device/{HA1}{HA1}",
        f"https://fcm.googleapis.com/fcm/send/{TOKEN}",
        f"password={HA1}",
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{HA1}|2^20",
        f"a=ice-pwd:{HA1}",
    ],
)
def test_secret(text):
    shown = masked(text)
    assert HA1 not in shown
    assert "APA91bH_-token" not in shown
    assert "***" in shown


def test_what_is_no_secret_stays():
    for text in (
        "INVITE sip:alice@pbx.example.com;transport=udp SIP/2.0",
        "X-MPUSH: null",
        "the token of alice is dead",
        f"Call-ID: {HA1}",
        "pushed 3 devices",
    ):
        assert masked(text) == text


def test_bytes_that_are_no_text_are_shown_escaped():
    assert masked_bytes(b"\xff\xfeabc") == "\\xff\\xfeabc"


def test_one_line_without_control_characters():
    assert printable("a\r\nX-PIID: abc\x1b[31m", 100) == "a  X-PIID: ***"
    assert printable("x" * 50, 10) == "xxxxxxxxx…"


@pytest.mark.parametrize(
    "bait", ["x-piid ", "pn-prid= ", 'token"', "a", "bearer ", "Authorization:\r\n ", "token='", '"', " "]
)
def test_masking_is_linear(bait):
    text = "x-piid" + bait * (65_536 // len(bait))
    assert cpu.least(lambda: masked(text), 0.5) < 0.5
