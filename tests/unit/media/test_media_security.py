"""The media part of the security checks, by number: each as a conversation through the whole relay.

22 bleed, 23 injection, 24 forged SRTP, 25 junk for DTLS, 26 STUN, 27 destinations, 28 ports, 29 RTCP of third parties.
"""

from __future__ import annotations

import os
import time

import pytest

from sbc.media import stun
from sbc.media.dtls import Association, Identity
from sbc.media.ports import QUARANTINE
from sbc.media.sdp import parse
from sbc.settings import Ports
from sbc.sip.errors import RemoteError
from tests.unit.media.crypt_phones import Browser, DtlsPhone, SdesPhone
from tests.unit.media.relay_world import PORTS, RELAY, World, result, world

FLOOD = 10_000  # packets


@pytest.mark.parametrize("latch", ["strict", "open"])
@pytest.mark.parametrize("described", ["127.0.0.3", "192.168.1.5"])
def test_22_whoever_comes_first_a_source_that_fits_keeps_the_call(latch: str, described: str) -> None:
    """The phone is where its description or, behind NAT, its signalling says; a thief sprays from the first moment."""
    with world(latch=latch) as relay:
        a, b, thief = relay.phone("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.66")
        b.learn(relay.offer(a.describe(host=described)))
        a.learn(relay.answer(b.describe()))
        thief.far = a.far
        for _ in range(50):
            thief.say()
        spoken = a.say()
        relay.turn()
        for _ in range(50):
            thief.say()
        relay.turn()
        assert b.heard() == [spoken]
        replied = b.say()
        relay.turn()
        assert (a.heard(), thief.heard()) == ([replied], [])


def test_23_what_is_injected_later_is_dropped_counted_and_moves_nothing(relay: World) -> None:
    a, b, thief = relay.phone("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.66")
    relay.call(a, b)
    a.say(), b.say()
    relay.turn()
    a.heard(), b.heard()
    thief.far = a.far
    for _ in range(100):
        thief.say()
    relay.turn()
    assert b.heard() == []
    moved = relay.phone("127.0.0.5")
    moved.far = a.far
    moved.say()
    relay.turn()
    assert b.heard() == [], "it may not move without saying so"
    relay.offer(moved.describe(), source="127.0.0.5")
    relay.answer(b.describe())
    spoken = moved.say()
    relay.turn()
    assert b.heard() == [spoken]
    [stream] = result(relay.calls.close("leg")).streams
    assert stream.from_a.foreign == 101


def test_24_ten_thousand_forged_srtp_packets_are_counted_and_end_nothing() -> None:
    with world(srtp_clients="off") as relay:
        a, b = SdesPhone("127.0.0.3"), relay.phone("127.0.0.4")
        relay.phones.append(a)
        b.learn(relay.offer(a.describe(), source=a.host))
        a.learn(relay.answer(b.describe(), source=b.host))
        a.say()
        relay.turn()
        assert len(b.heard()) == 1
        began = time.process_time()
        for sent in range(FLOOD):
            a.rtp.sendto(a.packet() + bytes(16), a.far)
            if sent % 50 == 49:
                relay.turn()
        cost = time.process_time() - began
        assert b.heard() == []
        spoken = a.say()
        relay.turn()
        assert b.heard() == [spoken]
        assert relay.faults == []
        [stream] = result(relay.calls.close("leg")).streams
        assert stream.from_a.refused == FLOOD
        assert cost < 5, "both ends together: less than a second of 10,000 packets on any machine that is not busy"


@pytest.mark.parametrize(
    "junk", [b"\x16\xfe\xfd" + bytes(40), b"\x15\xfe\xfd\0\0\0\0\0\0\0\0\0\x02\x02\x28", b"\x16" * 13]
)
def test_25_junk_for_dtls_from_elsewhere_disturbs_nothing(relay: World, junk: bytes) -> None:
    page, b, stranger = Browser("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.66")
    relay.phones.append(page)
    b.learn(relay.offer(page.describe(), source=page.host))
    page.learn(relay.answer(b.describe(), source=b.host))
    stranger.far = page.far
    hello = Association(Identity(), frozenset(), active=True).begin()
    for datagram in [junk, *hello] * 20:
        stranger.rtp.sendto(datagram, stranger.far)
    relay.turn()
    page.connect(relay)
    for datagram in [junk, *hello] * 20:
        stranger.rtp.sendto(datagram, stranger.far)
    relay.turn()
    spoken = page.say()
    relay.turn()
    assert b.heard() == [spoken]
    assert stranger.heard() == [], "nobody answers it"


def test_25_a_certificate_nobody_announced_gives_no_keys_and_ends_the_call_with_that_reason(relay: World) -> None:
    page, b = DtlsPhone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.phones.append(page)
    with world(srtp_clients="off") as away:
        b.learn(away.offer(page.describe(), source=page.host))
        page.learn(away.answer(b.describe(), source=b.host))
        page.dtls = Association(Identity(), page.dtls.fingerprints, active=True)  # type: ignore[union-attr]
        page.connect(away)
        away.core.sweep()
        [fault] = away.faults
        assert (fault.cause, fault.text) == ("keys", "DTLS: the certificate is not the one of the description")
        assert str(fault).startswith("media encryption failed: ")


def test_26_who_does_not_know_the_password_learns_nothing_and_is_told_less_than_it_said(relay: World) -> None:
    page, b, stranger = Browser("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.66")
    relay.phones.append(page)
    b.learn(relay.offer(page.describe(), source=page.host))
    page.learn(relay.answer(b.describe(), source=b.host))
    said = page.said
    assert said is not None and said.ice is not None
    names = [said.ice.ufrag + b":brow", b"x:y", b""]
    questions = [stun.request(os.urandom(12), [(stun.USERNAME, name)], b"wrong password") for name in names]
    for question in [*questions, questions[0][:20], b"\0\x01\0\0\x21\x12\xa4\x42" + bytes(12)]:
        stranger.rtp.sendto(question, page.far)
        relay.turn()
        for answer in stranger.heard():
            assert len(answer) <= len(question)
            message = stun.parse(answer)
            assert message is None or not message.has(stun.XOR_MAPPED_ADDRESS)
    page.connect(relay)
    spoken = page.say()
    relay.turn()
    assert b.heard() == [spoken]


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "169.254.1.1", "127.0.0.1", "10.0.0.1", "localhost"],
)
def test_27_a_description_cannot_aim_the_relay_where_it_has_no_business(relay: World, host: str) -> None:
    """From a public party; its packets, when they come, are from somewhere else."""
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.offer(a.describe(host=host), source="8.8.8.8", back=b"9.9.9.9")
    relay.answer(b.describe(), source=b.host)
    [channel] = relay.core._legs["leg"].channels.values()
    assert {end.destination for end in (channel.rtp["a"], channel.rtcp["a"])} == {None}


def test_27_nor_at_its_own_ports_nor_by_a_candidate(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    first = parse(relay.offer(a.describe(), key="other"))
    own = first.rtp_place(first.media[0])
    assert own is not None
    relay.answer(b.describe(), key="other")
    candidate = b"a=candidate:1 1 udp 2130706431 10.0.0.1 5060 typ host"
    relay.offer(a.describe(candidate, host=RELAY.decode(), port=PORTS.last - 1), source="127.0.0.3")
    [channel] = relay.core._legs["leg"].channels.values()
    assert channel.rtp["a"].destination is None


def test_28_ports_run_out_with_503_and_nothing_leaks() -> None:
    with world(ports=Ports(23000, 23007)) as relay:
        seen = set()
        for _ in range(3):
            relay.offer(relay.phone("127.0.0.3").describe(), key="one")
            relay.offer(relay.phone("127.0.0.3").describe(), key="two")
            with pytest.raises(RemoteError) as refusal:
                relay.offer(relay.phone("127.0.0.3").describe(), key="three")
            assert refusal.value.status == 503
            assert not relay.engine.carries("three")
            for leg in relay.core._legs.values():
                for side in "ab":
                    rtp, rtcp = leg.channels[0].rtp[side].port, leg.channels[0].rtcp[side].port  # type: ignore[index]
                    assert rtp % 2 == 0 and rtcp == rtp + 1
                    seen.add(rtp)
            for key in ("one", "two", "three"):
                result(relay.calls.close(key))
            assert (relay.core.free_pairs, relay.engine.streams) == (0, 0), "all rest"
            relay.clock.advance(QUARANTINE + 1)
        assert seen == {23000, 23002, 23004, 23006}
        assert relay.engine.exhausted == 3


@pytest.mark.parametrize(
    "packet",
    [
        b"\x81\xcb\x00\x01\x00\x00\x12\x34",  # BYE in the name of the party
        b"\x9f\xc8\xff\xff" + bytes(60),  # a sender report that claims to be longer than it is
        b"\x80\xc9\x00\x00",
        b"\xff" * 200,
        b"",
    ],
)
def test_29_rtcp_of_third_parties_has_no_effect(relay: World, packet: bytes) -> None:
    a, b, stranger = relay.phone("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.66")
    relay.call(a, b)
    a.say(), b.say(), a.report()
    relay.turn()
    a.heard(), b.heard(), b.heard(b.rtcp)
    for port in (a.far[1], a.far[1] + 1):
        stranger.rtp.sendto(packet, (a.far[0], port))
    relay.turn()
    assert (b.heard(), b.heard(b.rtcp), relay.faults) == ([], [], [])
    spoken, told = a.say(), a.report()
    relay.turn()
    assert (b.heard(), b.heard(b.rtcp)) == ([spoken], [told])
