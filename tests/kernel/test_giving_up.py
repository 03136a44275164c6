"""Flows are given back to the relay when their way changes."""

from __future__ import annotations

import errno
import select
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sbc.media import kernel
from sbc.media.kernel.ipsec import Policies
from sbc.media.kernel.network import Network
from sbc.media.kernel.offload import KernelOffload
from sbc.media.offload import Counts, Flow, UnavailableError
from tests.kernel.stream import Streams
from tests.kernel.wires import PHONE, RELAY, Wires, ip
from tests.peers.program import PATIENCE

POLICY = ("src", "10.71.1.0/24", "dst", "10.71.2.0/24", "dir")
TEMPLATE = ("tmpl", "src", RELAY["a"][4], "dst", RELAY["b"][4], "proto", "esp", "mode", "tunnel")


def told(offload: KernelOffload, seconds: float = PATIENCE) -> list[tuple[Flow, Counts]]:
    """What is given up, as soon as anything is."""
    while select.select([offload.fileno()], [], [], seconds)[0]:
        given_up = list(offload.look())
        if given_up:
            return given_up
    return []


def look_until(offload: KernelOffload, true: Callable[[], object]) -> None:
    """Hear news, of which none gives anything up, until this is true."""
    while not true():
        assert select.select([offload.fileno()], [], [], PATIENCE)[0], "no news"
        assert not list(offload.look())


def test_an_interface_that_goes_away(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    assert stream.crosses("a")
    wires.cut("b")
    gone = {stream.flows["a"]: 1, stream.flows["b"]: 0}
    assert {flow: counts.packets for flow, counts in told(offload)} == gone, "nothing comes from there any more either"
    stream.say("a")
    assert stream.ports["a"].recv(2000)
    assert not offload.counts() and not list(offload._flows.items())
    assert len(offload.attachment.interfaces) == 1
    assert not offload.pin(stream.flows["a"]) and not offload.pin(stream.flows["b"])


def test_an_interface_that_appears(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    """It is another one than before, though it has the same name and addresses."""
    before = set(offload.attachment.interfaces)
    wires.cut("b")
    wires.connect("b")
    stream = streams()
    look_until(offload, lambda: offload.pin(stream.flows["b"]) and offload.pin(stream.flows["a"]))
    assert not set(offload.attachment.interfaces) <= before
    assert stream.crosses("a") and stream.crosses("b")


def test_an_interface_that_appears_too_late(
    wires: Wires, load: Callable[..., KernelOffload], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter needs powers that are gone by then; the log says so."""

    def refuse(self: Network, request: bytes) -> None:
        raise PermissionError(errno.EPERM, "no")

    offload = load(tcx=False)
    monkeypatch.setattr(Network, "change", refuse)
    wires.cut("b")
    wires.connect("b")
    look_until(offload, lambda: offload.attachment.refused)
    assert offload.account == "eBPF by clsact at wa; not at wb, which came when the powers for that were gone"
    wires.cut("b")
    look_until(offload, lambda: not offload.attachment.refused)
    assert offload.account == "eBPF by clsact at wa"


def test_an_interface_that_goes_down_and_comes_back(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    ip("-n", wires.names["b"], "link", "set", "wire", "down")
    assert {flow for flow, _ in told(offload)} == set(stream.flows.values())
    assert not offload.pin(stream.flows["a"])
    ip("-n", wires.names["b"], "link", "set", "wire", "up")
    ip("-n", wires.names["b"], "route", "replace", "default", "via", RELAY["b"][4])
    look_until(offload, lambda: offload.pin(stream.flows["a"]))
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
    assert select.select([offload.fileno()], [], [], PATIENCE)[0]
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
    ip("-n", wires.names["r"], "xfrm", "policy", "add", *POLICY, "in", *TEMPLATE)
    with wires.inside("r"):
        assert not Policies().encrypt, "nothing of ours"
    ip("-n", wires.names["r"], "xfrm", "policy", "add", *POLICY, "out", *TEMPLATE)
    with wires.inside("r"), pytest.raises(UnavailableError, match="IPsec"):
        kernel.load(str(tmp_path), keep_privileges=True)


@pytest.mark.parametrize("end", ["one by one", "all at once", "when its time is over"])
def test_policies_that_come_later(wires: Wires, offload: KernelOffload, streams: Streams, end: str) -> None:
    def policy(*words: str) -> None:
        ip("-n", wires.names["r"], "xfrm", "policy", *words)

    stream = streams()
    stream.pin(offload)
    policy("add", *POLICY, "in", *TEMPLATE)
    assert not told(offload, 0.5), "nothing of ours"
    assert stream.crosses("a") and stream.crosses("b")
    account = offload.account

    limit = ("limit", "time-hard", "2") if end == "when its time is over" else ()
    policy("add", *POLICY, "out", *limit, *TEMPLATE)
    assert {flow for flow, _ in told(offload)} == set(stream.flows.values())
    assert not offload.pin(stream.flows["a"])
    assert offload.account == f"{account}; resting, as IPsec policies would be passed by"

    if end == "one by one":
        policy("delete", *POLICY, "out")
    elif end == "all at once":
        policy("flush")
    look_until(offload, lambda: offload.account == account)
    stream.pin(offload)
    assert stream.crosses("a") and stream.crosses("b")


def test_more_policies_than_can_be_heard(wires: Wires, offload: KernelOffload, streams: Streams) -> None:
    stream = streams()
    stream.pin(offload)
    many = [f"10.{high}.{low}.0/24" for high in range(80, 96) for low in range(250)]
    lines = [f"xfrm policy add src {each} dst {each} dir in action block" for each in many]
    command = ["ip", "-n", wires.names["r"], "-batch", "-"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True)
    assert {flow for flow, _ in told(offload)} == set(stream.flows.values()), "there may have been one of ours"
