"""Requests inside a dialog whose receiver is behind a proxy that may have lost it."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from sbc.proxy.passing import Passing
from sbc.registrar.flows import Awake
from sbc.sip.message import parse
from tests.unit.proxy.node_world import CONTACT, Wire, World, answer_to, message
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


def moved(world):
    """The phone comes over another flow, behind the same proxy; where its first one is, it answers nothing."""
    other = Wire(("198.51.100.11", 5060))
    news = Awake(1, 1, "ada", "example.com", "pbx", "t:1", "sip:ada@198.51.100.11", other, (), path=(b"<sip:b@h;lr>",))
    [passing] = [txn.user for txn in world.node.driver.table._servers.values() if isinstance(txn.user, Passing)]
    passing.woken(news)
    return other


def test_a_2xx_from_where_the_phone_was_is_its_answer_all_the_same(world):
    world.arrive(again(world), world.upper)
    first = sent(world.phone, b"INVITE")[-1].render()
    world.arrive(answer_to(first, b"100 Trying"), world.phone)
    other = moved(world)
    [second] = sent(other, b"INVITE")
    world.arrive(answer_to(second.render(), b"100 Trying"), other)
    for _ in range(2):
        world.arrive(answer_to(first, b"200 OK"), world.phone)
    assert len(sent(other, b"CANCEL")) == 1, "it need not go there any more"
    world.arrive(answer_to(second.render(), b"487 Request Terminated"), other)
    heard = [parse(data) for data in world.upper.out if data.startswith(b"SIP/2.0")]
    assert [each.status for each in heard if each.cseq.method == b"INVITE"] == [100, 200, 200]
    assert len(world.node.calls.dialogs) == 1, "the call goes on"


def test_a_refusal_from_where_the_phone_was_counts_for_nothing(world):
    world.arrive(again(world), world.upper)
    first = sent(world.phone, b"INVITE")[-1].render()
    world.arrive(answer_to(first, b"100 Trying"), world.phone)
    other = moved(world)
    world.arrive(answer_to(first, b"487 Request Terminated"), world.phone)
    [second] = sent(other, b"INVITE")
    world.arrive(answer_to(second.render(), b"200 OK"), other)
    heard = [parse(data) for data in world.upper.out if data.startswith(b"SIP/2.0")]
    assert [each.status for each in heard if each.cseq.method == b"INVITE"] == [100, 200]
