"""A sleeping phone behind the SBC, called from Kamailio: pushed, woken, reached; or not, and nobody is left hanging."""

from __future__ import annotations

import time

import pytest

from tests.peers.conftest import USERS
from tests.peers.program import until
from tests.peers.sbc_process import settle
from tests.peers.test_calls import talk

BOB = "sip:bob@example.test"


@pytest.fixture
def world(kamailio, sbc, lab):
    """``world(upper options, sections)``: Kamailio, an SBC that pushes through the lab."""

    def make(*, sections=None, **options):
        upper = kamailio(**options)
        tables = lab.sections()
        for name, table in (sections or {}).items():
            tables[name] = {**tables.get(name, {}), **table}
        return upper, sbc(upper, sections=tables)

    return make


def bobs_phone(lab, border, **options):
    return lab.phone("bob", USERS["bob"], border.address, **options)


@pytest.mark.parametrize("dialect", ["x-mpush", "rfc8599"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_wakes_the_phone(world, lab, baresip, capture, transport, dialect):
    upper, border = world(sections={"registrar": {"udp_awake": "1s"}})
    wire = capture([border.port, upper.port])
    phone = bobs_phone(lab, border, transport=transport, dialect=dialect)
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    phone.sleep()
    settle(1.2)

    alice.call(BOB)
    alice.wait("CALL_ESTABLISHED")
    talk(alice)
    alice.hang_up()
    phone.wait("ended")

    push = lab.wait_push(phone.token)
    assert push.status == 200
    assert push.headers["apns-push-type"] == "voip"
    assert push.headers["apns-topic"] == "com.example.phone.voip"
    assert "alice" in str(push.payload)
    assert len(lab.pushes()) == 1
    assert len(phone.requests("INVITE")) == 1
    assert phone.kinds().count("awake") == 2
    [cdr] = border.wait_rows("select * from cdrs where ended_at is not null")
    assert cdr["code"] == 200
    assert cdr["pushed"]
    [row] = border.wait_rows("select * from pushes")
    assert row["status"] == 200
    until(lambda: alice.heard() and alice.heard()[0][1] > 0.01, "the caller heard the phone")
    wire.check()


def test_a_message_wakes_the_phone(world, lab, sipp):
    upper, border = world(sections={"registrar": {"udp_awake": "1s"}})
    phone = bobs_phone(lab, border)
    phone.sleep()
    settle(1.2)

    keys = {"realm": "example.test", "callee": "bob", "text": "good morning"}
    rows = ["alice;[authentication username=alice password=secret-alice]"]
    sipp("message", f"{upper.host}:{upper.port}", keys=keys, rows=rows).finish()

    phone.wait("message")
    assert phone.messages() == ["good morning\r\n"]
    push = lab.wait_push(phone.token)
    assert push.headers["apns-push-type"] == "alert"
    assert "good morning" in str(push.payload)


def test_the_caller_gives_up_while_the_phone_sleeps(world, lab, baresip):
    upper, border = world(sections={"registrar": {"udp_awake": "1s"}})
    phone = bobs_phone(lab, border, manners={"wake_delay": 3600})
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    phone.sleep()
    settle(1.2)

    alice.call(BOB)
    lab.wait_push(phone.token)
    alice.hang_up()
    alice.wait("CALL_CLOSED")
    phone.wake()
    phone.wait("awake", count=2)
    phone.wait("registered", count=2)
    settle(1)

    assert not phone.requests("INVITE"), "nobody rings after the caller gave up"
    [cdr] = border.wait_rows("select * from cdrs where ended_at is not null")
    assert cdr["code"] == 487


def test_nobody_wakes(world, lab, baresip):
    upper, border = world(sections={"registrar": {"udp_awake": "1s"}, "push": {"max_wait": "3s"}})
    phone = bobs_phone(lab, border, manners={"killed": True})
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    phone.sleep()
    settle(1.2)

    started = time.monotonic()
    alice.call(BOB)
    closed = alice.wait("CALL_CLOSED")

    assert "480" in str(closed)
    assert 2.5 < time.monotonic() - started < 20, "the time that was set, not the usual 30 s"
    [cdr] = border.wait_rows("select * from cdrs where ended_at is not null")
    assert cdr["code"] == 480
    assert cdr["reason"], "the operator sees why"


def test_a_dead_token_is_noticed_and_the_caller_hears_480_at_once(world, lab, baresip):
    upper, border = world(sections={"registrar": {"udp_awake": "1s"}})
    phone = bobs_phone(lab, border)
    # Apple says when the token died: before the phone registered would mean that the word is out of date
    lab.plan(phone.token, status=410, reason="Unregistered", timestamp_at=time.time() + 1)
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    phone.sleep()
    settle(1.2)

    started = time.monotonic()
    alice.call(BOB)
    closed = alice.wait("CALL_CLOSED")

    assert "480" in str(closed)
    assert time.monotonic() - started < 20, "nobody waits the usual 30 s"
    alive = "select * from push_tokens where state <> 'dead'"
    until(lambda: not border.rows(alive), "the token is dead or gone")

    alice.events.clear()
    alice.call(BOB)
    alice.wait("CALL_CLOSED")
    assert len(lab.pushes(phone.token)) == 1, "a dead token is never pushed again"


def test_two_devices_ring_and_the_first_to_answer_wins(world, lab, baresip):
    upper, border = world(sections={"registrar": {"udp_awake": "1s"}})
    phone = bobs_phone(lab, border)
    awake = baresip("bob", border.address, transport="tcp")
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    phone.behave(answer_delay=None)
    phone.sleep()
    settle(1.2)

    alice.call(BOB)
    awake.wait("CALL_INCOMING")
    phone.wait("invite")
    awake.accept()

    alice.wait("CALL_ESTABLISHED")
    phone.wait("cancelled")
    alice.hang_up()


def test_a_killed_sbc_keeps_the_upper_registration_of_a_sleeping_phone_alive(world, lab, baresip):
    upper, border = world(max_expires=16, sections={"registrar": {"udp_awake": "1s"}, "push": {"upper_expires": 16}})
    phone = bobs_phone(lab, border)
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    phone.sleep()
    upper.wait_registered("bob")
    refreshes = "select cseq from upper_registrations"
    [before] = border.rows(refreshes)
    until(lambda: upper.contacts("bob") and border.rows(refreshes) != [before], "a refresh: time enough to start again")

    border.kill()
    border.start()

    upper.stays_registered("bob", 18)
    alice.call(BOB)
    alice.wait("CALL_ESTABLISHED")
    assert lab.wait_push(phone.token).status == 200
    alice.hang_up()


def test_a_restarted_upper_server_knows_the_phone_again_without_waking_it(world, lab):
    upper, border = world(max_expires=10, sections={"registrar": {"udp_awake": "1s"}, "push": {"upper_expires": 10}})
    phone = bobs_phone(lab, border)
    phone.sleep()
    upper.wait_registered("bob")

    upper.restart()

    upper.wait_registered("bob")
    assert phone.kinds().count("awake") == 1
