"""A program as a child of the tests: started in a group of its own, its output kept, always ended."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

T = TypeVar("T")
PR_SET_PDEATHSIG = 1
PATIENCE = 60.0
"""Seconds that anything may take which is to happen: only a failure takes them, however busy the machine is."""
_libc = ctypes.CDLL(None, use_errno=True)


def require(*names: str) -> None:
    """Skip the test, naming the program that is missing. With ``CI=true`` nothing may be missing."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [name for name in names if shutil.which(name, path=path) is None]
    if missing:
        unavailable(f"not installed: {', '.join(missing)} (make peers)")


def unavailable(what: str) -> NoReturn:
    """Skip the test, or with ``CI=true`` fail it, for want of ``what``."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(what)
    pytest.skip(what)


def until(
    condition: Callable[[], T], what: str | Callable[[], str], *, seconds: float = PATIENCE, step: float = 0.05
) -> T:
    """The first true value of ``condition``; an AssertionError saying ``what`` did not happen within ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(step)


class Program:
    """One running program. ``log`` is the file that holds its output."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | os.PathLike[str]],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        stdin: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._output = self.log.open("ab")
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        self.process = subprocess.Popen(
            [os.fspath(part) for part in command],
            cwd=folder,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": path, "LC_ALL": "C", **(environment or {})},
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], T], what: str | Callable[[], str], *, seconds: float = PATIENCE) -> T:
        """``until``, but a program that ends meanwhile is reported at once with the end of its output."""

        def say() -> str:
            return f"{self.name}: {what() if callable(what) else what}"

        def check() -> T:
            if not self.running:
                tail = "\n".join(self.output().splitlines()[-40:])
                raise AssertionError(f"{self.name} ended with {self.process.returncode} before: {say()}\n{tail}")
            return condition()

        return until(check, say, seconds=seconds)

    def signal(self, number: int) -> None:
        """To the whole group: a server's workers go with it."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def stop(self, seconds: float = 10.0) -> int:
        """SIGTERM, after ``seconds`` SIGKILL; the exit status."""
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
        return self.kill()

    def kill(self) -> int:
        self.signal(signal.SIGKILL)
        status = self.process.wait()
        self._output.close()
        return status


def _die_with_parent() -> None:
    """Nothing started by a test outlives the tests, however they end."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
