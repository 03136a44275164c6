"""RFC 5626 with PJSIP as the phone: its flow is used, and nothing but its flow."""

from __future__ import annotations

import pytest

from tests.peers.lab_process import APP
from tests.peers.sbc_process import settle

BOB = "sip:bob@example.test"
TOKEN = "ef" * 32
PUSH = f"pn-provider=apns;pn-param={APP};pn-prid={TOKEN}"
INSTANCE = "<urn:uuid:00000000-0000-1000-8000-00000a95a0e1>"


@pytest.fixture
def world(kamailio, sbc, lab):
    upper = kamailio()
    return upper, sbc(upper, sections=lab.sections())


def test_a_call_comes_over_the_flow_of_the_registration(world, pjsua2, baresip, capture):
    upper, border = world
    wire = capture([border.port, upper.port])
    bob = pjsua2("bob", border.address, transport="tcp", outbound=1, instance=INSTANCE)
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    [binding] = border.rows("select * from bindings")
    assert (binding["instance"], binding["reg_id"]) == (INSTANCE, 1)
    assert "Require: outbound" in bob.wait("registration")["text"]

    alice.call(BOB)
    alice.wait("CALL_ESTABLISHED")
    settle(1)
    bob.hang_up()
    alice.wait("CALL_CLOSED")

    ports = {port for [port] in wire.read("sip.Request-Line && tcp && sip.Method == INVITE", "tcp.dstport")}
    assert ports == {binding["source"].rpartition(":")[2]}, "no connection of our making"
    assert len(bob.events("invite")) == 1
    wire.check()


def test_a_dead_flow_is_asleep_at_once(world, lab, pjsua2, baresip):
    upper, border = world
    bob = pjsua2("bob", border.address, transport="tcp", outbound=1, instance=INSTANCE, push=PUSH)
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    bob.kill()
    border.wait_gone("TCP")

    alice.call(BOB)
    lab.wait_push(TOKEN)
    asked = 'sbc_sip_messages_total{direction="out",method="INVITE",transport="TCP"}'
    assert not border.metrics().get(asked), "nobody was asked first who is not there"
    again = pjsua2("bob", border.address, transport="tcp", outbound=1, instance=INSTANCE, push=PUSH)
    alice.wait("CALL_ESTABLISHED")

    alice.hang_up()
    again.wait("call", state="DISCONNECTED")
    assert len(again.events("invite")) == 1
    assert len(border.rows("select * from bindings")) == 1, "the same device as before"


def test_two_flows_of_one_phone_ring_once(world, pjsua2, baresip):
    upper, border = world
    flows = [
        pjsua2("bob", border.address, transport="tcp", outbound=number, instance=INSTANCE, host=f"127.0.0.{2 + number}")
        for number in (1, 2)
    ]
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call(BOB)
    alice.wait("CALL_ESTABLISHED")
    settle(0.5)
    alice.hang_up()

    assert sum(len(flow.events("invite")) for flow in flows) == 1


def test_the_upper_server_calls_by_the_path_that_it_was_given(kamailio, sbc, pjsua2, baresip, capture):
    upper = kamailio()
    table = {"name": "pbx", "uri": f"sip:{upper.host}:{upper.port};transport=udp", "domain": upper.realm, "path": "on"}
    border = sbc([table])
    wire = capture([border.port, upper.port])
    bob = pjsua2("bob", border.address, transport="tcp", outbound=1, instance=INSTANCE)
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    assert f"Path: <sip:{border.address}" in upper.ask("ul.lookup", "location", "bob")
    alice.call(BOB)
    alice.wait("CALL_ESTABLISHED")
    bob.hang_up()
    alice.wait("CALL_CLOSED")

    routed = wire.read(f"sip.Method == INVITE && udp.dstport == {border.port}", "sip.Route")
    assert any(border.address in route for [route] in routed), "Path became Route"
    assert "Route:" not in bob.wait("invite")["text"]
    wire.check()


def test_a_phone_behind_another_proxy_is_called_through_it(kamailio, edge, sbc, pjsua2, baresip, capture):
    upper = kamailio()
    border = sbc(upper)
    proxy = edge(border.address)
    wire = capture([border.port, upper.port])
    bob = pjsua2("bob", proxy.address, transport="tcp", outbound=1, instance=INSTANCE)
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    registered = bob.wait("registration")["text"]
    assert "Require: outbound" in registered, "the proxy offers it"
    assert f"@{proxy.address}" in registered, "the phone hears of the Path"
    [binding] = border.rows("select transport, source, path from bindings")
    assert (binding["transport"], binding["source"]) == ("UDP", proxy.address)
    assert f"@{proxy.address}" in binding["path"]
    assert ";ob" in binding["path"]

    alice.call(BOB)
    alice.wait("CALL_ESTABLISHED")
    settle(0.5)
    bob.hang_up()
    alice.wait("CALL_CLOSED")
    seen = len(alice.events)
    bob.call("sip:answer-486@example.test")

    assert bob.wait("call", state="DISCONNECTED", code=486)
    assert len(alice.events) == seen
    assert len(bob.events("invite")) == 1
    paths = wire.read(f"sip.Method == REGISTER && udp.dstport == {upper.port} && ip.src == 127.0.0.1", "sip.Path")
    assert not any(proxy.address in path for [path] in paths), "the way to the phone is hidden"
    wire.check()


def test_behind_another_proxy_a_phone_is_called_after_a_restart_of_the_sbc(kamailio, edge, sbc, pjsua2, baresip):
    upper = kamailio()
    border = sbc(upper)
    proxy = edge(border.address)
    bob = pjsua2("bob", proxy.address, transport="tcp", outbound=1, instance=INSTANCE)
    carol = pjsua2("carol", proxy.address, transport="tcp", host="127.0.0.4")
    [flows] = border.rows("select count(distinct flow) as flows, count(*) as devices from bindings")
    assert flows == {"flows": 1, "devices": 2}, "one flow is many phones"

    border.restart()
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    alice.call(BOB)
    alice.wait("CALL_ESTABLISHED")
    bob.hang_up()
    alice.wait("CALL_CLOSED")

    assert len(bob.events("invite")) == 1
    assert carol.events("invite") == []
    border.check_log()
