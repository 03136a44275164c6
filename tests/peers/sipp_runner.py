"""SIPp: a scenario file against one server, and what became of its calls."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from tests.peers.ports import free_port
from tests.peers.program import PATIENCE, Program, require

SCENARIOS = Path(__file__).parent / "sipp"
RETRANSMISSIONS = "12"  # of SIPp's own five, six datagrams in a row may be lost now and then on a bad network


class Sipp:
    """One run. ``keys`` are the scenario's own words ([realm] …); ``rows`` the lines of its CSV ([field0] …)."""

    def __init__(
        self,
        folder: Path,
        scenario: str | Path,
        remote: str | None,
        *,
        host: str = "127.0.0.4",
        port: int | None = None,
        transport: str = "u1",
        calls: int = 1,
        rate: int = 50,
        keys: Mapping[str, str] | None = None,
        rows: list[str] | None = None,
        seconds: float = 90,
    ) -> None:
        require("sipp")
        path = SCENARIOS / f"{scenario}.xml" if isinstance(scenario, str) else scenario
        name = f"sipp-{path.stem}"
        number = len(list(folder.glob(f"{name}*"))) if folder.exists() else 0
        self.folder = folder / f"{name}-{number}"
        self.folder.mkdir(parents=True)
        self.host, self.port = host, port or free_port()
        self._limit = seconds
        command = [
            "sipp",
            "-sf",
            str(path),
            "-i",
            host,
            "-p",
            str(self.port),
            "-t",
            transport,
            "-m",
            str(calls),
            "-r",
            str(rate),
        ]
        command += ["-nostdin", "-timeout", f"{seconds:g}s", "-timeout_error", "-mp", str(free_port(4)), "-mi", host]
        command += ["-trace_err", "-error_file", "errors.log", "-trace_msg", "-message_file", "messages.log"]
        command += ["-max_retrans", RETRANSMISSIONS]
        command += ["-trace_stat", "-stf", "statistics.csv", "-fd", "1"]
        for key, value in (keys or {}).items():
            command += ["-key", key, value]
        if rows is not None:
            (self.folder / "rows.csv").write_text("\n".join(["SEQUENTIAL", *rows, ""]))
            command += ["-inf", "rows.csv"]
        if remote is not None:
            command.append(remote)
        self.program = Program(name, command, self.folder)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def messages(self) -> str:
        path = self.folder / "messages.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def errors(self) -> str:
        path = self.folder / "errors.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def statistics(self) -> dict[str, str]:
        path = self.folder / "statistics.csv"
        rows = list(csv.reader(path.open(), delimiter=";")) if path.exists() else []
        return dict(zip(rows[0], rows[-1], strict=False)) if len(rows) > 1 else {}

    def finish(self) -> None:
        """Wait for the end; every call must have gone as the scenario says."""
        status = self.program.process.wait(self._limit + PATIENCE)
        assert status == 0, f"SIPp ended with {status}\n{self.errors()[-3000:]}\n{self.messages()[-3000:]}"

    def stop(self) -> None:
        self.program.stop(1)
