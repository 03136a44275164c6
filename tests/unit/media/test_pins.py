"""What of the relay's work is handed to the kernel, and when it is taken back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pytest

from sbc.media.addresses import Address
from sbc.media.offload import Counts, Flow, Offload
from tests.unit.media.crypt_phones import SdesPhone
from tests.unit.media.relay_world import RELAY, Phone, World, result, world


class FakeOffload:
    """Forwards nothing itself: packets still reach the relay, which must not care."""

    name = "fake"
    account = "not at all"

    def __init__(self) -> None:
        self.pinned: dict[Address, Flow] = {}
        self.counted: dict[Address, Counts] = {}
        self.gone: list[tuple[Flow, Counts]] = []
        self.refuses = False
        self.remains: dict[int, Flow] = {}

    def pin(self, flow: Flow) -> bool:
        if self.refuses:
            return False
        assert flow.local not in self.pinned
        self.pinned[flow.local] = flow
        return True

    def unpin(self, flow: Flow) -> Counts:
        self.pinned.pop(flow.local, None)
        return self.counted.pop(flow.local, Counts())

    def counts(self) -> Mapping[Address, Counts]:
        return self.counted

    def left(self, port: int) -> Flow | None:
        return self.remains.get(port)

    def settle(self) -> None:
        self.remains.clear()

    def fileno(self) -> int:
        return -1

    def look(self) -> Iterable[tuple[Flow, Counts]]:
        gone, self.gone = self.gone, []
        return gone

    def close(self) -> None:
        self.pinned.clear()


@pytest.fixture
def offload(relay: World) -> Iterator[FakeOffload]:
    made: FakeOffload = FakeOffload()
    port: Offload = made
    relay.engine.forwarder.pins.offload = port
    yield made
    relay.close()
    assert not made.pinned, "the end of the relay leaves nothing pinned"


def talk(relay: World, a: Phone, b: Phone) -> None:
    """Both phones are heard once."""
    a.say(), b.say()
    relay.turn()
    a.heard(), b.heard()


def test_both_ways_are_pinned_when_both_parties_were_heard(relay: World, offload: FakeOffload) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    a.say()
    relay.turn()
    assert not offload.pinned
    b.say(), a.report()
    relay.turn()
    relay_host = RELAY.decode()
    ways = {(flow.source, flow.local, flow.sender, flow.destination) for flow in offload.pinned.values()}
    at_a, at_b = (relay_host, a.far[1]), (relay_host, b.far[1])
    assert ways == {(a.address, at_a, at_b, b.address), (b.address, at_b, at_a, a.address)}
    assert all(flow.dscp == 46 and flow.rates[0] == 8000 for flow in offload.pinned.values())


def test_a_new_description_takes_it_back_and_packets_pin_it_again(relay: World, offload: FakeOffload) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    talk(relay, a, b)
    relay.call(a, b)
    assert not offload.pinned
    talk(relay, a, b)
    assert len(offload.pinned) == 2


def test_a_held_party_is_not_pinned(relay: World, offload: FakeOffload) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    talk(relay, a, b)
    relay.offer(a.describe(host="0.0.0.0"), source=a.host)
    relay.answer(b.describe(), source=b.host)
    talk(relay, a, b)
    assert {flow.source for flow in offload.pinned.values()} == {a.address}


def test_counts_are_those_of_the_call(relay: World, offload: FakeOffload) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    talk(relay, a, b)
    local = (RELAY.decode(), a.far[1])
    offload.counted[local] = Counts(packets=100, bytes=17_200, lost=3, jitter=0.004)
    relay.core.sweep()
    assert relay.engine.packets == 102
    offload.counted[local] = Counts(packets=150, bytes=25_800, lost=4, jitter=0.005)
    [stream] = result(relay.calls.close("leg")).streams
    assert (stream.from_a.packets, stream.from_a.lost, stream.from_b.packets) == (151, 4, 1)
    assert stream.from_a.bytes == 151 * 172
    assert stream.from_a.jitter == pytest.approx(0.005)
    assert relay.engine.packets == 152


def test_what_the_kernel_forwards_is_no_silence(relay: World, offload: FakeOffload) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    talk(relay, a, b)
    local = (RELAY.decode(), a.far[1])
    for minute in range(1, 5):
        relay.clock.advance(59)
        offload.counted[local] = Counts(packets=minute)
        relay.core.sweep()
    assert relay.silences == []
    relay.clock.advance(61)
    relay.core.sweep()
    assert len(relay.silences) == 1


def test_no_packet_is_lost_on_the_way_back(relay: World, offload: FakeOffload) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    talk(relay, a, b)
    [flow] = [flow for flow in offload.pinned.values() if flow.source == a.address]
    offload.gone = [(offload.pinned.pop(flow.local), Counts(packets=1000, lost=2))]
    for _ in range(1000):
        a.packet()
    relay.engine.forwarder.pins.look()
    spoken = a.say()
    relay.turn()
    assert b.heard() == [spoken]
    [stream] = result(relay.calls.close("leg")).streams
    assert (stream.from_a.packets, stream.from_a.lost) == (1002, 2)


def test_what_was_given_up_is_pinned_again_when_there_is_a_way(relay: World, offload: FakeOffload) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    talk(relay, a, b)
    offload.gone = [(flow, Counts()) for flow in offload.pinned.values()]
    offload.pinned.clear()
    offload.refuses = True
    relay.engine.forwarder.pins.look()
    relay.core.sweep()
    assert not offload.pinned
    offload.refuses = False
    relay.core.sweep()
    assert len(offload.pinned) == 2
    offload.gone = [(flow, Counts()) for flow in offload.pinned.values()]
    offload.pinned.clear()
    relay.engine.forwarder.pins.look()
    result(relay.calls.close("leg"))
    relay.core.sweep()
    assert not offload.pinned, "the call is over"


def test_what_is_refused_stays_with_the_relay(relay: World, offload: FakeOffload) -> None:
    offload.refuses = True
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    talk(relay, a, b)
    spoken = a.say()
    relay.turn()
    assert b.heard() == [spoken]


def test_lines_that_are_decrypted_are_never_pinned() -> None:
    with world(srtp_clients="off") as relay:
        offload = relay.engine.forwarder.pins.offload = FakeOffload()
        a, b = SdesPhone("127.0.0.3"), relay.phone("127.0.0.4")
        b.learn(relay.offer(a.describe(), source=a.host))
        a.learn(relay.answer(b.describe(), source=b.host))
        spoken = a.say(), b.say()
        relay.turn()
        assert (b.heard(), a.heard()) == ([spoken[0]], [spoken[1]])
        assert not offload.pinned
        a.close()


def test_a_stream_between_two_legs_stays_with_the_relay(relay: World, offload: FakeOffload) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    middle = relay.offer(a.describe(), source=a.host, key="first")
    b.learn(relay.offer(middle, source="127.0.0.9", key="second"))
    back = relay.answer(b.describe(), source=b.host, key="second")
    a.learn(relay.answer(back, source="127.0.0.9", key="first"))
    talk(relay, a, b)
    spoken = a.say()
    relay.turn()
    assert b.heard() == [spoken]
    assert not offload.pinned


def test_after_a_crash_what_still_goes_on_is_taken_over(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    first = FakeOffload()
    relay.engine.forwarder.pins.offload = first
    talk(relay, a, b)
    text = relay.calls.snapshot("leg")
    assert text is not None
    left = {flow.local[1]: flow for flow in first.pinned.values()}
    relay.engine.stop()
    with world() as after:
        second = FakeOffload()
        second.remains = left
        after.engine.forwarder.pins.offload = second
        assert result(after.calls.restore("leg", text))
        assert {flow.local[1]: flow for flow in second.pinned.values()} == left
