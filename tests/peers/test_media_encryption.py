"""Phones that encrypt talk to phones that do not: the keys end at the SBC."""

from __future__ import annotations

import re
import time

import pytest

from sbc.media.relay import KEYS_LOST, LOST_FOR
from tests.peers.program import until
from tests.peers.test_calls import TALK, talked

#: Seconds that baresip takes to repeat its first DTLS message.
HANDSHAKE = 1.5
PACKETS = 50 * TALK / 2


def counted(border):
    """Audio passed the relay both ways."""
    [media] = border.wait_rows("select detail from call_events where kind = 'media'")
    for count in re.findall(r"(\d+) packets", media["detail"]):
        assert int(count) > PACKETS, media["detail"]


@pytest.mark.parametrize("keys", ["srtp-mand", "dtls_srtp"])
def test_an_encrypting_phone_calls_a_plain_one_behind_the_upper_server(kamailio, sbc, baresip, keys):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always", "srtp_upper": "off"}})
    bob = baresip("bob", border.address, parameters=(f"mediaenc={keys}",))
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)

    bob.call("sip:alice@example.test")
    bob.wait("CALL_ESTABLISHED", 5)
    time.sleep(TALK + HANDSHAKE)
    bob.hang_up()
    alice.wait("CALL_CLOSED", 5)

    talked(alice, bob)
    counted(border)


def test_a_plain_phone_calls_one_that_insists_on_srtp(kamailio, sbc, baresip):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always", "srtp_clients": "sdes"}})
    bob = baresip("bob", border.address, answer=True, parameters=("mediaenc=srtp-mand",))
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED", 5)
    time.sleep(TALK)
    alice.hang_up()
    bob.wait("CALL_CLOSED", 5)

    talked(alice, bob)
    counted(border)


def test_two_phones_with_srtp_that_do_not_learn_each_other_s_keys(kamailio, sbc, baresip):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always", "srtp_clients": "sdes", "srtp_upper": "off"}})
    bob = baresip("bob", border.address, answer=True, parameters=("mediaenc=srtp-mand",))
    alice = baresip("alice", border.address, parameters=("mediaenc=srtp-mand",))

    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED", 5)
    time.sleep(TALK)
    alice.hang_up()
    bob.wait("CALL_CLOSED", 5)

    talked(alice, bob)
    until(lambda: len(border.rows("select detail from call_events where kind = 'media'")) >= 1, 5, "media is counted")


@pytest.mark.slow
def test_a_call_whose_keys_were_lost_by_a_crash_is_ended(kamailio, sbc, baresip):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always", "srtp_upper": "off"}})
    bob = baresip("bob", border.address, parameters=("mediaenc=srtp-mand",))
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)
    bob.call("sip:alice@example.test")
    bob.wait("CALL_ESTABLISHED", 5)
    border.wait_rows("select * from dialogs")

    border.kill()
    border.start()

    for phone in (alice, bob):
        phone.wait("CALL_CLOSED", LOST_FOR + 10)
    [cdr] = border.wait_rows("select * from cdrs where answered_at is not null and ended_at is not null")
    assert KEYS_LOST in cdr["reason"]
