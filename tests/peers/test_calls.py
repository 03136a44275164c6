"""Calls between real phones, one of them behind the SBC, the other at Kamailio."""

from __future__ import annotations

import re

import pytest

from tests.peers.program import until

TALK = 1.5  # s


def talk(*phones):
    """Until every phone has heard the other for a while."""
    for phone in phones:
        until(lambda phone=phone: phone.hears() > TALK, lambda phone=phone: f"{phone.user} hears: {phone.hears()} s")


def talked(*phones):
    """Every phone heard a tone."""
    for phone in phones:
        until(lambda phone=phone: phone.heard(), f"{phone.user} has a recording")
        [(seconds, loudness)] = phone.heard()
        assert seconds > TALK / 2, f"{phone.user} heard {seconds} s"
        assert loudness > 0.1, f"{phone.user} heard silence"


@pytest.mark.parametrize("relay", ["always", "never"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_from_the_upper_server_reaches_the_phone(kamailio, sbc, baresip, capture, transport, relay):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": relay}})
    wire = capture([border.port, upper.port])
    bob = baresip("bob", border.address, transport=transport, answer=True)
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED")
    talk(alice, bob)
    alice.hang_up()
    bob.wait("CALL_CLOSED")

    talked(alice, bob)
    [cdr] = border.wait_rows("select * from cdrs where ended_at is not null")
    assert cdr["code"] == 200
    assert cdr["answered_at"]
    assert wire.check() > 12


def test_a_call_from_the_phone_reaches_the_upper_server_and_the_callee_hangs_up(kamailio, sbc, baresip):
    upper = kamailio()
    border = sbc(upper)
    bob = baresip("bob", border.address, transport="tcp")
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)

    bob.call("sip:alice@example.test")
    bob.wait("CALL_ESTABLISHED")
    talk(alice, bob)
    alice.hang_up()
    bob.wait("CALL_CLOSED")

    talked(alice, bob)


def test_two_phones_of_the_same_sbc(kamailio, sbc, baresip):
    upper = kamailio()
    border = sbc(upper)
    bob = baresip("bob", border.address, answer=True)
    alice = baresip("alice", border.address, transport="tcp")

    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED")
    talk(alice, bob)
    bob.hang_up()
    alice.wait("CALL_CLOSED")

    talked(alice, bob)


def test_a_refusal_keeps_its_code(kamailio, sbc, baresip):
    upper = kamailio()
    border = sbc(upper)
    bob = baresip("bob", border.address)

    bob.call("sip:answer-486@example.test")
    closed = bob.wait("CALL_CLOSED")

    assert "486" in str(closed)


def test_the_callee_rejects(kamailio, sbc, baresip):
    upper = kamailio()
    border = sbc(upper)
    bob = baresip("bob", border.address)
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call("sip:bob@example.test")
    bob.wait("CALL_INCOMING")
    alice.wait("CALL_RINGING")
    bob.hang_up()
    closed = alice.wait("CALL_CLOSED")

    assert "486" in str(closed)


def test_the_caller_gives_up(kamailio, sbc, baresip):
    upper = kamailio()
    border = sbc(upper)
    bob = baresip("bob", border.address, transport="tcp")
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call("sip:bob@example.test")
    bob.wait("CALL_INCOMING")
    alice.hang_up()

    bob.wait("CALL_CLOSED")
    [cdr] = border.wait_rows("select * from cdrs where ended_at is not null")
    assert cdr["code"] == 487


@pytest.mark.parametrize("relay", ["never", "always"])
def test_a_call_outlives_a_crash_of_the_sbc(kamailio, sbc, baresip, relay):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": relay}})
    bob = baresip("bob", border.address, answer=True)
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED")
    border.wait_rows("select * from dialogs")

    border.kill()
    border.start()
    talk(alice, bob)
    alice.hang_up()

    bob.wait("CALL_CLOSED")
    [cdr] = border.wait_rows("select * from cdrs where ended_at is not null")
    assert cdr["code"] == 200
    until(lambda: not border.rows("select * from dialogs"), "no dialog is left")
    if relay == "always":
        [media] = border.wait_rows("select detail from call_events where kind = 'media'")
        caller, callee = (int(count) for count in re.findall(r"(\d+) packets", media["detail"]))
        assert caller > 20, "the relay went on after the crash"
        assert callee > 20
