"""Calls that outlive a restart."""

from __future__ import annotations

import json

import pytest

from tests.unit.media.relay_world import World, result, world


def restarted(relay: World, key: str = "leg") -> tuple[World, bool]:
    """The relay ends, another one takes over what it kept."""
    text = relay.calls.snapshot(key)
    assert text is not None
    relay.engine.stop()
    after = World()
    return after, result(after.calls.restore(key, text))


def test_a_call_goes_on(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe(host="192.168.1.5")))
    a.learn(relay.answer(b.describe()))
    a.say(), b.say(), a.report()
    relay.turn()
    a.heard(), b.heard()

    after, restored = restarted(relay)
    assert restored
    replied = b.say()
    after.turn()
    assert a.heard() == [replied]  # where it was heard last, though its description is useless
    spoken = a.say()
    after.turn()
    assert b.heard() == [spoken]
    assert after.offer(b.describe(), "b", source="127.0.0.4").count(str(a.far[1]).encode()) == 1
    assert after.calls.snapshot("leg")
    after.close()


def test_ports_of_a_restored_call_are_taken(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    after, _ = restarted(relay)
    assert after.core.free_pairs == 5000 - 2
    after.calls.close("leg")
    assert len(after.engine.forwarder) == 0
    after.close()


def test_strangers_gain_nothing_by_a_restart(relay: World) -> None:
    a, b, thief = relay.phone("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.66")
    relay.call(a, b)
    after, _ = restarted(relay)
    thief.far = a.far
    thief.say()
    after.turn()
    assert b.heard() == []
    after.close()


def test_a_port_that_is_taken(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    text = relay.calls.snapshot("leg")
    assert text is not None
    with world() as after:
        assert result(after.calls.restore("leg", text)) is False
        assert len(after.engine.forwarder) == after.engine.streams == 0


def test_only_answered_calls_are_kept(relay: World) -> None:
    assert relay.calls.snapshot("leg") is None
    relay.offer(relay.phone("127.0.0.3").describe())
    assert relay.calls.snapshot("leg") is None


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"version":2}', '{"version":1,"addresses":{}}'])
def test_other_text_is_not_understood(relay: World, text: str) -> None:
    assert result(relay.calls.restore("leg", text)) is False


def test_text_that_was_damaged_is_not_understood(relay: World) -> None:
    relay.call(relay.phone("127.0.0.3"), relay.phone("127.0.0.4"))
    whole = json.loads(relay.calls.snapshot("leg") or "")
    first = whole["channels"][0]
    for damage in ({"carries": ["x", "rtp"]}, {"a": None}, {"index": "x"}, {"b": {**first["b"], "rtp": [1]}}):
        text = json.dumps({**whole, "channels": [{**first, **damage}]})
        assert result(relay.calls.restore("other", text)) is False
    assert relay.engine.streams == 1
