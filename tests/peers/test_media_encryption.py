"""Phones that encrypt talk to phones that do not: the keys end at the SBC."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from sbc.media.relay import KEYS_LOST
from tests.peers.program import until
from tests.peers.test_calls import TALK, talk, talked

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
    bob.wait("CALL_ESTABLISHED")
    talk(alice, bob)
    bob.hang_up()
    alice.wait("CALL_CLOSED")

    talked(alice, bob)
    counted(border)


def test_a_plain_phone_calls_one_that_insists_on_srtp(kamailio, sbc, baresip):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always", "srtp_clients": "sdes"}})
    bob = baresip("bob", border.address, answer=True, parameters=("mediaenc=srtp-mand",))
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED")
    talk(alice, bob)
    alice.hang_up()
    bob.wait("CALL_CLOSED")

    talked(alice, bob)
    counted(border)


def test_two_phones_with_srtp_that_do_not_learn_each_other_s_keys(kamailio, sbc, baresip):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always", "srtp_clients": "sdes", "srtp_upper": "off"}})
    bob = baresip("bob", border.address, answer=True, parameters=("mediaenc=srtp-mand",))
    alice = baresip("alice", border.address, parameters=("mediaenc=srtp-mand",))

    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED")
    talk(alice, bob)
    alice.hang_up()
    bob.wait("CALL_CLOSED")

    talked(alice, bob)
    until(lambda: len(border.rows("select detail from call_events where kind = 'media'")) >= 1, "media is counted")


def relayed(border):
    """Packets that the relay received, as the metrics say."""
    return border.metrics().get("sbc_relay_packets_total", 0.0)


@pytest.mark.slow
def test_an_encrypted_call_goes_on_when_the_sbc_is_killed(kamailio, sbc, baresip):
    """The keys are the media process's, and that one lives."""
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always", "srtp_upper": "off", "timeout": "30s"}})
    bob = baresip("bob", border.address, parameters=("mediaenc=srtp-mand",))
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)
    bob.call("sip:alice@example.test")
    bob.wait("CALL_ESTABLISHED")
    border.wait_rows("select * from dialogs")

    border.kill()
    border.start()

    before = until(lambda: relayed(border), "packets are counted")
    until(lambda: relayed(border) > before + PACKETS, "packets flow")
    talk(alice, bob)
    bob.hang_up()
    alice.wait("CALL_CLOSED")
    talked(alice, bob)
    [cdr] = border.wait_rows("select * from cdrs where answered_at is not null and ended_at is not null")
    assert cdr["reason"] == "hung up"


def worker_of(border):
    """The process id of what relays for it, the youngest of its media processes; 0 while there is none."""
    found, words = [(0, 0)], b"sbc.media.worker\0%s\0" % str(border.database.parent).encode()
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words in each.read_bytes():
                began = int(each.with_name("stat").read_text().rpartition(")")[2].split()[19])
                found.append((began, int(each.parent.name)))
        except OSError:
            continue
    return max(found)[1]


@pytest.mark.slow
@pytest.mark.parametrize("keys", ["", "srtp-mand", "dtls_srtp"])
def test_a_call_goes_on_when_the_media_process_is_killed(kamailio, sbc, baresip, keys):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always", "srtp_upper": "off"}})
    bob = baresip("bob", border.address, parameters=(f"mediaenc={keys}",) if keys else ())
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)
    bob.call("sip:alice@example.test")
    bob.wait("CALL_ESTABLISHED")
    until(lambda: relayed(border) > PACKETS, "packets flow")

    before = worker_of(border)
    os.kill(before, signal.SIGKILL)
    until(lambda: worker_of(border) not in (0, before), "a new one is there")
    heard = relayed(border)
    until(lambda: relayed(border) > heard + 2 * PACKETS, "packets flow again")
    bob.hang_up()
    alice.wait("CALL_CLOSED")
    talked(alice, bob)
    counted(border)


@pytest.mark.slow
def test_an_encrypted_call_ends_with_its_reason_when_both_processes_are_killed(kamailio, sbc, baresip):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always", "srtp_upper": "off"}})
    bob = baresip("bob", border.address, parameters=("mediaenc=srtp-mand",))
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)
    bob.call("sip:alice@example.test")
    bob.wait("CALL_ESTABLISHED")
    border.wait_rows("select * from dialogs")

    border.kill()
    os.kill(worker_of(border), signal.SIGKILL)
    border.start()

    for phone in (alice, bob):
        phone.wait("CALL_CLOSED")
    [cdr] = border.wait_rows("select * from cdrs where answered_at is not null and ended_at is not null")
    assert "media encryption failed" in cdr["reason"] and KEYS_LOST in cdr["reason"]
