"""`make demo` as users run it: the exit code says whether every step happened, and nothing stays behind."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
LIMIT = 100.0  # s; ten on an idle machine


def left_behind() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("sbc-demo-*"))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_demo_succeeds_in_time_and_cleans_up(transport: str) -> None:
    before, began = left_behind(), time.monotonic()
    command = [sys.executable, "-m", "sbc.lab.demo", "--transport", transport]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < LIMIT
    assert "push_accepted" in done.stdout and "saw one INVITE" in done.stdout
    assert left_behind() <= before


def test_an_interrupted_demo_is_no_success() -> None:
    child = subprocess.Popen([sys.executable, "-m", "sbc.lab.demo"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert any("is ready" in line for line in child.stdout), "the demo ended before it was ready"
    child.terminate()
    child.communicate(timeout=LIMIT)
    assert child.returncode == 1
