"""Chromium talks to plain phones, and to another Chromium, through rtpengine: DTLS-SRTP and ICE end at the daemon."""

from __future__ import annotations

import pytest

from tests.peers.conftest import USERS
from tests.peers.program import until
from tests.peers.test_browser import world
from tests.peers.test_calls import talked
from tests.peers.test_media_encryption import PACKETS, counted

__all__ = ["world"]


@pytest.fixture
def relayed(world, rtpengine):
    """``relayed()``: the world of the browser's tests, with a daemon for media."""

    def make():
        daemon = rtpengine()
        return world("wss", sections={"media": {"engine": "rtpengine", "rtpengine": [daemon.name], "relay": "always"}})

    return make


def talks(page, sent=0):
    """What Chromium's media engine tells, once enough packets went both ways, and so many more than had been sent."""

    def look():
        count = len(page.events("media")) + 1
        page.do("media")
        media = page.wait("media", count=count)
        assert media["dtls"] != "failed", media
        enough = media.get("received", 0) > 2 * PACKETS and media.get("sent", 0) > sent + 2 * PACKETS
        return media if enough else None

    return until(look, lambda: f"audio both ways: {page.events('media')[-1]}", step=0.3)


def test_a_page_calls_a_plain_phone_holds_and_resumes(relayed, browser, baresip):
    """The daemon must not begin the handshake before the page has the answer: it would not be heard."""
    upper, border, url = relayed()
    page = browser()
    page.register(url, "bob", USERS["bob"])
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)

    page.do("call", "sip:alice@example.test")
    page.wait("confirmed")
    before = talks(page)
    assert before["energy"] > 0
    assert before["role"] == "client"
    page.do("hold", True)
    page.wait("held")
    page.do("hold", False)
    page.wait("held", count=2)
    talks(page, sent=before["sent"])
    page.do("hangUp")
    alice.wait("CALL_CLOSED")

    talked(alice)
    counted(border)


def test_a_plain_phone_calls_a_page(relayed, browser, baresip):
    upper, border, url = relayed()
    page = browser()
    page.register(url, "bob", USERS["bob"])
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call("sip:bob@example.test")
    page.wait("incoming")
    page.do("answer")
    alice.wait("CALL_ESTABLISHED")
    assert talks(page)["energy"] > 0
    alice.hang_up()
    page.wait("ended")

    talked(alice)
    counted(border)


def test_two_pages(relayed, browser):
    _upper, border, url = relayed()
    bob, alice = browser(), browser()
    bob.register(url, "bob", USERS["bob"])
    alice.register(url, "alice", USERS["alice"])

    alice.do("call", "sip:bob@example.test")
    bob.wait("incoming")
    bob.do("answer")
    alice.wait("confirmed")
    for page in (alice, bob):
        talks(page)
    bob.do("hangUp")
    alice.wait("ended")
    border.wait_rows("select detail from call_events where kind = 'media'")
