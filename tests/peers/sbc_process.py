"""The SBC as its operator runs it: a configuration file and a ``twistd`` child."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.peers.ports import free_port
from tests.peers.program import PATIENCE, Program, until

ROOT = Path(__file__).resolve().parent.parent.parent
RELAY_PORTS = 40  # ten calls at once
Section = Mapping[str, Any]


class Sbc:
    """One SBC on ``host`` (UDP and TCP on ``port``), its state below ``folder``.

    ``upper`` are the servers behind it, each a table for ``[[upper]]``. ``sections`` are further tables of the
    configuration by name ("push", "registrar" …); a list of tables makes an array ("push.app"). ``twistd`` are further
    options of that program.
    """

    def __init__(
        self,
        folder: Path,
        upper: Sequence[Section],
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        listen: Sequence[Section] | None = None,
        sections: Mapping[str, Section | Sequence[Section]] | None = None,
        environment: Mapping[str, str] | None = None,
        twistd: Sequence[str] = (),
        start: bool = True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.host, self.port = folder, host, port or free_port()
        self.admin_port = free_port()
        self.configuration = folder / "sbc.toml"
        self.database = folder / "state" / "sbc.db"
        relay = free_port(RELAY_PORTS)
        tables: dict[str, Any] = {
            "node": {"name": "test", "state": str(folder / "state"), "stop": "end"},
            "listen": listen or [{"uri": f"{kind}:{host}:{self.port}"} for kind in ("udp", "tcp")],
            "upper": list(upper),
            "database": {"url": f"sqlite:///{self.database}"},
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
            "media": {"ports": f"{relay}-{relay + RELAY_PORTS - 1}"},
        }
        for name, table in (sections or {}).items():
            tables[name] = {**tables.get(name, {}), **table} if isinstance(table, Mapping) else list(table)
        self.write(tables)
        self._environment = {"PYTHONPATH": str(ROOT), **(environment or {})}
        self._twistd = list(twistd)
        self.program: Program
        if start:
            self.start()

    # -- configuration ------------------------------------------------------------------------------------------

    def write(self, tables: Mapping[str, Section | Sequence[Section]]) -> None:
        """The whole configuration file."""
        lines = []
        for name, content in tables.items():
            for table in [content] if isinstance(content, Mapping) else content:
                lines.append(f"[{name}]" if isinstance(content, Mapping) else f"[[{name}]]")
                lines += [f"{key} = {_toml(value)}" for key, value in table.items()] + [""]
        text = "\n".join(lines)
        tomllib.loads(text)
        self.configuration.write_text(text)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        twistd = Path(sys.executable).parent / "twistd"
        self.program = Program(
            "sbc",
            [twistd, "-n", "--pidfile=", *self._twistd, "sbc", "--config", self.configuration],
            self.folder,
            environment=self._environment,
        )
        self.program.wait_for(self.healthy, "/healthz answers 200")

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM: it drains and ends by itself. The exit status."""
        return self.program.stop(seconds)

    def kill(self) -> None:
        """SIGKILL: nothing is said, nothing is saved."""
        self.program.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self) -> None:
        os.kill(self.program.pid, signal.SIGHUP)

    # -- what it says -------------------------------------------------------------------------------------------

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a GET at the admin listener; status 0 when nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def healthy(self) -> bool:
        return self.get("/healthz")[0] == 200

    def metrics(self) -> dict[str, float]:
        """Every sample by its name with labels, as in the exposition format."""
        found = {}
        for line in self.get("/metrics")[1].splitlines():
            if match := re.fullmatch(r"([a-z_]+(?:\{.*\})?) (\S+)", line):
                found[match[1]] = float(match[2])
        return found

    def wait_gone(self, transport: str) -> None:
        """Until no connection of this transport is left (``TCP``, ``WSS`` …)."""
        until(lambda: not self.metrics().get(f'sbc_flows{{transport="{transport}"}}'), f"no {transport} flow is left")

    def log(self) -> str:
        return self.program.output()

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """The result of one SQL query on its database, which is only read."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, parameters)]
        finally:
            connection.close()

    def wait_rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        return until(lambda: self.rows(query, *parameters), f"rows for {query} {parameters}")

    def memory(self) -> int:
        """Resident bytes."""
        text = Path(f"/proc/{self.program.pid}/status").read_text()
        match = re.search(r"^VmRSS:\s+(\d+)", text, re.MULTILINE)
        assert match
        return int(match[1]) * 1024

    def check_log(self) -> None:
        """No traceback was written: whatever the peers did, it was their mistake or nobody's."""
        log = self.log()
        place = log.find("Traceback (most recent call last)")
        assert place < 0, log[max(0, place - 500) : place + 3000]

    def wait_log(self, text: str) -> None:
        self.program.wait_for(lambda: text in self.log(), f"{text!r} in the log")


def _toml(value: object) -> str:
    """JSON's strings, numbers, booleans and lists are TOML's."""
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False)


def settle(seconds: float = 0.3) -> None:
    """Time for what is on its way to arrive where its absence is to be shown."""
    time.sleep(seconds)
