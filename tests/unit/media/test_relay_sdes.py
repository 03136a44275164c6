"""Lines with keys in the description that end at the relay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sbc.media import sdes
from sbc.media.indexes import SIZE, Book
from sbc.media.protection import read
from sbc.media.sdes import CM_80, GCM_128, SUITES, Crypto, Suite
from sbc.media.sdp import parse
from sbc.sip.errors import RemoteError
from tests.unit.media.crypt_phones import SdesPhone
from tests.unit.media.relay_world import Phone, World, both_ways, world


@pytest.fixture
def relay() -> Iterator[World]:
    """Clients get SRTP whatever is offered, upper servers get RTP."""
    with world(srtp_clients="sdes", srtp_upper="off") as made:
        yield made


def secure(relay: World, host: str, suite: Suite = CM_80) -> SdesPhone:
    relay.phones.append(SdesPhone(host, suite))
    return relay.phones[-1]  # type: ignore[return-value]


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.decode())
def test_a_phone_with_srtp_calls_a_plain_one(relay: World, suite: Suite) -> None:
    a, b = secure(relay, "127.0.0.3", suite), relay.phone("127.0.0.4")
    offered = relay.offer(a.describe(), toward_upper=True)
    assert b"m=audio" in offered
    assert b" RTP/AVP 0" in offered
    assert b"crypto" not in offered
    b.learn(offered)
    answered = relay.answer(b.describe())
    assert b" RTP/SAVP 0" in answered
    assert b"a=crypto:7 " + suite.name in answered
    assert a.crypto.render().split(b"inline:")[1] not in answered
    a.learn(answered)
    both_ways(relay, a, b)
    b.report()
    relay.turn()
    reports = Phone.heard(a, a.rtcp)
    assert len(reports) == 1
    assert a.opener is not None
    assert a.opener.rtcp(reports[0])[1] == 201


def test_a_plain_phone_calls_one_with_srtp(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), secure(relay, "127.0.0.4")
    offered = relay.offer(a.describe())
    assert [each.suite for each in read(parse(offered), parse(offered).media[0]).cryptos] == list(SUITES)
    b.learn(offered)
    answered = relay.answer(b.describe())
    assert b"crypto" not in answered
    assert b" RTP/AVP 0" in answered
    a.learn(answered)
    both_ways(relay, a, b)


def test_srtp_on_both_sides_with_keys_of_their_own(relay: World) -> None:
    a, b = secure(relay, "127.0.0.3", SUITES[0]), secure(relay, "127.0.0.4", SUITES[3])
    offered = relay.offer(a.describe())
    assert a.crypto.render().split(b"inline:")[1] not in offered
    b.learn(offered)
    a.learn(relay.answer(b.describe()))
    both_ways(relay, a, b)


@pytest.mark.parametrize("moved", [False, True], ids=["", "in the next process"])
def test_a_suite_that_is_left_and_used_again_goes_on_where_it_stood(relay: World, *, moved: bool) -> None:
    """Our key of each suite is the same for the whole call: from the beginning again, its first reports would be sealed
    as others were before."""
    relay.core._surroundings = replace(relay.core._surroundings, book=Book(memoryview(bytearray(SIZE)), os.urandom))
    a, b = relay.phone("127.0.0.3"), secure(relay, "127.0.0.4", CM_80)
    cryptos = [b.crypto, Crypto(1, GCM_128, os.urandom(GCM_128.size)), b.crypto]
    told = []
    for crypto in cryptos:
        b.crypto = crypto
        offered = relay.offer(a.describe())
        a.learn(relay.answer(b.describe()))
        if crypto.suite == CM_80:
            a.report()
            relay.turn()
            told += [int.from_bytes(each[-14:-10], "big") & 0x7FFFFFFF for each in Phone.heard(b, b.rtcp)]
        elif moved:
            text, _ = relay.core.release("leg")
            assert relay.core.restore("leg", text)
    assert told == [1, 2]
    b.learn(offered)
    both_ways(relay, a, b)


def test_keys_pass_by_default() -> None:
    with world() as relay:
        a, b = secure(relay, "127.0.0.3"), secure(relay, "127.0.0.4")
        offered = relay.offer(a.describe())
        assert a.crypto.render() in offered
        b.learn(offered)
        a.learn(relay.answer(b.describe()))
        both_ways(relay, a, b)
        assert relay.calls.snapshot("leg") is not None


def test_what_is_forged_damaged_or_repeated_is_not_relayed(relay: World) -> None:
    a, b = secure(relay, "127.0.0.3"), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe(), toward_upper=True))
    a.learn(relay.answer(b.describe()))
    packet = a.sealer.rtp(a.packet())
    damaged = packet[:-1] + bytes((packet[-1] ^ 1,))
    for each in (damaged, packet, packet, a.packet(), packet[:14], b"\x80"):
        a.rtp.sendto(each, a.far)
    relay.turn()
    assert len(b.heard()) == 1
    both_ways(relay, a, b)
    (stream,) = relay.calls.close("leg").result.streams
    assert (stream.from_a.packets, stream.from_a.refused, stream.from_a.foreign) == (4, 4, 1)


def test_who_has_the_wrong_key_is_not_latched_on(relay: World) -> None:
    a, b = secure(relay, "127.0.0.3"), relay.phone("127.0.0.4")
    thief = secure(relay, "127.0.0.3")
    b.learn(relay.offer(a.describe(host="192.168.1.5"), toward_upper=True))
    a.learn(relay.answer(b.describe()))
    thief.far = a.far
    thief.say()
    relay.turn()
    assert b.heard() == []
    both_ways(relay, a, b)
    thief.say()
    relay.turn()
    assert b.heard() == []


def test_offers_again_change_nothing(relay: World) -> None:
    a, b = secure(relay, "127.0.0.3"), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe(), toward_upper=True))
    answered = relay.answer(b.describe())
    a.learn(answered)
    both_ways(relay, a, b)
    held = relay.offer(b.describe(b"a=sendonly"), "b", source="127.0.0.4")
    assert b" RTP/SAVP 0" in held
    assert b"a=sendonly" in held
    said = read(parse(held), parse(held).media[0])
    assert any(each.key == read(parse(answered), parse(answered).media[0]).cryptos[0].key for each in said.cryptos)
    back = relay.answer(a.describe(b"a=recvonly"), "a", source="127.0.0.3")
    assert b" RTP/AVP 0" in back
    both_ways(relay, a, b)


def test_a_new_key_of_the_phone(relay: World) -> None:
    a, b = secure(relay, "127.0.0.3"), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe(), toward_upper=True))
    a.learn(relay.answer(b.describe()))
    both_ways(relay, a, b)
    again = secure(relay, "127.0.0.3", SUITES[1])
    relay.offer(again.describe(), toward_upper=True)
    both_ways(relay, a, b)
    again.learn(relay.answer(b.describe()))
    both_ways(relay, again, b)


def test_a_line_that_is_refused_keeps_its_protocol(relay: World) -> None:
    a, b = secure(relay, "127.0.0.3"), relay.phone("127.0.0.4")
    video = b"m=video 4002 RTP/SAVP 97\r\na=crypto:" + a.crypto.render()
    relay.offer(a.describe(video), toward_upper=True)
    answered = relay.answer(b.describe(b"m=video 0 RTP/AVP 97"))
    assert b"m=video 0 RTP/SAVP 97" in answered


def test_no_suite_in_common(relay: World) -> None:
    body = relay.phone("127.0.0.3").describe(b"a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA").replace(b"/AVP", b"/SAVP")
    with pytest.raises(RemoteError) as refused:
        relay.offer(body, toward_upper=True)
    assert refused.value.status == 488
    assert relay.engine.streams == 0


def test_an_answer_that_is_less_than_was_offered(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.offer(a.describe())
    with pytest.raises(RemoteError) as refused:
        relay.answer(b.describe())
    assert refused.value.status == 488


def test_a_flood_of_forged_packets_ends_nothing(relay: World) -> None:
    a, b = secure(relay, "127.0.0.3"), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe(), toward_upper=True))
    a.learn(relay.answer(b.describe()))
    forged = bytearray(a.sealer.rtp(a.packet()))
    for number in range(2000):
        forged[8:12] = number.to_bytes(4, "big")
        a.rtp.sendto(forged, a.far)
        if number % 50 == 0:
            relay.turn()
    both_ways(relay, a, b)


class TestCryptoLines:
    def test_a_line(self) -> None:
        value = b"1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20"
        crypto = sdes.parse(value)
        assert crypto is not None
        assert (crypto.tag, crypto.suite) == (1, CM_80)
        assert crypto.render() == value.removesuffix(b"|2^20")

    @pytest.mark.parametrize(
        "value",
        [
            b"", b"1", b"x AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
            b"1 AES_CM_128_HMAC_SHA1_80 inline:WVNf", b"1 AES_CM_128_HMAC_SHA1_80 inline:???",
            b"1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4",
            b"1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz UNENCRYPTED_SRTP",
            b"1 UNKNOWN inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
        ],
    )  # fmt: skip
    def test_lines_that_are_passed_over(self, value: bytes) -> None:
        assert sdes.parse(value) is None
