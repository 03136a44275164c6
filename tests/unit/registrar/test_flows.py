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


ANN = Resident("ann", "pbx.example.com", "pbx", "i:2", "sip:ann@192.0.2.8:5060;transport=tcp")
BOB_TOO = Resident("bob", "pbx.example.com", "pbx", "i:3", "sip:bob@192.0.2.9:5060;ob")


def crowded(reliable=True):
    live, proxy = LiveFlows(), flow("tcp/1" if reliable else "udp/0/a", reliable=reliable)
    for resident in (BOB, ANN, BOB_TOO):
        live.settle(proxy, resident, 0.0, 60.0)
    return live, proxy.token


def test_over_the_flow_of_a_proxy_the_contact_tells_who_asks_and_else_the_name():
    for reliable in (True, False):
        live, token = crowded(reliable)
        assert live.resident(token, 1.0, "ann") == ANN
        assert live.resident(token, 1.0, "bob") == BOB_TOO, "the one that came last"
        assert live.resident(token, 1.0, "bob", "sip:bob@h;x=y") == BOB
        assert live.resident(token, 1.0, "anonymous", "sip:ann@192.0.2.8:5060") == ANN
        assert live.resident(token, 1.0, "eve", "sip:eve@192.0.2.10") is None, "a stranger behind the same proxy"
        assert live.resident(token, 60.0, "ann") is None, "its registration is over"


def test_one_leaves_and_the_others_stay():
    live, token = crowded()
    live.leave(token, "bob", "i:3")
    assert live.resident(token, 1.0, "bob") == BOB
    live.leave(token, "bob")
    assert live.resident(token, 1.0, "bob", BOB.contact) is None
    assert live.resident(token, 1.0, "ann") == ANN
    live.leave(token)
    assert len(live) == 0


def test_a_phone_whose_identity_changes_is_no_crowd():
    live, phone = LiveFlows(), flow("tcp/1", reliable=True)
    live.settle(phone, BOB, 0.0, 60.0)
    renamed = Resident("bob", "pbx.example.com", "pbx", "t:apns:token", "sip:bob@h;ob")
    live.settle(phone, renamed, 1.0, 60.0)
    assert live.resident("tcp/1", 2.0, "anonymous") == renamed, "alone on its flow it is known whatever it says"


def test_those_who_are_gone_do_not_pile_up_in_a_crowd():
    live, proxy = LiveFlows(), flow("tcp/1", reliable=True)
    for number in range(2000):
        live.settle(proxy, Resident("bob", "d", "pbx", f"i:{number}", f"sip:bob@h:{number}"), float(number), 10.0)
    assert len(live._streams["tcp/1"]) < 50
