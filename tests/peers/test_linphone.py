"""linphone behind the SBC: its own push parameters, calls in both directions, and a wake."""

from __future__ import annotations

import math
import struct
import wave

import pytest

from tests.peers.baresip_phone import HEAD, loudest
from tests.peers.lab_process import APP
from tests.peers.program import until

TOKEN = "cd" * 32
PUSH = f"pn-provider=apns;pn-param={APP};pn-prid={TOKEN}"
RATE = 8000  # samples/s


def tone(path, seconds=15):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        samples = (round(12000 * math.sin(2 * math.pi * 660 * n / RATE)) for n in range(RATE))
        file.writeframes(struct.pack(f"<{RATE}h", *samples) * seconds)
    return path


def loudness(path):
    """Of what is recorded so far."""
    return loudest(path.read_bytes()[HEAD:]) if path.exists() else 0.0


@pytest.fixture
def world(kamailio, sbc, lab):
    upper = kamailio()
    return upper, sbc(upper, sections=lab.sections())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_linphone_registers_with_its_token_and_is_called(world, linphone, baresip, capture, transport):
    upper, border = world
    wire = capture([border.port, upper.port])
    bob = linphone("bob", border.address, transport=transport, push=PUSH, answer=True)
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    [contact] = upper.wait_registered("bob")
    assert "pn-" not in contact
    [row] = border.rows("select b.instance, t.prid_hash from bindings b join push_tokens t on t.binding_id = b.id")
    assert row["instance"].startswith("<urn:uuid:")
    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED")
    bob.wait_call("StreamsRunning")
    alice.hang_up()
    bob.wait_call("End")

    [cdr] = border.wait_rows("select * from cdrs where ended_at is not null")
    assert cdr["code"] == 200
    assert wire.check() > 12


def test_linphone_calls_and_both_hear_each_other(world, linphone, baresip, tmp_path):
    upper, border = world
    bob = linphone("bob", border.address, transport="tcp", push=PUSH)
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)
    heard = tmp_path / "heard.wav"

    bob.say("soundcard use files")
    bob.say(f"record {heard}")
    bob.call("sip:alice@example.test")
    bob.wait_call("StreamsRunning")
    bob.say(f"play {tone(tmp_path / 'tone.wav')}")
    until(lambda: alice.loudness() > 0.1, "alice hears linphone")
    until(lambda: loudness(heard) > 0.1, "linphone hears alice")
    bob.hang_up()
    alice.wait("CALL_CLOSED")


@pytest.mark.parametrize("keys", ["srtp", "dtls"])
def test_linphone_encrypts_and_its_upper_server_does_not(kamailio, sbc, linphone, baresip, tmp_path, keys):
    """The keys end at the SBC; sound passes both ways."""
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always", "srtp_upper": "off"}})
    bob = linphone("bob", border.address, transport="tcp", encryption=keys)
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)
    heard = tmp_path / "heard.wav"

    bob.say("soundcard use files")
    bob.say(f"record {heard}")
    bob.call("sip:alice@example.test")
    bob.wait_call("StreamsRunning")
    bob.say(f"play {tone(tmp_path / 'tone.wav')}")
    until(lambda: border.metrics().get("sbc_relay_packets_total", 0) > 200, "packets flow")
    until(lambda: alice.loudness() > 0.1, "alice hears linphone")
    until(lambda: loudness(heard) > 0.1, "linphone hears alice")
    bob.hang_up()
    alice.wait("CALL_CLOSED")
    [event] = border.wait_rows("select detail from call_events where kind = 'media'")
    assert "from the caller 0 packets" not in event["detail"]


def test_linphone_gone_without_a_word_is_woken_and_its_return_is_called(world, lab, linphone, baresip):
    upper, border = world
    bob = linphone("bob", border.address, transport="tcp", push=PUSH)
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    bob.stop()
    border.wait_gone("TCP")

    alice.call("sip:bob@example.test")
    push = lab.wait_push(TOKEN)
    assert push.headers["apns-push-type"] == "voip"
    again = linphone("bob", border.address, transport="tcp", push=PUSH, answer=True)

    alice.wait("CALL_ESTABLISHED")
    again.wait_call("StreamsRunning")
    assert again.events().count("\nINVITE sip:") == 1
    alice.hang_up()
    again.wait_call("End")
