"""What rtpengine daemons are asked, and what their answers mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.task import Clock

from sbc.media.engine import Offer
from sbc.media.rtpengine import bencode, ng
from sbc.media.rtpengine.daemons import REPEATS, best
from sbc.media.rtpengine.engine import RtpengineEngine
from sbc.media.sdp import parse
from sbc.media.settings import MediaSettings
from sbc.settings import Address

VALUES = some.recursive(
    some.integers() | some.binary(max_size=20),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
PLAIN = b"v=0\r\no=- 1 1 IN IP4 127.0.0.3\r\ns=-\r\nc=IN IP4 127.0.0.3\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
WEB = PLAIN.replace(b"RTP/AVP", b"UDP/TLS/RTP/SAVPF") + (
    b"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\na=fingerprint:sha-256 "
    + b":".join([b"AA"] * 32)
    + b"\r\n"
)


@given(VALUES)
def test_what_is_encoded_is_decoded(value: Any) -> None:
    assert bencode.decode(bencode.encode(value)) == value


@given(some.binary(max_size=60))
def test_anything_else_is_a_value_error(data: bytes) -> None:
    try:
        value = bencode.decode(data)
    except ValueError:
        return
    assert bencode.decode(bencode.encode(value)) == value


def test_depth_has_a_limit() -> None:
    with pytest.raises(ValueError):
        bencode.decode(b"l" * 1000 + b"e" * 1000)


def asked(body: bytes, wanted: str = "keep", toward: str = "127.0.0.9") -> ng.Command:
    session = parse(body)
    was = ng.protection(session)
    offer = Offer(session, "a", "127.0.0.3", "127.0.0.9", toward, wanted)
    return ng.offer("leg", offer, was, ng.towards(was, wanted, None))


@pytest.mark.parametrize(
    ("body", "wanted", "protocol", "ice"),
    [
        (PLAIN, "keep", None, "remove"),
        (PLAIN, "sdes", "RTP/SAVP", "remove"),
        (PLAIN, "web", "UDP/TLS/RTP/SAVPF", "force"),
        (WEB, "keep", "RTP/AVP", "remove"),
        (WEB, "web", "UDP/TLS/RTP/SAVPF", "force"),
        (WEB, "off", "RTP/AVP", "remove"),
    ],
)
def test_each_party_is_asked_for_what_it_needs(body: bytes, wanted: str, protocol: str | None, ice: str) -> None:
    command = asked(body, wanted)
    assert (command.get("transport-protocol"), command["ICE"]) == (protocol, ice)


def test_browsers_begin_the_handshake() -> None:
    """They do not hear who begins it before they have the answer, as a daemon does that is not told otherwise."""
    command = asked(WEB)
    assert (command["DTLS-reverse"], "DTLS" in command) == ("passive", False)
    assert "DTLS-reverse" not in asked(PLAIN, "web")
    session = parse(PLAIN)
    assert ng.answer("leg", session, "b", "127.0.0.4", "127.0.0.9", ng.protection(parse(WEB)))["DTLS"] == "passive"


def test_addresses_of_the_other_family() -> None:
    assert asked(PLAIN, toward="2001:db8::1")["address-family"] == "IP6"
    assert asked(PLAIN)["received-from"] == ["IP4", "127.0.0.3"]


@pytest.mark.parametrize(("reason", "status"), [(b"Ran out of ports", 503), (b"Failed to parse SDP", 488), (b"", 488)])
def test_a_refusal(reason: bytes, status: int) -> None:
    assert ng.refusal({"error-reason": reason}).status == status


def test_counts() -> None:
    def tag(packets: int, ssrc: int) -> dict[str, Any]:
        rtp = {"flags": [b"RTP"], "SSRC": ssrc, "stats": {"packets": packets, "bytes": packets * 172, "errors": 1}}
        rtcp = {"flags": [b"RTCP"], "stats": {"packets": 2, "bytes": 100, "errors": 0}}
        return {"medias": [{"type": b"audio", "streams": [rtp, rtcp]}]}

    reply = {
        "tags": {"a": tag(90, 1), "b": tag(50, 2)},
        "SSRC": {"1": {"average MOS": {"packet loss": 10, "jitter": 5}}},
    }
    [stream] = ng.statistics(reply).streams
    a, b = stream.from_a, stream.from_b
    assert (stream.kind, a.packets, a.rtcp, a.reported_lost, a.reported_jitter, a.refused) == (
        "audio",
        90,
        2,
        10,
        0.005,
        1,
    )
    assert (b.packets, b.bytes, b.reported_lost) == (50, 8600, None)
    assert ng.heard(reply) == {"a": 92, "b": 52}
    assert ng.statistics({}).streams == ()


# One daemon, without a network


class _Wire:
    """Where requests go. `cut`: there is no way to the daemon."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, ng.Command]] = []
        self.cut = False

    def write(self, packet: bytes, address: Any) -> None:
        if self.cut:
            raise OSError("Network is unreachable")
        cookie, _, body = packet.partition(b" ")
        self.asked.append((cookie, bencode.decode(body)))


def _engine() -> tuple[RtpengineEngine, Clock, _Wire]:
    clock, wire = Clock(), _Wire()
    settings = MediaSettings(engine="rtpengine", rtpengine=(Address("127.0.0.1", 2223),))
    engine = RtpengineEngine(settings, clock, bytes)
    engine.daemons[0].transport = wire
    return engine, clock, wire


def _offer() -> Offer:
    return Offer(parse(PLAIN), "a", "127.0.0.3", "127.0.0.2", "127.0.0.9")


def test_an_offer_finds_its_daemon_when_the_network_is_back() -> None:
    engine, clock, wire = _engine()
    wire.cut = True
    told: list[Any] = []
    engine.offer("leg", _offer()).addBoth(told.append)
    wire.cut = False
    clock.advance(0.5)
    [(_, ping), (cookie, _)] = wire.asked
    assert ping == {"command": b"ping"}
    engine.daemons[0].datagramReceived(
        cookie + b" " + bencode.encode({"result": "ok", "sdp": PLAIN}), ("127.0.0.1", 2223)
    )
    assert told == [PLAIN]


def test_a_network_that_is_gone_is_a_daemon_that_is_silent() -> None:
    engine, clock, wire = _engine()
    wire.cut = True
    told: list[Any] = []
    engine.offer("leg", _offer()).addErrback(lambda failure: told.append(failure.value.status))
    clock.pump([0.5] * 10)
    assert told == [503]


def test_what_is_closed_on_its_way_to_a_daemon_is_ended_there() -> None:
    engine, _, wire = _engine()
    told: list[Any] = []
    engine.offer("leg", _offer()).addErrback(lambda failure: told.append(failure.value.status))
    engine.close("leg")
    [(cookie, _)] = wire.asked
    engine.daemons[0].datagramReceived(
        cookie + b" " + bencode.encode({"result": "ok", "sdp": PLAIN}), ("127.0.0.1", 2223)
    )
    assert [asked["command"] for _, asked in wire.asked] == [b"offer", b"delete"]
    assert (told, engine.streams, engine.daemons[0].legs) == ([503], 0, 0)


@pytest.mark.parametrize("leaves", [True, False])
def test_calls_that_are_left_to_the_next_process_stay_with_their_daemon(leaves: bool) -> None:
    engine, _, wire = _engine()
    engine.offer("leg", _offer())
    [(cookie, _)] = wire.asked
    engine.daemons[0].datagramReceived(
        cookie + b" " + bencode.encode({"result": "ok", "sdp": PLAIN}), ("127.0.0.1", 2223)
    )
    engine.leave() if leaves else engine.stop()
    assert [asked["command"] for _, asked in wire.asked[1:]] == ([] if leaves else [b"delete"])


# Two of them


def _pair() -> tuple[RtpengineEngine, Clock, list[_Wire]]:
    clock, wires = Clock(), [_Wire(), _Wire()]
    addresses = tuple(Address("127.0.0.1", port) for port in (2223, 2224))
    engine = RtpengineEngine(MediaSettings(engine="rtpengine", rtpengine=addresses), clock, bytes)
    for daemon, wire in zip(engine.daemons, wires, strict=True):
        daemon.transport = wire
    return engine, clock, wires


def _answer(engine: RtpengineEngine, number: int, asked: tuple[bytes, ng.Command]) -> None:
    """The daemon of this number answers what it was asked."""
    cookie, command = asked
    reply = {"result": "pong"} if command["command"] == b"ping" else {"result": "ok", "sdp": PLAIN}
    daemon = engine.daemons[number]
    daemon.datagramReceived(cookie + b" " + bencode.encode(reply), daemon.address)


def test_one_call_finds_out_that_a_daemon_is_silent_and_the_next_ones_do_not_wait() -> None:
    engine, clock, (first, second) = _pair()
    told: list[str] = []
    engine.offer("one", _offer()).addCallback(lambda _: told.append("one"))
    assert [command["command"] for _, command in first.asked] == [b"offer"]
    clock.advance(REPEATS[0])
    assert [command["command"] for _, command in first.asked] == [b"offer", b"ping", b"offer"]
    engine.offer("two", _offer()).addCallback(lambda _: told.append("two"))
    _answer(engine, 1, second.asked[-1])
    assert told == ["two"]
    clock.pump(REPEATS[1:])
    _answer(engine, 1, second.asked[-1])
    assert told == ["two", "one"]
    assert [(each.alive, each.suspect, each.legs) for each in engine.daemons] == [(False, True, 0), (True, False, 2)]


def test_a_suspect_that_answers_is_none_any_more() -> None:
    engine, clock, (first, second) = _pair()
    told: list[str] = []
    engine.offer("one", _offer()).addCallback(lambda _: told.append("one"))
    clock.advance(REPEATS[0])
    _answer(engine, 0, first.asked[1])  # the ping; the offer takes its time
    assert (engine.daemons[0].suspect, told) == (False, [])
    engine.offer("two", _offer()).addCallback(lambda _: told.append("two"))
    assert not second.asked
    _answer(engine, 0, first.asked[-1])
    _answer(engine, 0, first.asked[0])
    assert told == ["two", "one"]


def test_suspects_come_before_those_that_do_not_answer() -> None:
    engine, _, _ = _pair()
    first, second = engine.daemons
    first.suspect, second.alive = True, False
    assert best(engine.daemons) == [first, second]
    second.alive, second.legs = True, 7
    assert best(engine.daemons) == [second, first]
