"""Audio that goes on when the process that pinned it dies, and what the next process makes of it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sbc.media import kernel
from sbc.media.kernel import bpffs, calls, layout, loading
from sbc.media.kernel.offload import KernelOffload
from sbc.media.kernel.table import Table
from sbc.media.offload import Counts, UnavailableError
from tests.kernel.stream import Stream, Streams
from tests.kernel.wires import Wires
from tests.peers.program import until

Load = Callable[..., KernelOffload]

#: A relay that pins what it is told, says so, and is killed.
VICTIM = """
import sys
from sbc.media import kernel
from sbc.media.offload import Flow
from tests.kernel.wires import enter
enter(sys.argv[1])
offload = kernel.load(sys.argv[2])
for flow in eval(sys.argv[3]):
    assert offload.pin(flow)
print("pinned", flush=True)
sys.stdin.read()
"""


def crash(wires: Wires, state: Path, streams: list[Stream], meanwhile: Callable[[], object] = lambda: None) -> None:
    """A process pins these streams and is killed."""
    flows = [flow for stream in streams for flow in stream.flows.values()]
    command = [sys.executable, "-c", VICTIM, wires.names["r"], str(state), repr(flows)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        try:
            assert victim.stdout.readline() == b"pinned\n"
            meanwhile()
        finally:
            victim.send_signal(signal.SIGKILL)


@pytest.mark.usefixtures("possible")
def test_audio_goes_on_and_is_taken_over(wires: Wires, load: Load, streams: Streams, tmp_path: Path) -> None:
    stream, other = streams(), streams(6, number=1)
    crash(wires, tmp_path, [stream, other], lambda: [stream.crosses("a") for _ in range(3)])
    assert stream.crosses("a") and stream.crosses("b") and other.crosses("a")
    after = load()
    assert stream.crosses("a"), "loading again interrupts nothing"
    assert after.left(stream.near("a")[1]) == stream.flows["a"]
    assert after.left(stream.near("a")[1] + 1) is None
    stream.pin(after)
    assert after.counts()[stream.near("a")].packets == 5
    assert stream.crosses("a")
    assert after.unpin(stream.flows["a"]).packets == 6
    assert not stream.crosses("a")


@pytest.mark.usefixtures("possible")
def test_what_nobody_wants_any_more_ends(wires: Wires, load: Load, streams: Streams, tmp_path: Path) -> None:
    kept, dropped = streams(), streams(number=1)
    crash(wires, tmp_path, [kept, dropped])
    after = load()
    kept.pin(after)
    assert dropped.crosses("a")
    after.settle()
    assert kept.crosses("a") and not dropped.crosses("a")
    assert after.left(dropped.near("a")[1]) is None


@pytest.mark.usefixtures("possible")
def test_what_cannot_be_taken_over_ends(
    wires: Wires, streams: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EPERM, "no")

    stream = streams()
    crash(wires, tmp_path, [stream])
    monkeypatch.setattr(calls, "load_program", refuse)
    with wires.inside("r"), pytest.raises(UnavailableError, match="CAP_BPF"):
        kernel.load(str(tmp_path), keep_privileges=True)
    until(lambda: not stream.crosses("a"), "the flow goes on")


@pytest.mark.usefixtures("possible")
def test_a_port_that_has_another_call_now(wires: Wires, load: Load, streams: Streams, tmp_path: Path) -> None:
    before = streams()
    crash(wires, tmp_path, [before])
    assert before.crosses("a")
    after = load()
    flow = before.flows["a"]
    assert after.pin(replace(flow, source=(flow.source[0], 6004)))
    assert after.counts()[flow.local] == Counts()
    assert not before.crosses("a"), "the old flow is gone"


@pytest.mark.usefixtures("possible")
def test_an_orderly_end_leaves_nothing(wires: Wires, load: Load, streams: Streams, tmp_path: Path) -> None:
    stream = streams()
    with wires.inside("r"):
        offload = kernel.load(str(tmp_path), keep_privileges=True)
    stream.pin(offload)
    directory = bpffs.directory(str(tmp_path))
    assert {path.name for path in directory.iterdir()} >= {"flows", "lease"}
    offload.close()
    assert not stream.crosses("a")
    assert not directory.exists()


def test_one_process_at_a_time(wires: Wires, offload: KernelOffload, tmp_path: Path) -> None:
    with wires.inside("r"), pytest.raises(UnavailableError, match="another process has"):
        kernel.load(str(tmp_path), keep_privileges=True)
    other = tmp_path / "other"
    other.mkdir()
    with wires.inside("r"):
        kernel.load(str(other), keep_privileges=True).close()


def test_nodes_on_one_machine_do_not_mind_each_other(
    wires: Wires, offload: KernelOffload, streams: Streams, tmp_path: Path
) -> None:
    mine, yours = streams(), streams(number=1)
    other = tmp_path / "other"
    other.mkdir()
    with wires.inside("r"):
        second = kernel.load(str(other), keep_privileges=True)
    mine.pin(offload)
    yours.pin(second)
    assert mine.crosses("a") and yours.crosses("a")
    second.close()
    assert mine.crosses("a") and not yours.crosses("a")


@pytest.mark.usefixtures("possible")
def test_flows_of_another_version_are_not_taken_over(
    wires: Wires, load: Load, streams: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = streams()
    crash(wires, tmp_path, [stream])
    other = tmp_path / "other"
    other.mkdir()
    neighbour = streams(number=1)
    crash(wires, other, [neighbour])
    monkeypatch.setattr(layout, "VERSION", 2)
    after = load()
    assert neighbour.crosses("a"), "another node may be of another version"
    assert after.left(stream.near("a")[1]) is None
    assert not stream.crosses("a")
    stream.pin(after)
    assert stream.crosses("a")
    shutil.rmtree(bpffs.directory(str(other)))


def test_a_relay_that_never_comes_back_is_not_replaced_for_ever(
    offload: KernelOffload, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = streams()
    stream.pin(offload)
    assert stream.crosses("a")
    offload._lease.put(bytes(4), (1).to_bytes(8, "little"))  # renewed last when the machine started
    assert not stream.crosses("a")
    offload._renewed -= 61
    offload.counts()
    assert stream.crosses("a")


def test_without_a_bpf_file_system_flows_end_with_the_process(
    wires: Wires, load: Load, streams: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_names", lambda state, place: (None, ""))
    offload = load()
    assert not offload.survives
    stream = streams()
    stream.pin(offload)
    assert stream.crosses("a")


@pytest.mark.usefixtures("possible")
def test_flows_nobody_could_take_over_end_with_the_process(
    wires: Wires, streams: Streams, tmp_path: Path, load: Load
) -> None:
    """The node started as root and goes on as somebody else, whose processes cannot load programs."""
    os.chown(tmp_path, 65534, 65534)
    stream = streams()
    crash(wires, tmp_path, [stream], lambda: [stream.crosses("a")])
    until(lambda: not stream.crosses("a"), "the flow goes on")


@pytest.mark.usefixtures("possible")
def test_what_a_node_left_that_never_came_back_is_removed(
    wires: Wires, load: Load, streams: Streams, tmp_path: Path
) -> None:
    abandoned, missed = tmp_path / "abandoned", tmp_path / "missed"
    for state in (abandoned, missed):
        state.mkdir()
    crash(wires, abandoned, [streams()])
    crash(wires, missed, [streams(number=1)])
    lease = Table(calls.pinned(bpffs.directory(str(abandoned)) / "lease"), 4, 8)
    lease.put(bytes(4), (1).to_bytes(8, "little"))
    os.close(lease.descriptor)
    load()
    assert not bpffs.directory(str(abandoned)).exists()
    assert bpffs.directory(str(missed)).exists()
    with wires.inside("r"):
        kernel.load(str(missed), keep_privileges=True).close()
