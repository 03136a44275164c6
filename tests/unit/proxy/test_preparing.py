"""What happens to a call while its media is being prepared, and answers that make no dialog."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sbc.sip.build import respond
from sbc.sip.errors import RemoteError
from tests.unit.proxy.node_world import BODY
from tests.unit.proxy.test_ringing_random import Phones, distinct


@pytest.fixture
def phones(tmp_path: Any) -> Phones:
    return Phones(str(tmp_path))


@pytest.fixture
def offers(phones: Phones) -> list[Deferred[bytes]]:
    """The offers that the media process has not answered yet."""
    asked: list[Deferred[bytes]] = []

    def offer(*_: Any, **__: Any) -> Deferred[bytes]:
        asked.append(Deferred())
        return asked[-1]

    phones.world.node.media.offer = offer  # type: ignore[method-assign]
    return asked


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_device_that_registers_elsewhere_before_its_call_is_sent_gets_it_there_alone(phones, offers, order):
    phones.begin({"a": True})
    assert (len(offers), phones.seen("a")) == (1, [])
    phones.register("a", 1)
    assert len(offers) == 2
    for at in order:
        offers[at].callback(BODY)
    [(flow, _)] = phones.seen("a")
    assert flow is phones.paths["a"][1]
    phones.says("a", 200)
    assert phones.finals() == [200]


def test_an_offer_that_fails_for_where_the_device_is_no_more_fails_nothing(phones, offers):
    phones.begin({"a": True})
    phones.register("a", 1)
    offers[0].errback(RemoteError(503, b"No Media Ports"))
    assert phones.finals() == []
    offers[1].callback(BODY)
    assert len(distinct(phones.seen("a"))) == 1


def test_a_call_that_is_given_up_before_it_is_sent_goes_nowhere(phones, offers):
    phones.begin({"a": True})
    phones.register("a", 1)
    cancel = phones.invite.replace(b"INVITE sip:", b"CANCEL sip:").replace(b" INVITE", b" CANCEL")
    phones.world.arrive(cancel.partition(b"Content-Type")[0] + b"Content-Length: 0\r\n\r\n", phones.world.upper)
    for each in offers:
        each.callback(BODY)
    assert (phones.finals(), phones.seen("a")) == ([487], [])


def test_a_2xx_without_a_tag_is_no_call(phones):
    phones.begin({"a": True})
    [(flow, invite)] = phones.seen("a")
    for _ in range(2):  # it is repeated, for nobody acknowledges it
        phones.world.arrive(respond(invite, 200, headers=[(b"Contact", b"<sip:a@h>")]).render(), flow)
    assert phones.finals() == [502]
    assert (len(phones.world.node.call_log), len(phones.world.node.calls.dialogs)) == (0, 0)
