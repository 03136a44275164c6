"""The SBC itself as a child process of the laboratory: ``twistd -n sbc --config FILE``, until ``/healthz`` says it is
ready.

In: a directory and the text of a configuration. Out: a running process, its output, its web address, its database.
"""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import treq
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from sbc.lab.diary import Diary

POLL = 0.1  # s between two questions whether it is ready
READY_TIME = 60.0  # s until it must be; a second on an idle machine, more than ten on a busy one
STOP_TIME = 5.0  # s from SIGTERM to SIGKILL
PORTS = range(30_000, 32_768)  # below those that systems give to connections, above those of media
_PLACES = count(os.getpid() * 97)  # of the ports given out here: processes side by side do not meet
MAX_OUTPUT = 1_000_000  # bytes kept of what it prints
TWISTD = "from twisted.scripts.twistd import run; run()"


class BorderError(Exception):
    """The SBC did not start, or ended by itself. The message ends with the last it printed."""


class _Child(ProcessProtocol):
    """Its output and its end."""

    def __init__(self, diary: Diary) -> None:
        self.output = bytearray()
        self._diary = diary

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It printed something."""
        self.output += data
        del self.output[:-MAX_OUTPUT]

    def processEnded(self, reason: Failure) -> None:
        """It is gone. The diary's ``ended`` has the exit code, negative for a signal."""
        found = reason.value
        code = 0
        if isinstance(found, ProcessTerminated):
            code = -found.signal if found.signal else found.exitCode
        elif not isinstance(found, ProcessDone):
            code = -1
        self._diary.note("ended", code)


class Border:
    """One SBC process. `admin` is where its HTTP listens, `database` its SQLite file."""

    def __init__(
        self, reactor: Any, directory: Path, configuration: str, *, admin: tuple[str, int], database: Path
    ) -> None:
        self.reactor = reactor
        self.directory = directory
        self.web = f"http://{admin[0]}:{admin[1]}"
        self.database = database
        self.diary = Diary(reactor.seconds)
        self._configuration = configuration
        self._child = _Child(self.diary)
        self._process: Any = None

    @property
    def pid(self) -> int:
        """Its process id, 0 when it does not run."""
        return int(self._process.pid or 0) if self._process is not None else 0

    @property
    def output(self) -> str:
        """What it printed."""
        return self._child.output.decode("utf-8", "replace")

    def start(self) -> Deferred[None]:
        """Start; fires when it is ready, fails with `BorderError`."""
        path = self.directory / "sbc.toml"
        path.write_text(self._configuration, encoding="utf-8")
        path.chmod(0o600)
        command = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "sbc", "--config", str(path)]
        self._process = self.reactor.spawnProcess(
            self._child, sys.executable, command, env=None, path=str(self.directory)
        )
        # Whatever ends us in order ends it too.
        self.reactor.addSystemEventTrigger("before", "shutdown", self.stop)
        return self._wait()

    @inlineCallbacks
    def _wait(self) -> Any:
        until = self.reactor.seconds() + READY_TIME
        while self.reactor.seconds() < until:
            if self.diary.count("ended"):
                break
            try:
                response = yield treq.get(f"{self.web}/healthz", timeout=1, persistent=False, reactor=self.reactor)
                yield treq.content(response)
                if response.code == 200:
                    return
            except Exception:  # noqa: BLE001, S110 - whatever it is, it is not ready yet
                pass
            yield deferLater(self.reactor, POLL, lambda: None)
        raise BorderError(f"the SBC is not ready\n{self.output[-3000:]}")

    def metrics(self) -> Deferred[str]:
        """The text of ``/metrics``."""
        asked: Deferred[Any] = treq.get(f"{self.web}/metrics", persistent=False, reactor=self.reactor)
        return asked.addCallback(treq.text_content)

    def stop(self) -> Deferred[int]:
        """SIGTERM, after `STOP_TIME` SIGKILL; fires with the exit code (negative: the signal that ended it).

        0 is an end in order: twistd shuts down, then ends itself by the signal it got."""
        if self._process is None:
            never: Deferred[int] = Deferred()
            never.callback(0)
            return never
        if self.diary.count("ended"):
            return self.diary.when("ended").addCallback(lambda entry: entry.detail)
        try:
            self._process.signalProcess("TERM")
        except ProcessExitedAlready:
            return self.diary.when("ended").addCallback(lambda entry: entry.detail)
        killer = self.reactor.callLater(STOP_TIME, self.kill)

        def ended(entry: Any) -> int:
            if killer.active():
                killer.cancel()
            code: int = entry.detail
            return 0 if code == -signal.SIGTERM else code

        return self.diary.when("ended").addCallback(ended)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self._process is not None and not self.diary.count("ended"):
            self._process.signalProcess("KILL")

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Rows of its database, read beside it; [] while there is no such table."""
        try:
            connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)
        except sqlite3.OperationalError:
            return []
        try:
            connection.row_factory = sqlite3.Row
            return connection.execute(query, tuple(parameters)).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            connection.close()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free for UDP and TCP, and that no other laboratory is about to take."""
    for place in _PLACES:
        port = PORTS.start + place % len(PORTS)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            try:
                tcp.bind((host, port))
                udp.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError("never")
