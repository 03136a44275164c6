"""Calls through the relay, on real sockets."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from sbc.media.direct import Party
from sbc.media.engine import Statistics
from sbc.media.relay import REJECTED_FOR
from sbc.media.sdp import parse
from sbc.media.settings import MediaSettings
from tests.unit.media.relay_world import RELAY, Phone, World, world


def audio_port(body: bytes) -> int:
    return parse(body).media[0].port


def test_a_call(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    assert a.far[0] == b.far[0] == RELAY.decode()
    assert a.far[1] != b.far[1]
    assert a.far[1] % 2 == b.far[1] % 2 == 0

    sent = [a.say(b"%d" % n) for n in range(3)]
    relay.turn()
    assert b.heard() == sent
    sent = [b.say()]
    report = b.report()
    relay.turn()
    assert a.heard() == sent
    assert a.heard(a.rtcp) == [report]

    (stream,) = relay.calls.close("leg").result.streams
    assert (stream.index, stream.kind) == (0, "audio")
    assert (stream.from_a.packets, stream.from_a.bytes, stream.from_a.lost) == (3, 39, 0)
    assert (stream.from_b.packets, stream.from_b.bytes, stream.from_b.rtcp) == (1, 172, 1)


def test_both_sides_see_only_the_relay(relay: World) -> None:
    a = relay.phone("127.0.0.3")
    offered = relay.offer(a.describe())
    assert b"127.0.0.3" not in offered
    assert offered.count(RELAY) == 2


def test_early_media_then_the_same_answer_then_another(relay: World) -> None:
    a, b, c = relay.phone("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.5")
    b.learn(relay.offer(a.describe()))
    c.far = b.far
    ringing = relay.answer(b.describe())
    a.learn(ringing)
    early = b.say()
    relay.turn()
    assert a.heard() == [early]

    assert relay.answer(b.describe()) == ringing
    spoken = a.say()
    relay.turn()
    assert b.heard() == [spoken]

    assert relay.answer(c.describe(), source="127.0.0.5") == ringing
    b.say()
    spoken, replied = a.say(), c.say()
    relay.turn()
    assert c.heard() == [spoken]
    assert a.heard() == [replied]


def test_a_late_offer(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    a.learn(relay.offer(b.describe(), "b", source="127.0.0.4"))
    b.learn(relay.answer(a.describe(), "a", source="127.0.0.3"))
    spoken, replied = a.say(), b.say()
    relay.turn()
    assert (b.heard(), a.heard()) == ([spoken], [replied])


def test_an_offer_again_keeps_the_ports_and_moves_the_media_when_it_is_answered(relay: World) -> None:
    a, b, moved = relay.phone("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.6")
    relay.call(a, b)
    moved.far = a.far

    offered = relay.offer(moved.describe(), source="127.0.0.6")
    assert audio_port(offered) == b.far[1]
    spoken = b.say()
    relay.turn()
    assert (a.heard(), moved.heard()) == ([spoken], [])  # not before the answer: it may be refused

    assert audio_port(relay.answer(b.describe())) == a.far[1]
    spoken, said = b.say(), moved.say()
    a.say()
    relay.turn()
    assert (a.heard(), moved.heard(), b.heard()) == ([], [spoken], [said])


def test_offers_again_from_either_side(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    assert audio_port(relay.offer(b.describe(), "b", source="127.0.0.4")) == a.far[1]
    assert audio_port(relay.answer(a.describe(), "a", source="127.0.0.3")) == b.far[1]
    spoken, replied = a.say(), b.say()
    relay.turn()
    assert (b.heard(), a.heard()) == ([spoken], [replied])


def test_hold_and_resume_behind_nat(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe(host="192.168.1.5")))  # a's description is useless, its packets are not
    a.learn(relay.answer(b.describe()))
    a.say()
    b.say()
    relay.turn()
    b.heard(), a.heard()

    held = relay.offer(a.describe(host="0.0.0.0"))
    assert b"c=IN IP4 0.0.0.0" in held
    relay.answer(b.describe(b"a=recvonly"))
    b.say()
    relay.turn()
    assert a.heard() == []

    relay.offer(a.describe(host="192.168.1.5"))
    relay.answer(b.describe())
    a.say()
    relay.turn()
    spoken = b.say()
    relay.turn()
    assert a.heard() == [spoken]


def test_a_line_that_is_rejected_gives_its_ports_back_later(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    free = relay.core.free_pairs
    relay.offer(a.describe(b"m=video 4002 RTP/AVP 97"))
    assert relay.core.free_pairs == free - 4
    answered = relay.answer(b.describe(b"m=video 0 RTP/AVP 97"))
    assert [media.port for media in parse(answered).media][1] == 0
    assert relay.engine.streams == 2

    relay.clock.advance(REJECTED_FOR)
    relay.core.sweep()
    assert relay.engine.streams == 1
    offered = relay.offer(a.describe(b"m=video 4002 RTP/AVP 97"))
    assert parse(offered).media[1].port


def test_lines_nobody_offered_are_rejected(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.offer(a.describe())
    answered = relay.answer(b.describe(b"m=video 4002 RTP/AVP 97"))
    assert parse(answered).media[1].port == 0


def test_fax_takes_over_the_line(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)

    def fax(phone: Phone) -> bytes:
        return phone.describe().replace(b"RTP/AVP 0 101", b"udptl t38").replace(b"m=audio", b"m=image")

    assert audio_port(relay.offer(fax(b), "b", source="127.0.0.4")) == a.far[1]
    relay.answer(fax(a), "a", source="127.0.0.3")
    a.rtp.sendto(b"\x00\x01fax", a.far)
    relay.turn()
    assert b.heard() == [b"\x00\x01fax"]


def test_between_ipv6_and_ipv4() -> None:
    with world() as relay:
        try:
            a = relay.phone("::1")
        except AssertionError:
            pytest.skip("no IPv6 here")
        b = relay.phone("127.0.0.4")
        offered = relay.offer(a.describe(), source="::1", back=b"[::1]")
        assert b"c=IN IP4 " + RELAY in offered
        b.learn(offered)
        answered = relay.answer(b.describe())
        assert b"c=IN IP6 ::1" in answered
        a.learn(answered)
        spoken, replied = a.say(), b.say()
        relay.turn()
        assert (b.heard(), a.heard()) == ([spoken], [replied])


def test_rtcp_on_the_same_port(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe(b"a=rtcp-mux")))
    a.learn(relay.answer(b.describe(b"a=rtcp-mux")))
    report = b"\x80\xc8\x00\x06" + b"\x00" * 24
    a.rtp.sendto(report, a.far)
    spoken = a.say()
    relay.turn()
    assert b.heard() == [report, spoken]
    assert relay.calls.close("leg").result.streams[0].from_a.lost == 0


def test_a_handshake_on_the_media_port_passes(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")

    def secured(phone: Phone) -> bytes:
        return phone.describe(b"a=setup:actpass").replace(b"RTP/AVP", b"UDP/TLS/RTP/SAVP")

    b.learn(relay.offer(secured(a)))
    a.learn(relay.answer(secured(b)))
    hello = b"\x16\xfe\xff" + b"\x00" * 60
    a.rtp.sendto(hello, a.far)
    a.rtcp.sendto(hello, (a.far[0], a.far[1] + 1))
    a.rtp.sendto(b"OPTIONS sip:x SIP/2.0\r\n\r\n", a.far)
    relay.turn()
    assert (b.heard(), b.heard(b.rtcp)) == ([hello], [hello])


def test_a_phone_that_was_away_for_a_moment_misses_nothing_afterwards(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    a.say(), b.say()
    relay.turn()
    address = b.address
    b.rtp.close()
    a.say()
    relay.turn()  # the kernel answers "port unreachable", and the relay's socket remembers it
    b.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    b.rtp.setblocking(False)
    b.rtp.bind(address)
    spoken = []
    for _ in range(3):
        spoken.append(a.say())
        relay.turn()
    assert b.heard() == spoken


def test_a_forged_icmp_error_costs_no_packet(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    a.say(), b.say()
    relay.turn()
    b.heard()

    def refused(packet: memoryview) -> int:
        raise ConnectionRefusedError

    relay.core._legs["leg"].channels[0].rtp["b"].send_direct = refused
    spoken = a.say()
    relay.turn()
    assert b.heard() == [spoken]


def test_losses_are_counted(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    for number in range(20):
        if number in (5, 6, 11):
            a.packet()
        else:
            a.say()
        relay.turn()
    (stream,) = relay.calls.close("leg").result.streams
    assert (stream.from_a.packets, stream.from_a.lost) == (17, 3)
    assert 0.0 < stream.from_a.jitter < 0.2


def test_a_program_on_this_machine_that_binds_to_all_addresses(relay: World) -> None:
    """It signals over loopback but its packets bear the address that they are sent to."""
    a, b = relay.phone("127.0.0.1"), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe(), source="127.0.0.1"))
    a.learn(relay.answer(b.describe()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as twin:
        twin.bind((RELAY, 0))
        twin.sendto(a.packet(), a.far)
        relay.turn()
        assert len(b.heard()) == 1


def test_settings_that_change_while_it_runs(relay: World) -> None:
    relay.calls.reload(MediaSettings(relay="never"))
    body = relay.phone("127.0.0.3").describe()
    assert relay.offer(body) == body
    relay.calls.reload(MediaSettings(timeout=5.0))
    relay.call(relay.phones[0], relay.phone("127.0.0.4"))
    relay.clock.advance(5)
    relay.core.sweep()
    assert relay.silences == [("leg", "no media for 5 s")]


def test_a_call_that_comes_back_from_the_upper_server(relay: World) -> None:
    """Both users are ours: the descriptions of the second leg name ports of the first."""
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    upward = relay.offer(a.describe(), key="in")
    b.learn(relay.offer(upward, key="out", source="127.0.0.9"))
    back = relay.answer(b.describe(), key="out")
    a.learn(relay.answer(back, key="in", source="127.0.0.9"))
    for _ in range(2):
        spoken, replied = a.say(), b.say()
        relay.turn()
        assert (b.heard(), a.heard()) == ([spoken], [replied])


class TestPassing:
    """Bodies that leave as they came."""

    def test_relay_never(self) -> None:
        with world(relay="never") as relay:
            body = relay.phone("127.0.0.3").describe()
            assert relay.offer(body) == body
            assert relay.answer(body) == body
            assert relay.offer(b"rubbish") == b"rubbish"
            assert relay.calls.close("leg").result == Statistics()

    def test_other_bodies(self, relay: World) -> None:
        assert relay.offer(b"<x/>", content_type=b"application/pidf+xml") == b"<x/>"
        assert relay.answer(b"rubbish", key="unknown") == b"rubbish"
        assert relay.engine.streams == 0

    def test_what_is_a_description(self, relay: World) -> None:
        describes = relay.calls.describes
        assert describes(b"v=0\r\n")
        assert not describes(b"Signal=1\r\n", b"application/dtmf-relay")
        assert not describes(b"", None)
        assert not describes(b"x", b"multipart/mixed")

    def test_a_part_of_a_multipart_body(self, relay: World) -> None:
        a = relay.phone("127.0.0.3")
        isup = b"\r\n--b\r\nContent-Type: application/isup\r\n\r\n\x00\r\n--b--\r\n"
        body = b"--b\r\nContent-Type: application/sdp\r\n\r\n" + a.describe() + isup
        offered = relay.offer(body, content_type=b"multipart/mixed;boundary=b")
        assert offered.endswith(isup)
        assert b"127.0.0.3" not in offered
        assert relay.engine.streams == 1

    def test_what_goes_directly_is_not_relayed_under_auto(self) -> None:
        a, b = Party("127.0.0.3", "127.0.0.3", "127.0.0.2"), Party("127.0.0.4", "127.0.0.4", "127.0.0.2", server=True)
        with world(relay="auto") as relay, world(relay="always") as always:
            phone = relay.phone("127.0.0.3")
            body = phone.describe()
            assert relay.offer(body, parties=(a, b)) == body
            assert relay.answer(body) == body
            assert relay.offer(body, parties=(a, replace(b, web=True)), key="second") != body
            assert relay.offer(body, parties=(a, b), key="second") != body, "what is relayed stays so"
            assert relay.offer(body, key="third") != body, "nothing is known"
            assert always.offer(body, parties=(a, b)) != body
