"""What the kernel forwards, and how it looks when it arrives."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from sbc.media.kernel.offload import KernelOffload
from sbc.media.offload import Counts, Flow
from tests.kernel.stream import Streams, arrives, rtp
from tests.kernel.wires import PHONE, RELAY, Wires, counters, ip

_IP_RECVTTL = 12


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("tcx", [True, False], ids=["tcx", "clsact"])
def test_both_ways_by_both_means(
    wires: Wires, load: Callable[..., KernelOffload], streams: Streams, family: int, tcx: bool
) -> None:
    offload = load(tcx=tcx)
    assert offload.attachment.how == ("tcx" if tcx else "clsact")
    stream = streams(family)
    assert not stream.crosses("a")
    stream.pin(offload)
    for side, other in (("a", "b"), ("b", "a")):
        for _ in range(5):
            packet = stream.say(side)
            heard, source = stream.phones[other].recvfrom(2000)
            assert (heard, source[:2]) == (packet, stream.near(other))
    for machine in ("a", "b"):
        told = counters(wires, machine)
        assert not told["InCsumErrors"] + told["Udp6InCsumErrors"] + told["InErrors"] + told["Udp6InErrors"]
    assert offload.unpin(stream.flows["a"]).packets == 5
    assert not stream.crosses("a")
    assert stream.crosses("b")


@pytest.mark.parametrize("family", [4, 6])
def test_packets_are_marked_and_live_as_if_the_relay_had_sent_them(
    offload: KernelOffload, streams: Streams, family: int
) -> None:
    stream = streams(family)
    stream.pin(offload)
    listener = stream.phones["b"]
    level, ttl, told_ttl, tos, told_tos = {
        4: (socket.IPPROTO_IP, _IP_RECVTTL, socket.IP_TTL, socket.IP_RECVTOS, socket.IP_TOS),
        6: (
            socket.IPPROTO_IPV6,
            socket.IPV6_RECVHOPLIMIT,
            socket.IPV6_HOPLIMIT,
            socket.IPV6_RECVTCLASS,
            socket.IPV6_TCLASS,
        ),
    }[family]
    listener.setsockopt(level, ttl, 1)
    listener.setsockopt(level, tos, 1)
    stream.say("a")
    _, more, _, _ = listener.recvmsg(2000, 200)
    told = {(where, kind): value[0] for where, kind, value in more}
    assert told[level, told_ttl] == 64
    assert told[level, told_tos] == 46 << 2


def test_a_checksum_that_was_left_out_stays_out(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    stream.phones["a"].setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
    assert stream.crosses("a")
    assert not counters(wires, "b")["InCsumErrors"]


def test_only_the_source_it_was_pinned_for(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    ip("-n", wires.names["a"], "addr", "add", "10.71.1.3/24", "dev", "wire")
    for host, port in ((PHONE["a"][4], 5999), ("10.71.1.3", 5004)):
        with wires.socket("a", host, port) as stranger:
            packet = rtp(1)
            stranger.sendto(packet, stream.near("a"))
            assert arrives(packet, [stream.phones["b"], stream.ports["a"]]) is stream.ports["a"]
    # Nor does the other party come in by this door.
    packet = rtp(2)
    stream.phones["b"].sendto(packet, stream.near("a"))
    assert arrives(packet, [stream.phones["b"], stream.ports["a"]]) is stream.ports["a"]


UNUSUAL = {
    "STUN": b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
    "DTLS": b"\x16\xfe\xfd" + bytes(40),
    "ZRTP": b"\x10\x00" + bytes(40),
    "RTP version 1": b"\x40" + rtp(1)[1:],
    "RTCP on the same port": b"\x81\xc9\x00\x07" + bytes(28),
    "RTCP, feedback": b"\x81\xce\x00\x02" + bytes(8),
    "RTCP, short": b"\x80\xc9\x00\x01" + bytes(4),
    "shorter than RTP": rtp(1)[:11],
    "one byte": b"\x80",
    "nothing": b"",
}


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_no_rtp_reaches_the_relay(offload: KernelOffload, streams: Streams, family: int) -> None:
    stream = streams(family)
    stream.pin(offload)
    for what, datagram in UNUSUAL.items():
        stream.say("a", datagram)
        assert arrives(datagram, [stream.phones["b"], stream.ports["a"]]) is stream.ports["a"], what
    assert stream.crosses("a")


def test_fragments_options_and_the_last_hop_reach_the_relay(offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    phone = stream.phones["a"]
    long = stream.say("a", rtp(1, size=3000))
    assert arrives(long, [stream.phones["b"], stream.ports["a"]]) is stream.ports["a"]
    for name, odd, usual in (
        (socket.IP_OPTIONS, b"\x01\x01\x01\x01", b""),
        (socket.IP_TTL, struct.pack("=i", 1), struct.pack("=i", 64)),
    ):
        phone.setsockopt(socket.IPPROTO_IP, name, odd)
        assert not stream.crosses("a")
        phone.setsockopt(socket.IPPROTO_IP, name, usual)
        assert stream.crosses("a")


def test_fragments_over_ipv6_reach_the_relay(offload: KernelOffload, streams: Streams) -> None:
    stream = streams(6)
    stream.pin(offload)
    long = stream.say("a", rtp(1, size=3000))
    assert arrives(long, [stream.phones["b"], stream.ports["a"]]) is stream.ports["a"]
    stream.phones["a"].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
    assert not stream.crosses("a")


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_too_long_for_the_other_wire_reaches_the_relay(
    wires: Wires, offload: KernelOffload, streams: Streams, family: int
) -> None:
    ip("-n", wires.names["r"], "link", "set", "wb", "mtu", "1300")
    list(offload.look())
    stream = streams(family)
    stream.pin(offload)
    headers = {4: 28, 6: 48}[family]
    for size, socket_of in ((1300, "phone"), (1301, "relay")):
        packet = stream.say("a", rtp(1, size=size - headers - 12))
        found = arrives(packet, [stream.phones["b"], stream.ports["a"]])
        assert found is (stream.phones["b"] if socket_of == "phone" else stream.ports["a"])


def test_a_hundred_calls_do_not_mix(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    calls = [streams(4 if number % 2 else 6, number=number) for number in range(50)]
    for each in calls:
        each.pin(offload)
    said = [
        (each, each.say("a", rtp(number, ssrc=number)), each.say("b", rtp(number + 1)))
        for number, each in enumerate(calls)
    ]
    for each, from_a, from_b in said:
        assert each.phones["b"].recv(2000) == from_a
        assert each.phones["a"].recv(2000) == from_b
    counted = offload.counts()
    assert len(counted) == 100
    assert all((each.packets, each.bytes) == (1, 172) for each in counted.values())
    for each in calls[::2]:
        assert [offload.unpin(flow).packets for flow in each.flows.values()] == [1, 1]
    assert len(offload.counts()) == 50
    assert calls[1].crosses("a") and not calls[2].crosses("a")


def test_a_party_behind_a_router_is_reached_over_it(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    ip("-n", wires.names["b"], "addr", "add", "198.51.100.7/32", "dev", "lo")
    ip("-n", wires.names["r"], "route", "add", "198.51.100.0/24", "via", PHONE["b"][4])
    list(offload.look())
    stream = streams()
    with wires.socket("b", "198.51.100.7", 4000) as far:
        flow = stream.flows["a"]
        assert offload.pin(Flow(flow.local, flow.source, flow.sender, ("198.51.100.7", 4000)))
        packet = stream.say("a")
        assert far.recvfrom(2000) == (packet, flow.sender)


def test_an_ipv4_party_behind_an_ipv6_router(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    ip("-n", wires.names["b"], "addr", "add", "198.51.100.7/32", "dev", "lo")
    ip("-n", wires.names["r"], "route", "add", "198.51.100.0/24", "via", "inet6", PHONE["b"][6])
    list(offload.look())
    stream = streams()
    with wires.socket("b", "198.51.100.7", 4000) as far:
        flow = stream.flows["a"]
        assert offload.pin(Flow(flow.local, flow.source, flow.sender, ("198.51.100.7", 4000)))
        packet = stream.say("a")
        assert far.recvfrom(2000) == (packet, flow.sender)


def test_both_parties_on_one_wire(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    with wires.socket("a", PHONE["a"][4], 7000) as other, wires.socket("r", RELAY["a"][4], 21_000) as port:
        flow = Flow(stream.near("a"), stream.flows["a"].source, port.getsockname(), other.getsockname())
        assert offload.pin(flow)
        packet = stream.say("a")
        assert other.recvfrom(2000) == (packet, port.getsockname())


def test_what_cannot_be_pinned_is_refused(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    flow, six = streams().flows["a"], streams(6, number=1).flows["a"]
    other_family = Flow(flow.local, flow.source, six.sender, six.destination)
    unreachable = Flow(flow.local, flow.source, flow.sender, ("203.0.113.9", 4000))
    to_ourselves = Flow(flow.local, flow.source, flow.sender, (RELAY["a"][4], 4000))
    to_nobody = Flow(flow.local, flow.source, ("192.0.2.77", 4000), flow.destination)
    for refused in (other_family, unreachable, to_ourselves, to_nobody):
        assert not offload.pin(refused)
        assert offload.unpin(refused) == Counts()
    assert not offload.counts()
