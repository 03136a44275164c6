"""Which flow leads to a Contact, and what we call ourselves on it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from twisted.internet.defer import fail, succeed

from sbc.proxy.dialog import Side
from sbc.proxy.reaching import fits, reach, transport_of
from sbc.sip.errors import RemoteError
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
        (b"sips:a@192.0.2.1", b"TLS", ("192.0.2.1", 5061), True),
        (b"sip:a@192.0.2.1;transport=tls", b"TLS", ("192.0.2.1", 5061), True),
    ],
)
def test_whether_a_flow_leads_there(uri, transport, peer, fit):
    assert fits(Uri.parse(uri), transport, peer) is fit


HEARD = SimpleNamespace(open=True, transport=b"TLS", peer=("192.0.2.1", 40_001))
GONE = SimpleNamespace(open=False, transport=b"TLS", peer=("192.0.2.1", 5061))


@pytest.mark.parametrize(
    ("hop", "target", "found"),
    [
        (HEARD, b"sip:a@192.0.2.1:5061;transport=tls", HEARD),
        (GONE, b"sip:a@192.0.2.1:5061;transport=tls", "by its name"),
        (GONE, b"sip:a@192.0.2.7:5061;transport=tls", None),
    ],
)
def test_a_server_whose_contact_is_not_in_its_certificate(hop, target, found):
    server = object()
    servers = SimpleNamespace(get=lambda name: server, by_source=lambda host: server if host == "192.0.2.1" else None)
    ways = SimpleNamespace(
        servers=servers,
        flow_to=lambda uri, transport, guarded: fail(RemoteError(503, b"Certificate")),
        flow=lambda which: succeed("by its name"),
    )
    seen, refused = [], []
    reach(ways, Side(b"", hop, target, upper="pbx")).addCallbacks(seen.append, refused.append)
    assert (seen, len(refused)) == (([found], 0) if found is not None else ([], 1))


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
