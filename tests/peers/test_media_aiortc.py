"""aiortc, an implementation of WebRTC that shares no code with browsers, through the relay to a plain phone."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests.peers.program import require, unavailable
from tests.peers.sbc_process import ROOT

ADDRESS = "10.99.0.1"
NETWORK = (
    f"ip link set lo up && ip link add veth0 type veth peer name veth1 && ip addr add {ADDRESS}/24 dev veth0 && "
    'ip link set veth0 up && ip link set veth1 up && exec "$0" "$@"'
)


@pytest.mark.parametrize("who", ["web", "phone"])
def test_audio_both_ways(who):
    """Whoever offers."""
    require("unshare", "ip")
    if os.geteuid() != 0:
        unavailable("a network namespace needs root")
    if importlib.util.find_spec("aiortc") is None:
        unavailable("not installed: aiortc (the test extra)")
    command = ["unshare", "--net", "sh", "-c", NETWORK, sys.executable, "-m", "tests.peers.aiortc_call", ADDRESS, who]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["state"] == "connected"
    assert found["refused"] == 0
    assert min(found["frames"], found["phone"], found["relayed"]) > 50, found
