"""A browser as a phone: JsSIP in Chromium over WebSocket, plain and over TLS."""

from __future__ import annotations

import time

import pytest

from tests.peers.conftest import USERS
from tests.peers.ports import free_port
from tests.peers.program import until
from tests.peers.test_registration import ALICE

BOB = "sip:bob@example.test"


@pytest.fixture
def world(kamailio, sbc, authority):
    """``world(scheme, **listen options)``: (upper, sbc, URL of its WebSocket)."""

    def make(scheme, *, sections=None, **more):
        upper = kamailio()
        plain, port = free_port(), free_port()
        table = {"uri": f"{scheme}:127.0.0.1:{port}", **more}
        if scheme == "wss":
            identity = authority.issue("127.0.0.1", file="sbc")
            table |= {"certificate": str(identity.certificate), "key": str(identity.key)}
        border = sbc(upper, port=plain, listen=[{"uri": f"udp:127.0.0.1:{plain}"}, table], sections=sections)
        return upper, border, f"{scheme}://127.0.0.1:{port}{more.get('path', '/')}"

    return make


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_jssip_registers_writes_and_is_written_to(world, browser, sipp, pjsua2, capture, scheme):
    upper, border, url = world(scheme)
    port = int(url.rpartition(":")[2].rstrip("/"))
    wire = capture([border.port, upper.port, port], sip=[border.port, upper.port], web=[port])
    page = browser()
    alice = pjsua2("alice", f"{upper.host}:{upper.port}")

    page.register(url, "bob", USERS["bob"])
    [contact] = upper.wait_registered("bob")
    assert ".invalid" not in contact
    [binding] = border.rows("select transport, contact, instance from bindings")
    assert binding["transport"] == scheme.upper()
    assert binding["instance"].startswith("<urn:uuid:")

    keys = {"realm": "example.test", "callee": "bob", "text": "good morning"}
    sipp("message", f"{upper.host}:{upper.port}", keys=keys, rows=[ALICE]).finish()
    assert page.wait("message")["body"].strip() == "good morning"

    page.do("message", "sip:alice@example.test", "good evening")
    assert page.wait("messageSent")["status"] in (200, 202)
    assert alice.wait("message")["body"] == "good evening"

    page.do("stop")
    page.wait("unregistered")
    until(lambda: not border.rows("select * from bindings"), "no binding is left")
    assert wire.check() > 8
    if scheme == "ws":
        assert len(wire.read("websocket && sip")) >= 8, "what the WebSocket carried was seen"


def test_an_invite_reaches_the_page_and_its_refusal_the_caller(world, browser, baresip):
    upper, border, url = world("wss")
    page = browser()
    page.register(url, "bob", USERS["bob"])
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call(BOB)
    page.wait("incoming")
    alice.wait("CALL_RINGING")
    page.do("refuse", 486)

    assert "486" in str(alice.wait("CALL_CLOSED"))
    [cdr] = border.wait_rows("select * from cdrs where ended_at is not null")
    assert cdr["code"] == 486
    assert len(page.events("incoming")) == 1


def test_the_caller_gives_up_and_the_page_stops_ringing(world, browser, baresip):
    upper, _, url = world("ws")
    page = browser()
    page.register(url, "bob", USERS["bob"])
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call(BOB)
    page.wait("incoming")
    alice.hang_up()

    assert page.wait("failed")["cause"] == "Canceled"


def test_the_page_calls_and_hears_the_upper_servers_refusal(world, browser):
    _, border, url = world("wss")
    page = browser()
    page.register(url, "bob", USERS["bob"])

    page.do("call", "sip:answer-486@example.test")

    assert page.wait("failed")["status"] == 486
    assert border.healthy()


def test_a_closed_page_is_asleep_at_once(world, browser, baresip):
    upper, border, url = world("wss")
    page = browser()
    page.register(url, "bob", USERS["bob"])
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    page.stop()
    border.wait_gone("WSS")

    began = time.monotonic()
    alice.call(BOB)

    assert "480" in str(alice.wait("CALL_CLOSED"))
    assert time.monotonic() - began < 20, "nobody waits for who is known to be gone"
    assert border.healthy()


def test_what_is_no_sip_websocket_is_refused(world, browser):
    page = browser()
    origin = page.origin
    _, border, url = world("ws", path="/sip", origins=["https://phone.example.test", origin])

    page.do("probe", url, ["sip"])
    assert page.wait("opened")["protocol"] == "sip"
    for number, (where, protocols) in enumerate(
        [(url, ["chat"]), (url, []), (url.replace("/sip", "/other"), ["sip"])], 1
    ):
        page.do("probe", where, protocols)
        page.wait("refused", count=number)

    stranger = browser()
    assert stranger.origin != origin
    stranger.do("probe", url, ["sip"])
    stranger.wait("refused")
    assert len(page.events("opened")) == 1
    assert not stranger.events("opened")
    assert border.healthy()
