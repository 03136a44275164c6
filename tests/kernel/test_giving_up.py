"""Flows are given back to the relay when their way changes."""

from __future__ import annotations

import select
import subprocess
from pathlib import Path

import pytest

from sbc.media import kernel
from sbc.media.kernel import ipsec
from sbc.media.kernel.offload import KernelOffload
from sbc.media.offload import Counts, Flow, UnavailableError
from tests.kernel.stream import Streams
from tests.kernel.wires import PHONE, RELAY, Wires, ip


def told(offload: KernelOffload, seconds: float = 5.0) -> list[tuple[Flow, Counts]]:
    """What is given up, as soon as anything is."""
    while select.select([offload.fileno()], [], [], seconds)[0]:
        given_up = list(offload.look())
        if given_up:
            return given_up
    return []


def test_an_interface_that_goes_away(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    assert stream.crosses("a")
    wires.cut("b")
    assert {flow: counts.packets for flow, counts in told(offload)} == {stream.flows["a"]: 1}
    stream.say("a")
    assert stream.ports["a"].recv(2000)
    assert set(offload.counts()) == {stream.near("b")}, "what comes from there goes on, if it ever comes again"
    assert len(offload.attachment.interfaces) == 1
    assert not offload.pin(stream.flows["a"])


def test_an_interface_that_goes_down_and_comes_back(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    ip("-n", wires.names["b"], "link", "set", "wire", "down")
    assert [flow for flow, _ in told(offload)] == [stream.flows["a"]]
    assert not offload.pin(stream.flows["a"])
    ip("-n", wires.names["b"], "link", "set", "wire", "up")
    ip("-n", wires.names["b"], "route", "replace", "default", "via", RELAY["b"][4])
    pinned = False
    while not pinned and select.select([offload.fileno()], [], [], 5)[0]:
        assert not list(offload.look())
        pinned = offload.pin(stream.flows["a"])
    assert stream.crosses("a")


def test_a_route_that_leads_elsewhere(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    ip("-n", wires.names["r"], "route", "add", f"{PHONE['b'][4]}/32", "via", PHONE["a"][4])
    assert [flow for flow, _ in told(offload)] == [stream.flows["a"]]


def test_a_route_of_others_changes_nothing(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    ip("-n", wires.names["r"], "route", "add", "203.0.113.0/24", "via", PHONE["a"][4])
    assert select.select([offload.fileno()], [], [], 5)[0]
    assert not list(offload.look())
    assert stream.crosses("a") and stream.crosses("b")


def test_more_news_than_fit(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    lines = [f"route add 203.0.113.{number}/32 via {PHONE['a'][4]}" for number in range(250)]
    lines += [line.replace("203.0.113", f"198.18.{net}") for line in lines for net in range(20)]
    lines.append(f"route add {PHONE['b'][4]}/32 via {PHONE['a'][4]}")
    command = ["ip", "-n", wires.names["r"], "-batch", "-"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True)
    assert stream.flows["a"] in [flow for flow, _ in told(offload)]


@pytest.mark.usefixtures("possible")
def test_a_machine_that_encrypts_by_policies_is_left_alone(wires: Wires, tmp_path: Path) -> None:
    policy = ("src", "10.71.1.0/24", "dst", "10.71.2.0/24", "dir")
    template = ("tmpl", "src", RELAY["a"][4], "dst", RELAY["b"][4], "proto", "esp", "mode", "tunnel")
    ip("-n", wires.names["r"], "xfrm", "policy", "add", *policy, "in", *template)
    with wires.inside("r"):
        assert not ipsec.encrypts(), "nothing of ours"
    ip("-n", wires.names["r"], "xfrm", "policy", "add", *policy, "out", *template)
    with wires.inside("r"), pytest.raises(UnavailableError, match="IPsec"):
        kernel.load(str(tmp_path), keep_privileges=True)
