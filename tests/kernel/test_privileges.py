"""What of root is needed, for how long, and what is said without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sbc.media.kernel import calls
from tests.kernel.stream import Streams
from tests.kernel.wires import Wires

#: Loads, as whom it is told; pins a flow and unpins it; says which powers are left, and whether it may load again.
NODE = """
import os, sys
from pathlib import Path
from sbc.media import kernel
from sbc.media.offload import Flow, UnavailableError
from tests.kernel.wires import enter
enter(sys.argv[1])
exec(sys.argv[4])
try:
    offload = kernel.load(sys.argv[2])
except UnavailableError as why:
    print("unavailable:", why)
    raise SystemExit
print(offload.account)
[flow] = eval(sys.argv[3])
print("pinned:", offload.pin(flow), len(offload.counts()), offload.unpin(flow))
sets = dict(line.split(":\\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\\t" in line)
for each in ("CapEff", "CapPrm"):
    held = int(sets[each], 16)
    print(each + ":", [number for number in (12, 21, 38, 39) if held >> number & 1])
try:
    kernel.load(sys.argv[2] + "/again")
except UnavailableError as why:
    print("again:", why)
offload.close()
"""


#: Become an ordinary user with the two capabilities.
ORDINARY = (
    "from sbc.media.kernel import capabilities as c; import ctypes; ctypes.CDLL(None).prctl(8, 1);"
    "os.setresuid(65534, 65534, 65534); low, high = 1 << 12, 1 << 7; c._set([low, low, 0, high, high, 0]);"
)


def node(wires: Wires, state: Path, streams: Streams, before: str = "") -> list[str]:
    """What such a node prints."""
    flow = repr([streams().flows["a"]])
    command = [sys.executable, "-c", NODE, wires.names["r"], str(state), flow, before]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.usefixtures("possible")
def test_loading_needs_powers_that_are_let_go_of_then(wires: Wires, tmp_path: Path, streams: Streams) -> None:
    lines = node(wires, tmp_path, streams)
    assert lines == [
        "eBPF by tcx at wa, wb",
        "pinned: True 1 Counts(packets=0, bytes=0, lost=0, jitter=0.0)",
        "CapEff: []",
        "CapPrm: []",
        "again: CAP_BPF and CAP_NET_ADMIN are needed",
    ]


@pytest.mark.usefixtures("possible")
def test_two_capabilities_of_an_ordinary_user_are_enough(wires: Wires, tmp_path: Path, streams: Streams) -> None:
    """As under systemd with `User=` and `AmbientCapabilities=`. Such a user cannot write to the BPF file system."""
    lines = node(
        wires,
        tmp_path,
        streams,
        ORDINARY,
    )
    assert lines[0].startswith("eBPF by tcx at wa, wb")
    assert lines[1].startswith("pinned: True 1")
    assert lines[2:4] == ["CapEff: []", "CapPrm: []"]


@pytest.mark.usefixtures("possible")
def test_an_ordinary_user_with_a_place_of_his_own_in_the_bpf_file_system(wires: Wires, streams: Streams) -> None:
    """As under systemd with `BindPaths=` besides: what is there outlives the process."""
    folder = Path(tempfile.mkdtemp(prefix="sbc-bpf-"))
    place = folder / "bpf"
    place.mkdir()
    folder.chmod(0o755)
    calls.mount_bpffs(place)
    try:
        os.chown(place, 65534, 65534)
        os.chown(folder, 65534, 65534)
        lines = node(wires, folder, streams, ORDINARY)
        assert lines[0] == "eBPF by tcx at wa, wb", "no word of flows that end with the process"
        assert lines[1].startswith("pinned: True 1")
        assert not list(place.glob("sbc-*")), "an orderly end leaves nothing"
    finally:
        subprocess.run(["umount", place], check=True)
        shutil.rmtree(folder)


def test_without_them_one_line_says_so(wires: Wires, tmp_path: Path, streams: Streams) -> None:
    lines = node(wires, tmp_path, streams, "os.setresuid(65534, 65534, 65534)")
    assert lines == ["unavailable: CAP_BPF and CAP_NET_ADMIN are needed"]
