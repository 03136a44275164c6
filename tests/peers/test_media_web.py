"""Chromium talks to plain phones: DTLS-SRTP and ICE end at the SBC."""

from __future__ import annotations

import pytest

from tests.peers.conftest import USERS
from tests.peers.program import until
from tests.peers.test_browser import world
from tests.peers.test_calls import talk, talked
from tests.peers.test_media_encryption import PACKETS, counted

__all__ = ["world"]


def heard(page, **least):
    """What Chromium's media engine tells once it counts packets both ways, and more than ``least`` of each."""
    least = {"received": PACKETS, "sent": PACKETS, **least}

    def enough():
        count = len(page.events("media")) + 1
        page.do("media")
        media = page.wait("media", count=count)
        return media if all(media.get(name, 0) > many for name, many in least.items()) else None

    media = until(enough, lambda: f"{least}: {page.events('media')[-1]}", step=0.2)
    assert media["dtls"] == "connected", media
    return media


def test_a_page_calls_a_plain_phone(world, browser, baresip):
    upper, border, url = world("wss")
    page = browser()
    page.register(url, "bob", USERS["bob"])
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)

    page.do("call", "sip:alice@example.test")
    page.wait("confirmed")
    heard(page, energy=0)
    talk(alice)
    page.do("hangUp")
    alice.wait("CALL_CLOSED")

    talked(alice)
    counted(border)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_plain_phone_calls_a_page(world, browser, baresip, scheme):
    upper, border, url = world(scheme)
    page = browser()
    page.register(url, "bob", USERS["bob"])
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call("sip:bob@example.test")
    page.wait("incoming")
    page.do("answer")
    alice.wait("CALL_ESTABLISHED")
    heard(page, energy=0)
    talk(alice)
    alice.hang_up()
    page.wait("ended")

    talked(alice)
    counted(border)


def test_hold_and_resume(world, browser, baresip):
    upper, _border, url = world("wss")
    page = browser()
    page.register(url, "bob", USERS["bob"])
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)
    page.do("call", "sip:alice@example.test")
    page.wait("confirmed")
    before = heard(page)

    page.do("hold", True)
    page.wait("held")
    page.do("hold", False)
    page.wait("held", count=2)
    heard(page, sent=before["sent"] + PACKETS)  # what is received is counted anew
    page.do("hangUp")
    alice.wait("CALL_CLOSED")


def test_two_pages(world, browser):
    _upper, border, url = world("wss")
    bob, alice = browser(), browser()
    bob.register(url, "bob", USERS["bob"])
    alice.register(url, "alice", USERS["alice"])

    alice.do("call", "sip:bob@example.test")
    bob.wait("incoming")
    bob.do("answer")
    alice.wait("confirmed")
    for page in (alice, bob):
        heard(page)
    bob.do("hangUp")
    alice.wait("ended")
    until(lambda: border.rows("select detail from call_events where kind = 'media'"), "media is counted")


def test_video_on_the_same_port(world, browser):
    """Between the pages' two legs audio and video have ports of their own."""
    _upper, _border, url = world("wss")
    bob, alice = browser(), browser()
    bob.register(url, "bob", USERS["bob"])
    alice.register(url, "alice", USERS["alice"])

    alice.do("call", "sip:bob@example.test", True)
    bob.wait("incoming")
    bob.do("answer", True)
    alice.wait("confirmed")
    for page in (alice, bob):
        heard(page, pictures=5)
    bob.do("hangUp")
    alice.wait("ended")


def test_another_library_calls_and_is_called(world, browser, baresip):
    """SIP.js, which shares no code with JsSIP."""
    upper, border, url = world("wss")
    page = browser(library="sip.js")
    page.register(url, "bob", USERS["bob"])
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)

    page.do("call", "sip:alice@example.test")
    page.wait("confirmed")
    heard(page, energy=0)
    talk(alice)
    page.do("hold", True)
    page.wait("held")
    page.do("hold", False)
    page.wait("held", count=2)
    page.do("hangUp")
    alice.wait("CALL_CLOSED")
    counted(border)

    seen = len(alice.events)
    alice.call("sip:bob@example.test")
    page.wait("incoming")
    page.do("answer")
    alice.wait("CALL_ESTABLISHED", after=seen)
    heard(page, energy=0)
    alice.hang_up()
    page.wait("ended", count=2)
    assert all(loudness > 0.01 for _, loudness in alice.heard())
