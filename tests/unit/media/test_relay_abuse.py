"""What strangers, broken descriptions and shortage do to the relay: nothing."""

from __future__ import annotations

import gc
import os
import socket

import pytest

from sbc.media.engine import Statistics
from sbc.media.sdp import parse
from sbc.settings import Ports
from sbc.sip.errors import ParseError, RemoteError
from tests.unit.media.relay_world import RELAY, World, world


def audio_port(body: bytes) -> int:
    return parse(body).media[0].port


def test_packets_never_circle(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    toward_b = relay.offer(a.describe())
    relay.answer(toward_b)  # b claims to be the relay port that faces it
    assert not [end for end in relay.core._legs["leg"].channels[0].rtp.values() if end.destination == end.name]
    toward_a = relay.answer(b.describe())
    a.learn(toward_a)
    relay.answer(toward_a)  # b claims to be the port that faces a
    a.say()
    relay.turn()
    assert relay.engine.packets <= 1


def test_no_circle_over_two_legs(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    first = relay.offer(a.describe(), key="one")
    second = relay.offer(first, key="two")
    third = relay.answer(second, key="two", source="127.0.0.9")
    relay.answer(third, key="one", source="127.0.0.9")
    a.learn(third)
    b.far = audio_far(first)
    a.say()
    b.say()
    relay.turn()
    assert relay.engine.packets < 10


def audio_far(body: bytes) -> tuple[str, int]:
    return RELAY.decode(), audio_port(body)


def test_a_leg_cannot_be_aimed_into_another(relay: World) -> None:
    """Its packets come from our own address, which is also where the other leg's signalling came from."""
    a, b, thief = relay.phone("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.66")
    relay.offer(a.describe(), key="other", source=RELAY.decode())
    toward_a = relay.answer(b.describe(), key="other")
    relay.offer(thief.describe(), key="mine", source="127.0.0.66")
    thief.learn(relay.answer(toward_a, key="mine", source="127.0.0.66"))
    for _ in range(3):
        thief.say()
        relay.turn()
    assert (a.heard(), b.heard()) == ([], [])


def test_unused_ports_of_the_range_are_no_destination(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.offer(a.describe())
    relay.answer(b.describe(host=RELAY.decode(), port=20000))
    assert relay.core._legs["leg"].channels[0].rtp["b"].destination is None


class TestStrangers:
    """RTP bleed and injection."""

    def test_who_sprays_first_gets_nothing(self, relay: World) -> None:
        a, b, thief = relay.phone("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.66")
        relay.call(a, b)
        thief.far = a.far
        for _ in range(20):
            thief.say()
        thief.report()
        relay.turn()
        spoken = b.say()
        relay.turn()
        assert (thief.heard(), a.heard(), b.heard()) == ([], [spoken], [])
        assert relay.calls.close("leg").result.streams[0].from_a.foreign == 21

    def test_injection_after_latching_is_dropped(self, relay: World) -> None:
        a, b, thief = relay.phone("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.66")
        relay.call(a, b)
        a.say()
        relay.turn()
        thief.far = a.far
        b.heard()
        thief.say()
        relay.turn()
        assert b.heard() == []
        assert relay.calls.close("leg").result.streams[0].from_a.foreign == 1

    def test_another_port_of_the_same_host_does_not_take_over(self, relay: World) -> None:
        a, b, neighbour = relay.phone("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.3")
        relay.call(a, b)
        neighbour.far = a.far
        neighbour.say()
        relay.turn()
        a.say()
        neighbour.say()
        relay.turn()
        spoken = b.say()
        relay.turn()
        assert (a.heard(), neighbour.heard()) == ([spoken], [])

    def test_no_sip_through_a_latched_port(self, relay: World) -> None:
        a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
        relay.call(a, b)
        a.say()
        relay.turn()
        b.heard()
        a.rtp.sendto(b"INVITE sip:pbx SIP/2.0\r\n\r\n", a.far)
        a.rtp.sendto(b"\r\n\r\nINVITE sip:pbx SIP/2.0\r\n\r\n", a.far)
        a.rtp.sendto(b"", a.far)
        relay.turn()
        assert b.heard() == []

    def test_what_is_no_media_does_not_latch(self, relay: World) -> None:
        a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
        relay.call(a, b)
        a.rtp.sendto(b"\x00\x01" + b"x" * 30, a.far)
        relay.turn()
        assert relay.core._legs["leg"].channels[0].rtp["a"].source is None


class TestTrouble:
    def test_a_broken_description(self, relay: World) -> None:
        with pytest.raises(ParseError):
            relay.offer(b"rubbish")
        relay.offer(relay.phone("127.0.0.3").describe())
        with pytest.raises(ParseError):
            relay.answer(b"rubbish")

    def test_exhaustion_leaks_nothing(self) -> None:
        with world(ports=Ports(20000, 20007)) as relay:
            a = relay.phone("127.0.0.3")
            relay.offer(a.describe(), key="one")
            assert relay.core.free_pairs == 2
            with pytest.raises(RemoteError) as refused:
                relay.offer(a.describe(b"m=video 4002 RTP/AVP 97"), key="two")
            assert refused.value.status == 503
            assert relay.engine.streams == 1
            assert not relay.engine.carries("two")
            relay.clock.advance(60)
            assert parse(relay.offer(a.describe(), key="three")).media[0].port

    def test_a_failed_offer_again_leaves_the_call_as_it_was(self) -> None:
        with world(ports=Ports(20000, 20005)) as relay:
            a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
            relay.call(a, b)
            with pytest.raises(RemoteError):
                relay.offer(a.describe(b"m=video 4002 RTP/AVP 97"))
            spoken = a.say()
            relay.turn()
            assert b.heard() == [spoken]

    def test_a_port_held_by_another_program_is_passed_over(self) -> None:
        with world(ports=Ports(20000, 20005)) as relay, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((RELAY, 20001))
            a = relay.phone("127.0.0.3")
            assert audio_port(relay.offer(a.describe())) in (20002, 20004)

    def test_no_other_program_can_share_a_port(self, relay: World) -> None:
        a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
        relay.call(a, b)
        a.say()
        relay.turn()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                thief.bind(a.far)

    def test_no_descriptor_is_left_open(self, relay: World) -> None:
        a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
        gc.collect()  # what others left
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            relay.call(a, b)
            for _ in range(2):
                a.say(), b.say(), a.report(), b.report()
                relay.turn()
            relay.offer(a.describe())
            relay.answer(b.describe())
            a.say(), b.say()
            relay.turn()
            relay.calls.close("leg")
        assert len(os.listdir("/proc/self/fd")) == before

    def test_close_frees_everything(self, relay: World) -> None:
        a = relay.phone("127.0.0.3")
        port = audio_port(relay.offer(a.describe()))
        relay.calls.close("leg")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind((RELAY, port))
        assert len(relay.engine.forwarder) == 0
        assert relay.calls.close("leg").result == Statistics()
        relay.clock.advance(31)
        relay.offer(a.describe())
        assert relay.core.free_pairs == 5000 - 2

    def test_an_address_that_is_not_ours_is_shown_but_not_bound(self, relay: World) -> None:
        a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
        offered = relay.offer(a.describe(), toward=b"192.0.2.1", back=RELAY)
        assert b"c=IN IP4 192.0.2.1" in offered
        b.far = ("127.0.0.1", audio_port(offered))
        a.learn(relay.answer(b.describe()))
        spoken = b.say()
        relay.turn()
        assert a.heard() == [spoken]


class TestSilence:
    def test_a_call_that_falls_silent_is_told_once(self, relay: World) -> None:
        a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
        relay.call(a, b)
        relay.clock.advance(50)
        a.say()
        relay.turn()
        relay.core.sweep()
        relay.clock.advance(59)
        relay.core.sweep()
        assert relay.silences == []
        relay.clock.advance(1)
        relay.core.sweep()
        relay.core.sweep()
        assert relay.silences == [("leg", "no media for 60 s")]

    def test_neither_ringing_nor_hold_is_silence(self, relay: World) -> None:
        a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
        relay.offer(a.describe())
        relay.clock.advance(100)
        relay.core.sweep()
        relay.answer(b.describe())
        relay.offer(a.describe(b"a=inactive"))
        relay.answer(b.describe(b"a=inactive"))
        relay.clock.advance(100)
        relay.core.sweep()
        assert relay.silences == []
        relay.offer(a.describe())
        relay.answer(b.describe())
        relay.clock.advance(59)
        relay.core.sweep()
        assert relay.silences == []

    def test_switched_off(self) -> None:
        with world(timeout=0.0) as relay:
            relay.call(relay.phone("127.0.0.3"), relay.phone("127.0.0.4"))
            relay.clock.advance(1000)
            relay.core.sweep()
            assert relay.silences == []
