"""SIP phones with DTLS-SRTP and without ICE, whose keys end at the relay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sbc.media.sdp import parse
from tests.unit.media.crypt_phones import DtlsPhone
from tests.unit.media.relay_world import Phone, World, both_ways, world


@pytest.fixture
def relay() -> Iterator[World]:
    with world(srtp_upper="off") as made:
        yield made


def dtls(relay: World, host: str = "127.0.0.3", setup: bytes = b"actpass") -> DtlsPhone:
    relay.phones.append(DtlsPhone(host, setup))
    return relay.phones[-1]  # type: ignore[return-value]


@pytest.mark.parametrize("setup", [b"actpass", b"active", b"passive"])
@pytest.mark.parametrize("more", [(), (b"a=rtcp-mux",)], ids=["two ports", "one port"])
def test_it_calls_a_plain_phone(relay: World, setup: bytes, more: tuple[bytes, ...]) -> None:
    a, b = dtls(relay, setup=setup), relay.phone("127.0.0.4")
    offered = relay.offer(a.describe(*more), toward_upper=True)
    assert b" RTP/AVP 0" in offered
    assert b"fingerprint" not in offered
    b.learn(offered)
    answered = relay.answer(b.describe())
    assert b" UDP/TLS/RTP/SAVPF 0" in answered
    assert parse(answered).media[0].muxed == bool(more)
    assert b"a=setup:%s\r\n" % (b"active" if setup == b"passive" else b"passive") in answered
    assert b"ice" not in answered
    a.learn(answered)
    a.connect(relay)
    both_ways(relay, a, b)


def test_keys_pass_between_two_of_its_kind(relay: World) -> None:
    a, b = dtls(relay), dtls(relay, "127.0.0.4", b"active")
    offered = relay.offer(a.describe())
    assert a.identity.fingerprint.render() in offered
    assert parse(offered).media[0].protocol == b"UDP/TLS/RTP/SAVPF"
    relay.answer(b.describe())
    assert relay.core._legs["leg"].negotiation.crossings == {}


def test_handshakes_of_strangers_are_not_taken(relay: World) -> None:
    a, b = dtls(relay), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe(), toward_upper=True))
    a.learn(relay.answer(b.describe()))
    stranger = dtls(relay, "127.0.0.9")
    assert a.dtls is not None
    hello = a.dtls.begin()
    for datagram in hello:
        stranger.rtp.sendto(datagram, a.far)
        stranger.rtp.sendto(b"\x16\xfe\xff" + bytes(40), a.far)
    relay.turn()
    assert Phone.heard(stranger) == []
    a._send(hello)
    for _ in range(4):
        relay.turn()
        a.take()
    both_ways(relay, a, b)


def test_a_message_that_was_lost_is_said_again(relay: World) -> None:
    a, b = dtls(relay, setup=b"passive"), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe(b"a=rtcp-mux"), toward_upper=True))
    a.learn(relay.answer(b.describe()))
    assert len(Phone.heard(a)) == 1, "the relay is the client"
    [waiting] = relay.clock.getDelayedCalls()
    assert 0 < waiting.getTime() - relay.clock.seconds() <= 1.0
    relay.calls.close("leg")
    assert relay.clock.getDelayedCalls() == []
