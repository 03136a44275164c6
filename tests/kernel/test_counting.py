"""What the kernel counts is what a relay in user space would have counted of the same packets."""

from __future__ import annotations

import time
from random import Random

import pytest

from sbc.media.kernel.offload import KernelOffload
from sbc.media.rtp import HEADER, Reception
from tests.kernel.stream import Stream, Streams, arrives, rtp


def through(stream: Stream, packets: list[bytes]) -> None:
    """Phone `a` says all this, and all of it arrives."""
    for packet in packets:
        stream.say("a", packet)
        assert stream.phones["b"].recv(2000) == packet


def reference(packets: list[bytes]) -> Reception:
    """The count in user space."""
    reception = Reception()
    for packet in packets:
        reception.take(packet, len(packet), time.monotonic())
    return reception


def test_packets_bytes_and_losses_over_the_wrap(offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    sent = [rtp(sequence, size=sequence % 40) for sequence in range(65_000, 66_000) if sequence % 10 != 3]
    through(stream, sent)
    counted = offload.counts()[stream.near("a")]
    assert (counted.packets, counted.lost) == (900, 100)
    assert counted.bytes == sum(map(len, sent))
    assert offload.counts()[stream.near("b")].packets == 0


def test_disorder_new_beginnings_and_other_sources(offload: KernelOffload, streams: Streams) -> None:
    stream = streams(6)
    stream.pin(offload)
    random = Random(8)
    order = list(range(100, 300))
    for place in range(0, 190, 10):
        order[place], order[place + random.randrange(5)] = order[place + random.randrange(5)], order[place]
    sent = [rtp(sequence) for sequence in dict.fromkeys(order)]
    sent += [rtp(sequence) for sequence in (300, 302, 301, 9000, 9001, 8000, 8002)]
    sent += [rtp(sequence, ssrc=9) for sequence in (1, 2, 5, 65_500)]
    through(stream, sent)
    counted = offload.unpin(stream.flows["a"])
    assert (counted.packets, counted.lost) == (len(sent), reference(sent).lost)


def test_what_the_relay_got_is_not_lost(offload: KernelOffload, streams: Streams) -> None:
    """A packet that is too long for the kernel's way is counted by the relay, and no loss to the kernel."""
    stream = streams()
    stream.pin(offload)
    through(stream, [rtp(1)])
    offload.unpin(stream.flows["a"])
    stream.pin(offload)
    stream.phones["a"].setsockopt(0, 2, 1)  # IP_TTL
    packet = stream.say("a", rtp(2))
    assert arrives(packet, [stream.ports["a"]])
    stream.phones["a"].setsockopt(0, 2, 64)
    through(stream, [rtp(3)])
    counted = offload.counts()[stream.near("a")]
    assert (counted.packets, counted.lost) == (1, 0)


@pytest.mark.parametrize(
    ("kind", "rate", "step", "rates"),
    [(0, 8000, 160, {}), (111, 48_000, 960, {111: 48_000}), (96, 90_000, 1800, {97: 16_000, 96: 90_000})],
)
def test_jitter_by_the_clock_of_the_codec(
    offload: KernelOffload, streams: Streams, kind: int, rate: int, step: int, rates: dict[int, int]
) -> None:
    """Packets are said to be 20 ms apart but come at once, so each is that much too early: jitter tends to 20 ms. The
    exact figure depends on how fast this test is; user space would come to the same."""
    for attempt in range(10):
        stream = streams(rates=rates, number=attempt)
        stream.pin(offload)
        own = Reception()
        own.describe({kind: rate})
        longest = 0.0
        for number in range(200):
            packet = rtp(number, number * step, kind=kind)
            began = time.monotonic()
            stream.say("a", packet)
            own.take(packet, len(packet), time.monotonic())
            longest = max(longest, time.monotonic() - began)
            stream.phones["b"].recv(2000)
        if longest < 0.005:  # else the two clocks were not read at the same time
            break
    assert offload.counts()[stream.near("a")].jitter == pytest.approx(own.jitter, rel=0.1)
    assert own.jitter > 0.01


def test_events_and_marks_are_no_jitter(offload: KernelOffload, streams: Streams) -> None:
    """A new talk spurt (marker), telephone events on another clock, a silence of many seconds."""
    stream = streams()
    stream.pin(offload)
    began = time.monotonic()
    head = [rtp(1, 0), rtp(2, 0)]
    event = [HEADER.pack(0x80, 101, sequence, 900_000, 7) + b"\x05\x0a\x00\xa0" for sequence in (3, 4, 5)]
    rest = [HEADER.pack(0x80, 0x80, 6, 5_000_000, 7) + b"x", rtp(7, 4_000_000), rtp(8, 4_000_000)]
    through(stream, head + event + rest)
    assert offload.counts()[stream.near("a")].jitter <= time.monotonic() - began
    assert offload.unpin(stream.flows["a"]).lost == 0
