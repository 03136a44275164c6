"""A page asleep behind its service worker: JsSIP hands over a Web Push subscription, a call wakes the page.

No subscription can be had of Chromium without its maker's servers: ``pushManager.subscribe`` neither resolves nor fails
without them (the second test says so where it is different one day). So the subscription is of a service on Node, whose
keys and decryption are npm's, and what it decrypts is delivered to the service worker by the browser's own tools.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

import pytest

from sbc.lab.authority import Authority
from sbc.push.keys import vapid_key
from tests.peers.conftest import USERS
from tests.peers.ports import free_port

BOB = "sip:bob@example.test"


@pytest.fixture
def world(kamailio, sbc, node_webpush, tmp_path):
    """(upper, SBC, URL of its WebSocket, the push service)."""
    upper, service = kamailio(), node_webpush()
    key = Authority(tmp_path / "keys", now_at=0.0).vapid_key()
    plain, port = free_port(), free_port()
    sections = {
        "push": {"enabled": "on", "webpush": "on"},
        "push.app": [{"id": "web", "provider": "webpush", "key": str(key)}],
        "webpush": {
            "subject": "mailto:ops@example.test",
            "ca_file": str(service.certificate),
            "allow": [service.host],
        },
    }
    listen = [{"uri": f"udp:127.0.0.1:{plain}"}, {"uri": f"ws:127.0.0.1:{port}"}]
    border = sbc(upper, port=plain, listen=listen, sections=sections)
    return upper, border, f"ws://127.0.0.1:{port}/", service


def parameters(subscription):
    """What the page puts into its Contact: JsSIP writes them behind the brackets."""
    address, _, keys = subscription.partition("#")
    params = {"pn-provider": "webpush", "pn-prid": quote(address, safe="")}
    return params | {f"pn-{name}": value for name, value in parse_qsl(keys)}


def test_a_call_wakes_a_page_through_its_service_worker(world, browser, baresip):
    upper, border, url, service = world
    page = browser()
    page.do("worker")
    page.wait("worker")
    push = parameters(service.subscribe())
    caps = page.register(url, "bob", USERS["bob"], push=push, expires=600)["caps"]
    assert '+sip.pns="webpush"' in caps
    assert "+sip.vapid=" in caps
    [contact] = upper.wait_registered("bob")
    assert "pn-" not in contact
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    page.do("reload")
    page.wait("ready", count=2)
    page.do("worker")
    page.wait("worker", count=2)
    alice.call(BOB)
    sent = service.wait("push")
    assert (sent["wrong"], sent["urgency"]) == ("", "high")
    page.do("deliver", sent["text"])
    told = page.wait("pushed")["told"]
    assert (told["ntype"], told["nfromusername"]) == ("0", "alice")
    page.register(url, "bob", USERS["bob"], push=push, expires=600)
    page.wait("incoming")
    page.do("refuse", 486)

    assert "486" in str(alice.wait("CALL_CLOSED"))
    assert len(page.events("incoming")) == 1
    assert len(service.events("push")) == 1
    [row] = border.wait_rows("select type, outcome, woke_after from pushes where woke_after is not null")
    assert (row["type"], row["outcome"]) == ("call", "accepted")
    assert row["woke_after"] > 0


def test_a_subscription_of_the_browser_s_own(browser, tmp_path):
    public = vapid_key(Authority(tmp_path / "keys", now_at=0.0).vapid_key().read_bytes()).public
    page = browser()
    page.do("worker", public)
    found = page.wait("subscription")["found"]
    if isinstance(found, str):
        pytest.skip(f"Chromium gives no subscription without its maker's servers: {found}")
    assert found["endpoint"].startswith("https://")
    assert found["keys"].keys() == {"p256dh", "auth"}
