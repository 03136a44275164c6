"""Browsers through the relay: ICE-lite, DTLS-SRTP, descriptions of both worlds."""

from __future__ import annotations

import pytest

from sbc.media import stun
from sbc.media.component import PATIENCE
from sbc.media.ice import CONSENT
from sbc.media.protection import Fingerprint, Protection, read
from sbc.media.relay import KEYS_LOST, LOST_FOR
from sbc.media.sdp import parse
from sbc.sip.errors import RemoteError
from tests.unit.media.crypt_phones import Browser, SdesPhone
from tests.unit.media.relay_world import RELAY, Phone, World, both_ways, world


def browser(relay: World, host: str = "127.0.0.3", setup: bytes = b"actpass") -> Browser:
    relay.phones.append(Browser(host, setup))
    return relay.phones[-1]  # type: ignore[return-value]


def called(relay: World, setup: bytes = b"actpass") -> tuple[Browser, Phone]:
    """A browser has called a plain phone."""
    a, b = browser(relay, setup=setup), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe()))
    a.learn(relay.answer(b.describe()))
    a.connect(relay)
    return a, b


def test_a_browser_calls_a_plain_phone(relay: World) -> None:
    a, b = browser(relay), relay.phone("127.0.0.4")
    offered = relay.offer(a.describe())
    lines = offered.split(b"\r\n")
    assert b"RTP/AVP 111 0 126" in offered
    assert {b"c=IN IP4 " + RELAY, b"a=sendrecv", b"a=rtpmap:111 opus/48000/2"} < set(lines)
    assert b"a=rtpmap:126 telephone-event/8000" in lines
    for foreign in (b"ice", b"fingerprint", b"setup", b"extmap", b"msid", b"ssrc", b"mid", b"group", b"rtcp", b"cand"):
        assert not any(line.startswith(b"a=" + foreign) for line in lines), foreign

    b.learn(offered)
    answered = relay.answer(b.describe())
    lines = answered.split(b"\r\n")
    assert b"UDP/TLS/RTP/SAVPF 0 101" in answered
    assert {b"a=ice-lite", b"a=setup:passive", b"a=rtcp-mux", b"a=mid:0", b"a=group:BUNDLE 0"} < set(lines)
    assert any(line.startswith(b"a=candidate:1 1 udp ") for line in lines)
    a.learn(answered)
    a.connect(relay)
    assert a.answers[0].kind == stun.BINDING_SUCCESS
    assert a.opener is not None
    both_ways(relay, a, b)

    report = a.report()
    relay.turn()
    assert b.heard(b.rtcp) == [report]
    b.far = (b.far[0], b.far[1])
    report = b.report()
    relay.turn()
    assert a.heard() == [report]


def test_a_browser_that_wants_to_be_the_server(relay: World) -> None:
    a, b = called(relay, setup=b"passive")
    assert a.said is not None
    assert a.said.setup == b"active"
    both_ways(relay, a, b)


@pytest.mark.parametrize("setup", [b"active", b"passive"])
def test_a_plain_phone_calls_a_browser(relay: World, setup: bytes) -> None:
    a, b = relay.phone("127.0.0.3"), browser(relay, "127.0.0.4", setup)
    offered = relay.offer(a.describe(), toward_web=True)
    lines = offered.split(b"\r\n")
    assert b"UDP/TLS/RTP/SAVPF 0 101" in offered
    assert {b"a=ice-lite", b"a=setup:actpass", b"a=rtcp-mux", b"a=mid:0", b"a=group:BUNDLE 0"} < set(lines)
    assert any(line.startswith(b"a=msid:") for line in lines)
    assert lines.count(b"a=rtpmap:0 PCMU/8000") == lines.count(b"a=sendrecv") == 1, "browsers need to be told"
    assert b"crypto" not in offered
    b.learn(offered)
    b.check()
    relay.turn()  # before the answer: browsers are quick
    answered = relay.answer(b.describe())
    assert b" RTP/AVP 111 0 126" in answered
    assert b"fingerprint" not in answered
    a.learn(answered)
    b.connect(relay)
    both_ways(relay, a, b)


def test_a_browser_calls_a_browser(relay: World) -> None:
    a, b = browser(relay), browser(relay, "127.0.0.4", b"active")
    offered = relay.offer(a.describe(), toward_web=True)
    assert b"a=rtcp-fb:111 transport-cc" in offered
    assert b"a=extmap:1 " in offered
    assert a.identity.fingerprint.render() not in offered
    assert a.password not in offered
    b.learn(offered)
    a.learn(relay.answer(b.describe()))
    a.connect(relay)
    b.connect(relay)
    both_ways(relay, a, b)


def test_a_browser_calls_a_phone_with_sdes() -> None:
    with world(srtp_clients="sdes") as relay:
        a = browser(relay)
        relay.phones.append(b := SdesPhone("127.0.0.4"))
        b.learn(relay.offer(a.describe()))
        a.learn(relay.answer(b.describe()))
        a.connect(relay)
        both_ways(relay, a, b)


def test_hold_and_resume_by_either_side(relay: World) -> None:
    a, b = called(relay)
    held = relay.offer(b.describe(host="0.0.0.0"), "b", source="127.0.0.4")
    assert b"a=sendonly" in held
    assert b"0.0.0.0" not in held
    assert read(parse(held), parse(held).media[0]).ice == (a.said or Protection("web", b"")).ice
    relay.answer(a.describe(b"a=recvonly"), "a", source="127.0.0.3")
    relay.offer(b.describe(), "b", source="127.0.0.4")
    relay.answer(a.describe(), "a", source="127.0.0.3")
    both_ways(relay, a, b)

    again = relay.offer(a.describe())
    assert b" RTP/AVP " in again
    assert b"a=setup:passive" in relay.answer(b.describe())
    both_ways(relay, a, b)


def test_ice_starts_anew_and_the_keys_stay(relay: World) -> None:
    a, b = called(relay)
    before = a.said
    a.ufrag = b"again"
    relay.offer(a.describe())
    a.learn(relay.answer(b.describe()))
    assert before is not None
    assert a.said is not None
    assert a.said.ice != before.ice
    both_ways(relay, a, b)
    a.check()
    relay.turn()
    a.take()
    both_ways(relay, a, b)


def test_only_who_passed_a_check_is_heard(relay: World) -> None:
    a, b = called(relay)
    stranger = browser(relay, "127.0.0.9")
    stranger.far, stranger.said, stranger.dtls = a.far, a.said, a.dtls
    stranger.sealer = a.sealer
    stranger.say()
    stranger.check(password=b"guess")
    stranger.rtp.sendto(b"\x16\xfe\xff" + bytes(50), a.far)
    relay.turn()
    assert b.heard() == []
    assert [stun.ERROR_CODE in each.attributes for each in _answers(stranger)] == [True]
    a._sequence += 1  # the stranger used its number
    both_ways(relay, a, b)
    (stream,) = relay.calls.close("leg").result.streams
    assert stream.from_a.foreign >= 2


def _answers(phone: Browser) -> list[stun.Message]:
    found = [stun.parse(data) for data in Phone.heard(phone)]
    return [each for each in found if each is not None]


def test_a_handshake_before_any_check_is_ignored(relay: World) -> None:
    a, b = browser(relay), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe()))
    a.learn(relay.answer(b.describe()))
    assert a.dtls is not None
    a._send(a.dtls.begin())
    relay.turn()
    assert Phone.heard(a) == []


def test_another_certificate_than_announced_ends_the_call(relay: World) -> None:
    a, b = browser(relay), relay.phone("127.0.0.4")
    false = Fingerprint(b"sha-256", bytes(32)).render()
    b.learn(relay.offer(a.describe().replace(a.identity.fingerprint.render(), false)))
    a.learn(relay.answer(b.describe()))
    a.connect(relay)
    assert a.sealer is not None
    a.say()
    relay.turn()
    assert b.heard() == []
    relay.core.sweep()
    assert relay.silences == [("leg", "DTLS: the certificate is not the one of the description")]


def test_a_browser_that_is_gone_ends_the_call(relay: World) -> None:
    a, _b = called(relay)
    now = relay.engine.forwarder.clock()
    relay.engine.forwarder.clock = lambda: now + CONSENT - 1
    relay.core.sweep()
    assert relay.silences == []
    a.check()
    relay.turn()
    relay.engine.forwarder.clock = lambda: now + CONSENT + 1
    relay.core.sweep()
    assert relay.silences == [], "it has consented since"
    relay.engine.forwarder.clock = lambda: now + 2 * CONSENT
    relay.core.sweep()
    assert relay.silences == [("leg", "ICE: the peer is gone")]


def test_a_browser_that_never_comes_ends_the_call(relay: World) -> None:
    a, b = browser(relay), relay.phone("127.0.0.4")
    b.learn(relay.offer(a.describe()))
    a.learn(relay.answer(b.describe()))
    now = relay.engine.forwarder.clock()
    for seconds in (0, PATIENCE - 1):
        relay.engine.forwarder.clock = lambda later=seconds: now + later
        relay.core.sweep()
    assert relay.silences == []
    relay.engine.forwarder.clock = lambda: now + PATIENCE
    relay.core.sweep()
    assert relay.silences == [("leg", "ICE: no connectivity check")]


@pytest.mark.parametrize("lost", [b"a=fingerprint", b"a=ice-pwd", b"a=setup"])
def test_offers_without_what_keys_need(relay: World, lost: bytes) -> None:
    body = b"\r\n".join(line for line in browser(relay).describe().split(b"\r\n") if not line.startswith(lost))
    with pytest.raises(RemoteError) as refused:
        relay.offer(body)
    assert refused.value.status == 488
    assert relay.engine.streams == 0


def test_data_channels_are_refused(relay: World) -> None:
    channel = b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1"
    a, b = browser(relay), relay.phone("127.0.0.4")
    offered = relay.offer(a.describe(channel))
    assert b"m=application 0 " in offered
    b.learn(offered)
    answered = relay.answer(b.describe(b"m=application 0 UDP/DTLS/SCTP webrtc-datachannel"))
    assert b"m=application 0 UDP/DTLS/SCTP" in answered
    assert b"a=group:BUNDLE 0\r\n" in answered


def video(phone: Phone, port: int) -> bytes:
    if not isinstance(phone, Browser):
        return b"m=video %d RTP/AVP 97" % port
    fingerprint = phone.identity.fingerprint.render()
    lines = [b"m=video 0 UDP/TLS/RTP/SAVPF 97", b"c=IN IP4 0.0.0.0", b"a=bundle-only", b"a=mid:v", b"a=setup:actpass"]
    lines += [b"a=ice-ufrag:" + phone.ufrag, b"a=ice-pwd:" + phone.password, b"a=fingerprint:" + fingerprint]
    feedback = [b"a=rtcp-fb:97 goog-remb", b"a=rtcp-fb:97 nack pli", b"a=rtcp-fb:97 nack"]
    return b"\r\n".join([*lines, *feedback, b"a=rtcp-mux"])


def test_two_lines_on_one_port(relay: World) -> None:
    a, b, screen = browser(relay), relay.phone("127.0.0.4"), relay.phone("127.0.0.4")
    offered = relay.offer(a.describe(video(a, 0)).replace(b"BUNDLE 0", b"BUNDLE 0 v"))
    b.learn(offered)
    assert [line for line in offered.split(b"\r\n") if b"rtcp-fb" in line] == [b"a=rtcp-fb:97 nack pli"]
    port = parse(offered).media[1].port
    assert port not in (0, 9, b.far[1])
    screen.far = (b.far[0], port)
    answered = relay.answer(b.describe(video(b, screen.address[1])))
    assert b"a=group:BUNDLE 0 v" in answered
    assert parse(answered).media[0].port == parse(answered).media[1].port
    a.learn(answered)
    a.connect(relay)
    both_ways(relay, a, b)

    picture = bytearray(a.packet())
    picture[1], picture[8:12] = 97, b"vid!"
    assert a.sealer is not None
    a.rtp.sendto(a.sealer.rtp(bytes(picture)), a.far)
    relay.turn()
    assert (b.heard(), screen.heard()) == ([], [bytes(picture)])
    seen = screen.packet().replace((0x1234).to_bytes(4, "big"), b"back")
    screen.rtp.sendto(seen, screen.far)
    relay.turn()
    assert a.heard() == [seen]


def test_a_call_whose_keys_were_ours_is_over_after_a_restart(relay: World) -> None:
    called(relay)
    text = relay.calls.snapshot("leg")
    assert text is not None
    with world() as after:
        assert after.calls.restore("leg", text).result is False
        after.core.sweep()
        assert after.silences == [], "its parties are still on their way back"
        after.clock.advance(LOST_FOR)
        after.core.sweep()
        assert after.silences == [("leg", KEYS_LOST)]
        after.calls.close("leg")
        after.core.sweep()
        assert len(after.silences) == 1
