"""Flows as the program in the kernel sees them."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbc.media.addresses import Address
from sbc.media.kernel import layout
from sbc.media.kernel.layout import Way
from sbc.media.offload import Counts, Flow

SOURCE = Path(layout.__file__).with_name("relay.bpf.c").read_text()

WAY = Way(7, 1500, "192.0.2.254")

hosts = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(2**64, 2**128 - 1).map(IPv6Address).filter(lambda each: each.ipv4_mapped is None),
)
addresses = st.tuples(hosts.map(str), st.integers(1, 65_535))


@given(local=addresses, source=addresses, sender=addresses, destination=addresses, dscp=st.integers(0, 63))
def test_what_is_written_is_read(
    local: Address, source: Address, sender: Address, destination: Address, dscp: int
) -> None:
    flow = Flow(local, source, sender, destination, dscp, {111: 48_000})
    name, value = layout.key(local), layout.fixed(flow, WAY) + bytes(layout.COUNTED.size)
    assert (len(name), len(value)) == (layout.KEY_SIZE, layout.FLOW_SIZE)
    assert layout.read(name, value) == flow
    assert layout.way(value) == WAY
    assert layout.counts(value) == Counts()
    assert layout.family(flow) == (6 if ":" in local[0] else 4)


def test_addresses_and_ports_are_in_network_order() -> None:
    flow = Flow(("192.0.2.1", 0x1234), ("192.0.2.2", 0x2345), ("192.0.2.3", 0x3456), ("192.0.2.4", 0x4567), 46)
    assert layout.key(flow.local) == bytes.fromhex("00000000000000000000ffff c0000201 1234 0000")
    fixed = layout.fixed(flow, WAY)
    assert fixed[12:16] == bytes([192, 0, 2, 2])
    assert fixed[64:72] == bytes.fromhex("2345 3456 4567 b8 04")


@pytest.mark.parametrize("hop", ["192.0.2.254", "fe80::1"])
def test_routers_of_either_family(hop: str) -> None:
    here = ("192.0.2.1", 4000)
    way = Way(3, 1280, hop)
    assert layout.way(layout.fixed(Flow(here, here, here, here), way)) == way


def test_clocks_other_than_the_usual_one() -> None:
    here = ("192.0.2.1", 4000)
    value = layout.fixed(Flow(here, here, here, here, 0, {0: 8000, 8: 8000, 111: 48_000, 96: 90_000}), WAY)
    *_, kinds, _, first, second, unused, _ = layout.FIXED.unpack(value)
    assert kinds == bytes([111, 96, 255, 255])
    assert [1024e9 // each for each in (first, second, unused)] == [48_000, 90_000, 8000]


def test_more_clocks_than_there_is_room_for() -> None:
    here = ("192.0.2.1", 4000)
    flow = Flow(here, here, here, here, 0, {kind: 16_000 + kind for kind in range(96, 110)})
    assert len(layout.fixed(flow, WAY)) == layout.FIXED.size


def test_counts_are_in_the_units_of_the_relay() -> None:
    counted = layout.COUNTED.pack(1000, 172_000, 3, 0, 16 * 2_000_000, b"ssrc", 0, 5, 0, 0, 1, 0, 0)
    value = bytes(layout.FIXED.size) + counted
    assert layout.counts(value) == Counts(1000, 172_000, 5, 0.002)
    assert layout.punted(value) == 3


def test_families_are_not_mixed() -> None:
    four, six = ("192.0.2.1", 4000), ("2001:db8::1", 4000)
    assert layout.alike(Flow(four, four, four, four))
    assert layout.alike(Flow(six, six, six, six))
    assert not layout.alike(Flow(four, four, six, six))


def test_the_structures_are_those_of_the_program() -> None:
    sizes = {"__be32": 4, "__be16": 2, "__u8": 1, "__u16": 2, "__u32": 4, "__s32": 4, "__u64": 8}
    named = {"RATES": layout.RATES}

    def size(structure: str) -> int:
        body = re.search(rf"struct {structure} {{(.*?)}};", SOURCE, re.DOTALL)
        assert body is not None
        total = 0
        for kind, names in re.findall(r"(__\w+) ([^;]+);", re.sub(r"//.*", "", body[1])):
            for name in names.split(","):
                count = re.search(r"\[(\w+)\]", name)
                total += sizes[kind] * (1 if count is None else named.get(count[1]) or int(count[1]))
        return total

    assert size("key") == layout.KEY_SIZE
    assert size("flow") == layout.FLOW_SIZE
