"""The peers without the SBC: what fails here is the test world's fault, not the product's."""

from __future__ import annotations

from tests.peers.program import until
from tests.peers.test_calls import talk, talked


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
    alice.wait("CALL_ESTABLISHED")
    talk(alice, bob)
    alice.hang_up()
    bob.wait("CALL_CLOSED")

    talked(alice, bob)
    assert wire.check() > 10


def test_a_lab_phone_registers_at_kamailio_and_is_called(kamailio, lab, baresip, sipp):
    upper = kamailio()
    phone = lab.phone("bob", "secret-bob", f"{upper.host}:{upper.port}", dialect="none")
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED")
    talk(alice)
    alice.hang_up()
    phone.wait("ended")
    keys = {"realm": "example.test", "callee": "bob", "text": "good morning"}
    rows = ["alice;[authentication username=alice password=secret-alice]"]
    sipp("message", f"{upper.host}:{upper.port}", keys=keys, rows=rows).finish()

    assert phone.messages() == ["good morning\r\n"]
    until(lambda: alice.heard() and alice.heard()[0][1] > 0.01, "the caller heard the phone")
