"""Phones that hand calls over: linphone with a consultation (RFC 5589 §7, RFC 3891), baresip blindly (§6)."""

from __future__ import annotations

import math
import struct
import wave
from itertools import pairwise

from tests.peers.program import until

RATE = 8000  # samples/s


def tone(path, pitch, seconds=60):
    """A file that sounds like one who is known by his pitch (Hz)."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        samples = (round(12000 * math.sin(2 * math.pi * pitch * n / RATE)) for n in range(RATE))
        file.writeframes(struct.pack(f"<{RATE}h", *samples) * seconds)
    return path


def pitches(path):
    """The pitch of each loud tenth of a second in a recording, Hz."""
    try:
        with wave.open(str(path)) as file:
            rate, step = file.getframerate(), file.getnchannels()
            frames = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error):
        return []
    samples = memoryview(frames[: len(frames) // 2 * 2]).cast("h")[::step]
    found = []
    for start in range(0, len(samples) - rate // 10, rate // 10):
        part = samples[start : start + rate // 10]
        if max(part) > 3000:
            found.append(5 * sum((one < 0) != (other < 0) for one, other in pairwise(part)))
    return found


def hears(path, pitch):
    """Whether half a second of this pitch is in a recording."""
    return sum(abs(each - pitch) <= 40 for each in pitches(path)) >= 5


def heard_by(phone, other):
    """Whether a baresip has a recording of what another one says."""
    return any(hears(path, other.pitch) for path in phone.folder.glob("dump-*dec.wav"))


def talk(border):
    """Two seconds and more of audio pass, both ways."""
    before = border.metrics().get("sbc_relay_packets_total", 0)
    until(lambda: border.metrics().get("sbc_relay_packets_total", 0) > before + 500, "they talk")


def test_a_call_is_handed_over_after_a_consultation(kamailio, sbc, linphone, capture, tmp_path):
    """Alice calls Bob, who asks Carol and hands Alice over to her: the two hear each other, and Bob is out of it.

    Every side has Call-IDs of its own: Carol's phone would know no other in Replaces.
    """
    upper = kamailio()
    border = sbc(upper, sections={"proxy": {"mask_call_id": True}, "media": {"relay": "always"}})
    wire = capture([border.port, upper.port])
    alice, bob, carol = (
        linphone(name, border.address, transport="tcp", answer=name != "alice") for name in ("alice", "bob", "carol")
    )
    heard, pitch = {}, {alice: 440, carol: 800}
    for phone in (alice, carol):
        heard[phone] = tmp_path / f"{phone.user}-heard.wav"
        phone.say("soundcard use files")
        phone.say(f"record {heard[phone]}")
        phone.say(f"play {tone(tmp_path / f'{phone.user}.wav', pitch[phone])}")

    alice.call("sip:bob@example.test")
    bob.wait_call("StreamsRunning")
    bob.say("pause 1")
    bob.wait_call("Paused")
    bob.call("sip:carol@example.test")
    carol.wait_call("StreamsRunning")
    until(lambda: bob.events().count("to LinphoneCallStreamsRunning") == 2, "Bob talks to Carol")
    bob.say("transfer 1 --to-call 2")

    until(lambda: bob.events().count("to LinphoneCallEnd") == 2, "Bob is out of both calls")
    talk(border)
    alice.hang_up()
    until(lambda: carol.events().count("to LinphoneCallEnd") == 2, "Carol's call with Alice ends too")
    until(lambda: hears(heard[alice], pitch[carol]), "Alice heard Carol")
    until(lambda: hears(heard[carol], pitch[alice]), "Carol heard Alice")
    until(lambda: not border.rows("select * from dialogs"), "no dialog is left")
    wire.check()


def test_a_call_is_handed_over_blindly(kamailio, sbc, baresip, capture):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always"}})
    wire = capture([border.port, upper.port])
    alice = baresip("alice", border.address, transport="tcp")
    bob, carol = (baresip(name, border.address, answer=True) for name in ("bob", "carol"))

    alice.call("sip:bob@example.test")
    bob.wait("CALL_ESTABLISHED")
    alice.wait("CALL_ESTABLISHED")
    bob.command("transfer", "sip:carol@example.test")

    carol.wait("CALL_ESTABLISHED")
    bob.wait("CALL_CLOSED")
    talk(border)
    carol.hang_up()
    until(lambda: alice.kinds().count("CALL_CLOSED") == 2, "both calls of Alice are over")
    until(lambda: heard_by(carol, alice), "Carol heard Alice")
    until(lambda: heard_by(alice, carol), "Alice heard Carol")
    wire.check()
