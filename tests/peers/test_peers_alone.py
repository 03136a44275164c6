"""The peers without the SBC: what fails here is the test world's fault, not the product's."""

from __future__ import annotations

import time

from tests.peers.program import until


def test_sipp_registers_at_kamailio(kamailio, sipp):
    upper = kamailio()
    run = sipp(
        "register",
        f"{upper.host}:{upper.port}",
        keys={"realm": upper.realm, "expires": "60", "contact": ""},
        rows=["alice;[authentication username=alice password=secret-alice]"],
    )
    run.finish()
    assert list(upper.wait_registered("alice")) == [f"sip:alice@{run.address};transport=UDP"]


def test_two_baresips_talk_through_kamailio(kamailio, baresip, capture):
    upper = kamailio()
    wire = capture([upper.port])
    bob = baresip("bob", f"{upper.host}:{upper.port}", answer=True)
    alice = baresip("alice", f"{upper.host}:{upper.port}", transport="tcp")

    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED", 5)
    time.sleep(1.5)
    alice.hang_up()
    bob.wait("CALL_CLOSED", 5)

    for phone in (alice, bob):
        until(lambda phone=phone: phone.heard(), 3, "a recording")
        [(seconds, loudness)] = phone.heard()
        assert seconds > 0.8
        assert loudness > 0.1
    assert wire.check() > 10


def test_a_lab_phone_registers_at_kamailio_and_is_called(kamailio, lab, baresip, sipp):
    upper = kamailio()
    phone = lab.phone("bob", "secret-bob", f"{upper.host}:{upper.port}", dialect="none")
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED", 5)
    time.sleep(1)
    alice.hang_up()
    phone.wait("ended")
    keys = {"realm": "example.test", "callee": "bob", "text": "good morning"}
    rows = ["alice;[authentication username=alice password=secret-alice]"]
    sipp("message", f"{upper.host}:{upper.port}", keys=keys, rows=rows).finish()

    assert phone.messages() == ["good morning\r\n"]
    assert alice.heard()[0][1] > 0.01
