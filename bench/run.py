"""Starting a server to be measured and reading what it costs.

CPU is user and system time of the server's whole process tree from ``/proc``, so forked workers and threads count.
Everything of one bench stands on loopback addresses of its own: the server under test on 127.0.0.1, the upper server on
127.0.0.2, phones on 127.0.0.3, callers on 127.0.0.4; callers whose calls come from the upper server stand on 127.0.0.2.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers.ports import free_port, given_back
from tests.peers.program import Program
from tests.peers.sbc_process import Sbc

HERE = Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")
DOMAIN = "example.test"
SERVER, UPPER, PHONES, CALLERS = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"


@dataclass(slots=True)
class Server:
    """Something under test: its address, the process at the top of its tree."""

    name: str
    port: int
    pid: int
    host: str = SERVER
    process: Sbc | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(slots=True)
class Figure:
    """One measured run: ``count`` units of work done, ``cpu`` seconds of the server for all of them."""

    count: int
    failed: int
    cpu: float
    wall: float
    more: dict[str, float] = field(default_factory=dict)

    @property
    def cpu_per_1000(self) -> float:
        return self.cpu / max(1, self.count) * 1000


def tree(pid: int) -> list[int]:
    """``pid`` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu(pid: int) -> float:
    """CPU seconds the tree of ``pid`` has used so far."""
    ticks = 0
    for one in tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(value) for value in fields[11:15])
    return ticks / TICK


def memory(pid: int) -> int:
    """Bytes of the tree of ``pid``, shared pages counted once (PSS)."""
    kilobytes = 0
    for one in tree(pid):
        try:
            match = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{one}/smaps_rollup").read_text(), re.MULTILINE)
        except OSError:
            continue
        kilobytes += int(match[1]) if match else 0
    return kilobytes * 1024


def missing(*programs: str) -> list[str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    return [name for name in programs if shutil.which(name, path=path) is None]


@contextmanager
def alone() -> Iterator[None]:
    """Measurements of one machine take turns."""
    with (Path(tempfile.gettempdir()) / f"sbc-bench.{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Bench:
    """The parties of one measurement, ended together. ``profile``: a file for the profile of the last SBC that ran; it
    costs so much that the figures of the run mean nothing. ``build``: where another build of the SBC stands."""

    profile: Path | None = None
    build: Path | None = None

    def __init__(self) -> None:
        self._ends = ExitStack()
        self._ends.enter_context(given_back())
        self.folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="sbc-bench-")))

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_reason: object) -> None:
        self._ends.close()

    def later(self, end: Callable[[], object]) -> None:
        self._ends.callback(end)

    def place(self, name: str) -> Path:
        folder = self.folder / f"{name}{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        return folder

    def kamailio(
        self,
        kind: str,
        *,
        host: str = SERVER,
        switches: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Server:
        """Kamailio with ``bench/kamailio/KIND.cfg``, with the allocator that is fastest (``-x fm``)."""
        port, folder = free_port(), self.place(kind)
        program = Program(
            f"kamailio-{kind}",
            [
                *("kamailio", "-f", HERE / "kamailio" / f"{kind}.cfg", "-DD", "-E", "-x", "fm", "-X", "fm"),
                *("-m", "512", "-M", "32", "-Y", folder, "-P", folder / "kamailio.pid", "-l", f"udp:{host}:{port}"),
                *(part for name in switches for part in ("-A", name)),
            ],
            folder,
            environment=environment,
        )
        self.later(program.stop)
        program.wait_for((folder / "kamailio_ctl").exists, "starts")
        time.sleep(0.3)
        return Server(f"kamailio {kind}", port, program.pid, host)

    def sbc(self, upper: Server | str, **sections: object) -> Server:
        """The whole product: SQLite, CDRs, metrics on; media relay off; nobody limited."""
        uri = upper if isinstance(upper, str) else f"sip:{upper.address};transport=udp"
        tables: dict[str, object] = {
            "media": {"relay": "never"},
            "security": {"allow": ["127.0.0.0/8"]},
            **sections,
        }
        sbc = Sbc(
            self.place("sbc"),
            [{"name": "pbx", "uri": uri, "domain": DOMAIN}],
            host=SERVER,
            sections=tables,  # type: ignore[arg-type]
            environment={"PYTHONPATH": str(self.build)} if self.build else None,
            twistd=("--profile", str(self.profile), "--profiler=cProfile", "--savestats") if self.profile else (),
        )
        self.later(sbc.stop)
        time.sleep(0.5)
        return Server("sbc", sbc.port, sbc.program.pid, process=sbc)


def median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")
