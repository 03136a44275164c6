"""What every engine promises, as conversations between two phones through it. Engines are tested by subclasses that say
how one is made; the sockets, the reactor and what relays are real."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater

from sbc.media import process
from sbc.media.calls import MediaCalls
from sbc.media.engine import Engine, Fault
from sbc.media.sdp import parse
from sbc.media.settings import MediaSettings
from sbc.settings import Ports
from sbc.sip.errors import RemoteError
from tests.peers.ports import free_port, given_back
from tests.unit.media.relay_world import RELAY as LOOPBACK
from tests.unit.media.relay_world import Phone

#: Where phones are; an engine on another host may be unable to reach 127.0.0.3.
A, B = "127.0.0.3", "127.0.0.4"
#: Seconds that anything may take on a machine that is busy with other things.
LONG = 60.0
#: What parties say until they are heard. Some of it may still be on its way when the test goes on.
HELLO = b"h" * 160
#: Ports of an engine.
PORTS = 40


def ports(count: int) -> Ports:
    """So many, the first of them even, for as long as `given_back` says."""
    first = free_port(count + 1)
    first += first % 2
    return Ports(first, first + count - 1)


def pause(seconds: float) -> Deferred[None]:
    return deferLater(reactor, seconds, lambda: None)


def news(phone: Phone) -> list[bytes]:
    """What it hears of what was said since `talk`."""
    return [packet for packet in phone.heard() if not packet.endswith(HELLO)]


class Conversation:
    """Mixed into a `TestCase`. `make(settings)` gives an engine that is not started yet; `shown` is where it relays."""

    timeout = 150
    shown = LOOPBACK
    #: Whether it knows of losses by itself, not by the receivers' reports.
    counts_losses = True
    #: Seconds after the first packets in which it still learns where parties are, from anybody.
    learns_for = 0.0
    phones: list[Phone]

    def make(self, settings: MediaSettings) -> Engine:
        raise NotImplementedError

    @inlineCallbacks
    def begin(self, **settings: Any) -> Any:
        self.phones = []
        self.faults: list[tuple[str, Fault]] = []
        lent = given_back()
        lent.__enter__()
        self.addCleanup(lent.__exit__, None, None, None)  # type: ignore[attr-defined]
        self.settings = MediaSettings(**{"ports": ports(PORTS), **settings})
        self.patch(process, "PATIENCE", LONG)  # type: ignore[attr-defined]
        self.engine = self.make(self.settings)
        self.calls = MediaCalls(self.settings, self.engine)
        self.calls.on_fault = lambda key, fault: self.faults.append((key, fault))
        self.addCleanup(self.end)  # type: ignore[attr-defined]
        self.calls.privilegedStartService()
        self.calls.startService()
        yield self.ready()

    def ready(self) -> Any:
        """Wait until it can be asked."""
        return None

    @inlineCallbacks
    def end(self) -> Any:
        yield self.calls.stopService()
        for phone in self.phones:
            phone.close()

    # What parties do

    def phone(self, host: str) -> Phone:
        self.phones.append(Phone(host))
        return self.phones[-1]

    def offer(self, phone: Phone, body: bytes | None = None, key: str = "leg", from_: str = "a", **more: Any) -> Any:
        shown = {"toward": self.shown, "back": self.shown}
        body = phone.describe() if body is None else body
        return self.calls.offer(key, body, source=phone.host, from_=from_, **{**shown, **more})  # type: ignore[arg-type]

    def answer(self, phone: Phone, body: bytes | None = None, key: str = "leg", from_: str = "b") -> Any:
        body = phone.describe() if body is None else body
        return self.calls.answer(key, body, source=phone.host, from_=from_)  # type: ignore[arg-type]

    @inlineCallbacks
    def call(self, a: Phone, b: Phone, key: str = "leg") -> Any:
        """Offer and answer, then each party is heard by the other."""
        b.learn((yield self.offer(a, key=key)))
        a.learn((yield self.answer(b, key=key)))
        yield self.talk(a, b)

    @inlineCallbacks
    def until(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = reactor.seconds() + LONG  # type: ignore[attr-defined]
        while not condition():
            assert reactor.seconds() < deadline, f"never: {what}"  # type: ignore[attr-defined]
            yield pause(0.02)

    @inlineCallbacks
    def talk(self, a: Phone, b: Phone) -> Any:
        """Both speak until both were heard, as phones do."""
        heard: dict[Phone, int] = {a: 0, b: 0}

        def round_() -> bool:
            for one, other in ((a, b), (b, a)):
                one.say(HELLO)
                heard[other] += len(other.heard())
            return min(heard.values()) > 2

        yield self.until(round_, "both parties hear each other")

    @inlineCallbacks
    def hears(self, phone: Phone, packet: bytes) -> Any:
        """Exactly this packet arrives, unchanged."""
        heard: list[bytes] = []
        yield self.until(lambda: heard.extend(news(phone)) or heard, "a packet arrives")
        self.assertEqual(heard, [packet])  # type: ignore[attr-defined]


class Contract(Conversation):
    """What is promised."""

    @inlineCallbacks
    def test_packets_go_both_ways_unchanged(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        for one, other in ((a, b), (b, a)):
            yield self.hears(other, one.say())

    @inlineCallbacks
    def test_reports_have_a_way_of_their_own(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        heard: list[bytes] = []
        yield self.until(lambda: (a.report(), heard.extend(b.heard(b.rtcp)), heard)[2], "a report arrives")
        self.assertEqual(heard[0][1], 0xC9)  # type: ignore[attr-defined]

    @inlineCallbacks
    def test_neither_party_learns_where_the_other_is(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        offered = yield self.offer(a)
        answered = yield self.answer(b)
        for body, hidden in ((offered, A), (answered, B)):
            place = parse(body).rtp_place(parse(body).media[0])
            self.assertEqual((place.host, hidden.encode() in body), (self.shown.decode(), False))  # type: ignore[attr-defined, union-attr]

    @inlineCallbacks
    def test_an_offer_again_keeps_the_ports(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        far = a.far, b.far
        yield self.call(a, b)
        self.assertEqual((a.far, b.far), far)  # type: ignore[attr-defined]

    @inlineCallbacks
    def test_a_party_that_moves_is_followed(self) -> Any:
        yield self.begin()
        a, b, c = self.phone(A), self.phone(B), self.phone(A)
        yield self.call(a, b)
        b.learn((yield self.offer(c)))
        c.learn((yield self.answer(b)))
        yield self.talk(c, b)
        yield self.hears(c, b.say())

    @inlineCallbacks
    def test_strangers_are_not_believed(self) -> Any:
        yield self.begin()
        a, b, thief = self.phone(A), self.phone(B), self.phone("127.0.0.66")
        yield self.call(a, b)
        learnt = reactor.seconds() + self.learns_for  # type: ignore[attr-defined]
        while reactor.seconds() < learnt:  # type: ignore[attr-defined]
            yield self.talk(a, b)
        thief.far = a.far
        for _ in range(20):
            thief.say()
        yield pause(0.2)
        yield self.hears(b, a.say())
        yield self.hears(a, b.say())
        self.assertEqual(thief.heard(), [])  # type: ignore[attr-defined]

    @inlineCallbacks
    def test_legs_do_not_mix_and_are_counted(self) -> Any:
        yield self.begin()
        first, second = (self.phone(A), self.phone(B)), (self.phone(A), self.phone(B))
        yield self.call(*first, key="one")
        yield self.call(*second, key="two")
        self.assertTrue(self.calls.engine.carries("one") and self.calls.engine.carries("two"))  # type: ignore[attr-defined]
        yield self.until(lambda: self.engine.streams == 2, "two streams are counted")
        yield self.hears(second[1], second[0].say())
        self.assertEqual(news(first[1]), [])  # type: ignore[attr-defined]
        yield self.calls.close("one")
        self.assertFalse(self.calls.engine.carries("one"))  # type: ignore[attr-defined]
        yield self.hears(second[1], second[0].say())
        yield self.until(lambda: self.engine.streams == 1, "one stream is left")

    @inlineCallbacks
    def test_statistics_at_the_end(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        before = a._sequence, b._sequence
        for number in range(20):
            spoken, replied = a.say(), b.say()
            yield pause(0.02)
            if number == 9:
                a.packet()  # is lost on its way to us
        yield self.until(lambda: spoken in b.heard(), "the last packet arrives")
        yield self.until(lambda: replied in a.heard(), "and that of the other side")
        statistics = yield self.calls.close("leg")
        [stream] = statistics.streams
        self.assertEqual(stream.kind, "audio")  # type: ignore[attr-defined]
        self.assertEqual(stream.from_a.packets, before[0] + 20)  # type: ignore[attr-defined]
        self.assertEqual(stream.from_b.packets, before[1] + 20)  # type: ignore[attr-defined]
        self.assertEqual(stream.from_a.bytes, stream.from_a.packets * 172)  # type: ignore[attr-defined]
        self.assertEqual((stream.from_a.lost, stream.from_b.lost), (int(self.counts_losses), 0))  # type: ignore[attr-defined]
        self.assertLess(stream.from_b.jitter, 1.0)  # type: ignore[attr-defined]
        again = yield self.calls.close("leg")
        self.assertEqual(again.streams, ())  # type: ignore[attr-defined]

    @inlineCallbacks
    def test_silence_ends_a_leg(self) -> Any:
        yield self.begin(timeout=1.0)
        a, b = self.phone(A), self.phone(B)
        b.learn((yield self.offer(a)))
        a.learn((yield self.answer(b)))
        a.say(), b.say()
        yield self.until(lambda: self.faults, "silence is told")
        key, fault = self.faults[0]
        self.assertEqual((key, fault.cause), ("leg", "timeout"))  # type: ignore[attr-defined]

    @inlineCallbacks
    def test_what_is_broken_is_refused_and_what_is_no_description_passes(self) -> Any:
        yield self.begin()
        a = self.phone(A)
        body = yield self.offer(a, b"hello", content_type=b"text/plain")
        self.assertEqual(body, b"hello")  # type: ignore[attr-defined]
        yield self.assertFailure(self.offer(a, b"v=0\r\nm=nonsense\r\n"), RemoteError)  # type: ignore[attr-defined]
        self.assertFalse(self.engine.carries("leg"))  # type: ignore[attr-defined]

    @inlineCallbacks
    def test_lines_that_are_not_understood_stay(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        body = yield self.offer(a, a.describe(b"a=x-colour:blue", b"a=fmtp:101 0-15"))
        self.assertTrue(b"a=x-colour:blue" in body and b"a=fmtp:101 0-15" in body, body)  # type: ignore[attr-defined]
        yield self.answer(b)
