"""Which flow leads to a Contact, and what we call ourselves on it."""

from __future__ import annotations

import pytest

from sbc.proxy.reaching import fits, transport_of
from sbc.sip.uri import Uri
from sbc.transport.flow import Listener
from sbc.upper.face import contact


@pytest.mark.parametrize(
    ("uri", "transport"),
    [
        (b"sip:a@192.0.2.1", b"UDP"),
        (b"sip:a@192.0.2.1;transport=Tcp", b"TCP"),
        (b"sip:a@192.0.2.1;transport=tls", b"TLS"),
        (b"sips:a@192.0.2.1", b"TLS"),
        (b"sips:a@192.0.2.1;transport=tcp", b"TLS"),
        (b"sips:a@192.0.2.1;transport=ws", b"WSS"),
    ],
)
def test_what_a_uri_asks_for(uri, transport):
    assert transport_of(Uri.parse(uri)) == transport


@pytest.mark.parametrize(
    ("uri", "transport", "peer", "fit"),
    [
        (b"sip:a@192.0.2.1", b"UDP", ("192.0.2.1", 5060), True),
        (b"sip:a@192.0.2.1:5070", b"UDP", ("192.0.2.1", 5060), False),
        (b"sip:a@192.0.2.1", b"TCP", ("192.0.2.1", 40_001), True),
        (b"sip:a@192.0.2.1:5070", b"TLS", ("192.0.2.1", 40_001), True),
        (b"sip:a@192.0.2.2", b"TCP", ("192.0.2.1", 5060), False),
        (b"sip:a@192.0.2.1;transport=udp", b"TCP", ("192.0.2.1", 5060), False),
        (b"sip:a@192.0.2.1;transport=tcp", b"TCP", ("192.0.2.1", 5060), True),
        (b"sip:a@[2001:db8::1];transport=tcp", b"TCP", ("2001:db8::1", 5060), True),
        (b"sips:a@192.0.2.1", b"TCP", ("192.0.2.1", 5060), False),
    ],
)
def test_whether_a_flow_leads_there(uri, transport, peer, fit):
    assert fits(Uri.parse(uri), transport, peer) is fit


@pytest.mark.parametrize(
    ("transport", "secure", "shown"),
    [
        (b"TLS", False, b"sip:tok@192.0.2.9:5061;transport=tls"),
        (b"TLS", True, b"sips:tok@192.0.2.9:5061"),
        (b"WSS", True, b"sips:tok@192.0.2.9:5061;transport=ws"),
        (b"TCP", True, b"sip:tok@192.0.2.9:5061;transport=tcp"),
    ],
)
def test_a_request_to_a_sips_uri_gets_a_sips_contact(transport, secure, shown):
    assert contact(Listener(0, transport, "192.0.2.9", 5061), b"tok", secure=secure) == shown
