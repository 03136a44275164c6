"""Requests inside a dialog whose receiver is behind a proxy that may have lost it."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from sbc.sip.message import parse
from tests.unit.proxy.node_world import CONTACT, World, answer_to, message
from tests.unit.proxy.test_lasting import INVITE, sent


@pytest.fixture
def world(tmp_path):
    """A call of a phone behind a proxy, as far as the SBC knows; what it has registered is being looked up for ever."""
    world = World(str(tmp_path))
    world.arrive(INVITE, world.phone)
    world.arrive(answer_to(world.upper.out[-1], b"200 OK"), world.upper)
    [leg] = world.node.calls.dialogs.all()
    leg.a.user, leg.a.device, leg.a.routes = "ada@example.com", "t:1", (b"<sip:flow@198.51.100.10;lr>",)
    world.asked = []
    world.node.calls.ends._registrations = lambda side: world.asked.append(side) or Deferred()
    world.contact = parse(world.upper.out[0]).contacts[0].uri.render()
    return world


def again(world, method=b"INVITE"):
    """The server's request inside the dialog."""
    text = message(method + b" " + world.contact + b" SIP/2.0", method, CONTACT, number=3).replace(b"c3@h", b"c1@h")
    text = text.replace(b'"Ada, \\"x\\"" <sip:ada@example.com>;tag=a1', b"<sip:bob@example.com>;tag=b")
    return text.replace(b"To: <sip:bob@example.com>", b"To: <sip:ada@example.com>;tag=a1")


def refused(world):
    """The proxy says that it has lost the phone."""
    request = sent(world.phone, b"INVITE")[-1].render()
    world.arrive(answer_to(request, b"100 Trying"), world.phone)
    lost = answer_to(request, b"430 Flow Failed").split(b"Record-Route", 1)[0] + b"Content-Length: 0\r\n\r\n"
    world.arrive(lost, world.phone)


def test_what_its_proxy_could_not_deliver_is_not_answered_before_the_phone_is_looked_for(world):
    world.arrive(again(world), world.upper)
    refused(world)
    assert len(world.asked) == 1
    assert [parse(data).status for data in world.upper.out if data.startswith(b"SIP/2.0")] == [100]


def test_what_its_sender_has_cancelled_is_tried_nowhere_else(world):
    world.arrive(again(world), world.upper)
    cancel = again(world, b"CANCEL").replace(b"branch=z9hG4bK3CANCEL", b"branch=z9hG4bK3INVITE")
    world.arrive(cancel, world.upper)
    refused(world)
    assert world.asked == []
    heard = [parse(data) for data in world.upper.out if data.startswith(b"SIP/2.0")]
    assert [each.status for each in heard if each.cseq.method == b"INVITE"] == [100, 430]
    assert len(sent(world.phone, b"INVITE")) == 1


def test_nobody_is_looked_for_when_a_request_is_cancelled_that_was_on_hold(world):
    world.arrive(again(world), world.upper)
    refused(world)
    world.arrive(again(world, b"CANCEL").replace(b"z9hG4bK3CANCEL", b"z9hG4bK3INVITE"), world.upper)
    heard = [parse(data) for data in world.upper.out if data.startswith(b"SIP/2.0")]
    assert [each.status for each in heard if each.cseq.method == b"INVITE"] == [100, 487]
