"""The optional compiled build: it can be built, and what is compiled passes the tests of its sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTED = ("sip", "transaction", "observe")
COMPILED = ("sbc.sip.message", "sbc.sip.headers", "sbc.transaction.table", "sbc.proxy.hiding", "sbc.observe.metrics")
HEADERS = Path(sysconfig.get_paths()["include"], "Python.h")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("cc") is None or not HEADERS.exists(), reason="no C compiler, or no headers of Python")
def test_the_compiled_build_passes_the_same_tests(tmp_path: Path) -> None:
    # A place of its own: beside the sources the compiled modules would be taken by everybody from then on.
    built = tmp_path / "lib"
    run("setup.py", "--quiet", "build", "--build-base", tmp_path, "--build-lib", built, SBC_COMPILED="1")
    path = os.pathsep.join(map(str, (built, ROOT)))
    places = f"import importlib as i; print(*(i.import_module(name).__file__ for name in {COMPILED}))"
    assert all(place.startswith(str(built)) and place.endswith(".so") for place in run("-c", places, path=path).split())
    tests = [ROOT / "tests" / "unit" / name for name in TESTED]
    assert "failed" not in run("-m", "pytest", "-q", "-o", "pythonpath=", *tests, path=path)


def run(*arguments: str | Path, path: str = "", **environment: str) -> str:
    """What a Python in the root of the project says; it must end well. The project itself is not on its path."""
    done = subprocess.run(
        [sys.executable, "-P", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout
