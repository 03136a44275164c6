"""Who lives on which flow, and for how long."""

from __future__ import annotations

from types import SimpleNamespace

from sbc.registrar import flows
from sbc.registrar.flows import ROUND, LiveFlows, Resident

BOB = Resident("bob", "pbx.example.com", "pbx", "i:1", "sip:bob@h")


def flow(token, *, reliable=False, heard_at=0.0, ended=False):
    return SimpleNamespace(token=token, reliable=reliable, heard_at=heard_at, open=not ended)


def live_until(live, start, end, each_second=lambda now: None):
    for now in range(start, end):
        each_second(float(now))
        live.age(float(now))


def test_a_phone_that_pings_stays_known_as_long_as_it_is_registered():
    live, phone = LiveFlows(), flow("udp/0/a")
    live.settle(phone, BOB, 0.0, 3600.0)

    def ping(now):
        if now % 25 == 0:
            phone.heard_at = now

    live_until(live, 0, 3600, ping)
    assert live.resident("udp/0/a", 3599.0) == BOB
    assert live.resident("udp/0/a", 3600.0) is None
    live_until(live, 3600, 3700, ping)
    assert len(live) == 0


def test_a_silent_one_is_forgotten():
    live = LiveFlows()
    live.settle(flow("udp/0/a"), BOB, 0.0, 3600.0)
    live_until(live, 0, 100)
    assert live.resident("udp/0/a", 100.0) == BOB
    live_until(live, 100, 200)
    assert live.resident("udp/0/a", 200.0) is None
    assert len(live) == 0


def test_each_has_its_turn_within_a_round_and_not_all_at_once():
    live = LiveFlows()
    for number in range(10 * ROUND):
        live.settle(flow(f"udp/0/{number}"), BOB, 0.0, 3600.0)
    live.age(1000.0)
    assert len(live) == 10 * (ROUND - 1)
    live_until(live, 1001, 1001 + 5 * ROUND)
    assert len(live) == 0


def test_connections_end_and_nobody_settles_on_one_that_has():
    live = LiveFlows()
    live.settle(flow("tcp/1", reliable=True), BOB, 0.0, 60.0)
    live.settle(flow("tcp/2", reliable=True, ended=True), BOB, 0.0, 60.0)
    live_until(live, 0, 500)
    assert live.resident("tcp/1", 500.0) == BOB
    assert live.resident("tcp/2", 500.0) is None
    live.leave("tcp/1")
    assert len(live) == 0


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(flows, "MAX_FLOWS", 3)
    live = LiveFlows()
    for number in range(9):
        live.settle(flow(f"udp/0/{number}"), BOB, 0.0, 3600.0)
        live.settle(flow(f"tcp/{number}", reliable=True), BOB, 0.0, 3600.0)
    live.settle(flow("udp/0/8"), BOB, 1.0, 3600.0)
    assert len(live) == 6
    assert [live.resident(f"udp/0/{number}", 1.0) is not None for number in (5, 6, 7, 8)] == [False, True, True, True]
