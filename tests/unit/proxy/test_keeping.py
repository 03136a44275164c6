"""What the store keeps of a dialog."""

from __future__ import annotations

import json

import pytest

from sbc.proxy.dialog import Dialog, Leg, Side
from sbc.proxy.keeping import restored, written

TARGET = b"sip:bob;x=1@198.51.100.7:5062;transport=tcp;ob"


def kept(target, named=b"sip:caller@192.0.2.9"):
    leg = Leg(b"tok", b"a", Side(b"sip:tok@us", target=named), Side(b"sip:tok@us"), None, 1.0)
    return written(Dialog(leg, b"b", Side(b"sip:tok@us", target=target), confirmed=True), None, 1.0, 1001.0)


@pytest.mark.parametrize(
    "push",
    [
        b";pn-provider=apns;pn-param=T.app.voip;pn-prid=SECRET",
        b";PN-PRID=SECRET%3aremote",
        b";pn-provider=webpush;pn-prid=https%3A%2F%2Fpush.example%2FSECRET;pn-p256dh=SECRET;pn-auth=SECRET",
        b";app-id=a;push-token-id=SECRET",
    ],
)
def test_a_dialog_is_kept_without_push_tokens(push):
    for text in (kept(TARGET + push), kept(TARGET, TARGET + push)):
        assert "SECRET" not in text
        assert "pn-" not in text.lower()
    dialog, _ = restored(kept(TARGET + push), lambda token: None, None, 2.0, 1002.0)
    assert dialog.b.target == TARGET


@pytest.mark.parametrize("target", [b"", b"sip:a", b"sip:pn-x@h?pn-prid=1", b"tel:+1;phone-context=x", TARGET])
def test_the_rest_is_kept_as_it_is(target):
    assert json.loads(kept(target))["b"]["target"].encode() == target
