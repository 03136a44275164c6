"""What one registration, one call and one wake cost the server, beside Kamailio doing the same in the same run.

register  REGISTER, 401, REGISTER with digest, forwarded to an upper server (SIPp)
call      INVITE 180 200 ACK BYE 200 from a phone to the upper server (SIPp)
wake      a sleeping phone is called: REGISTER, INVITE held, REGISTER, INVITE delivered, answered, BYE (our own phones)

Kamailio's share: ``kamailio/edge.cfg`` for the first two, ``kamailio/wake.cfg`` for the third, each with ``-x fm``. The
two take turns, ``--runs`` times each; the medians and their ratio are printed.
"""

from __future__ import annotations

import csv
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.phones import Phones
from bench.provider import Provider
from bench.run import CALLERS, DOMAIN, HERE, PHONES, UPPER, Bench, Figure, Server, cpu, median, missing, percentile
from tests.peers.ports import free_port
from tests.peers.program import Program


@dataclass(slots=True)
class Comparison:
    """The runs of one kind of work."""

    kind: str
    rate: int
    kamailio: list[Figure] = field(default_factory=list)
    sbc: list[Figure] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return median([one.cpu_per_1000 for one in self.sbc]) / median([one.cpu_per_1000 for one in self.kamailio])

    def lines(self) -> list[str]:
        found = []
        for name, figures in (("kamailio -x fm", self.kamailio), ("sbc", self.sbc)):
            each = " ".join(f"{one.cpu_per_1000:.3f}" for one in figures)
            more = " ".join(
                f"{key} {median([one.more[key] for one in figures]):.2f}"
                for key in (figures[0].more if figures else {})
            )
            failed = sum(one.failed for one in figures)
            found.append(
                f"{self.kind:9} {self.rate:4}/s  {name:15} CPU s/1000 {median([f.cpu_per_1000 for f in figures]):6.3f}"
                f"  ({each})  failed {failed}  {more}"
            )
        found.append(f"{self.kind:9} {self.rate:4}/s  ratio {self.ratio:.2f}")
        return found


def compare(kinds: list[str], *, runs: int, seconds: float, rates: dict[str, int]) -> list[Comparison]:
    lacking = missing("kamailio", "sipp")
    if lacking:
        print(f"not installed, no comparison: {', '.join(lacking)} (make peers)")
        return []
    measure = {"register": register, "call": call, "wake": wake}
    results = []
    for kind in kinds:
        comparison = Comparison(kind, rates[kind])
        for _ in range(runs):
            comparison.kamailio.append(measure[kind]("kamailio", rates[kind], seconds))
            comparison.sbc.append(measure[kind]("sbc", rates[kind], seconds))
        print("\n".join(comparison.lines()), flush=True)
        results.append(comparison)
    return results


def register(who: str, rate: int, seconds: float) -> Figure:
    with Bench() as bench:
        upper = bench.kamailio("registrar", host=UPPER, switches=("DIGEST",))
        server = _front(bench, who, f"sip:{upper.address}")
        return _sipp(bench, server, "register", rate, seconds, {"base": f"b{time.time_ns() % 10**8}x"})


def call(who: str, rate: int, seconds: float) -> Figure:
    with Bench() as bench:
        folder, port = bench.place("callee"), free_port()
        callee = Program(
            "callee",
            [
                *("sipp", "-sf", HERE / "scenarios" / "callee.xml", "-i", UPPER, "-p", str(port), "-nostdin", "-aa"),
                *("-buff_size", "4194304", "-mp", str(free_port(4)), "-trace_err", "-error_file", "errors.log"),
            ],
            folder,
        )
        bench.later(callee.kill)
        time.sleep(0.5)
        server = _front(bench, who, f"sip:{UPPER}:{port}")
        return _sipp(bench, server, "caller", rate, seconds, {"callee": "callee"})


def wake(who: str, rate: int, seconds: float) -> Figure:
    with Bench() as bench:
        if who == "kamailio":
            server = bench.kamailio("wake")
        else:
            upper = bench.kamailio("registrar", host=UPPER)
            provider = Provider(bench.place("provider"))
            bench.later(provider.stop)
            server = bench.sbc(upper, **provider.sections())
        phones = Phones(
            (server.host, server.port), DOMAIN, phone_host=PHONES, caller_host=UPPER, token=lambda n: f"{n:064x}"
        )
        before, count = cpu(server.pid), int(rate * seconds)
        result = phones.wake(count, rate)
        used = cpu(server.pid) - before
        done = result.done()
        delivery = [(one.rang - one.awake) * 1000 for one in done]
        if phones.errors:
            print(f"wake, {who}: refused {phones.errors}")
        more = {"deliver ms p50": percentile(delivery, 0.5), "p99": percentile(delivery, 0.99)}
        return Figure(len(done), result.refused(), used, result.wall, more)


def _front(bench: Bench, who: str, upper: str) -> Server:
    if who == "kamailio":
        return bench.kamailio("edge", environment={"EDGE_UPPER": upper})
    return bench.sbc(f"{upper};transport=udp")


def _sipp(bench: Bench, server: Server, scenario: str, rate: int, seconds: float, keys: dict[str, str]) -> Figure:
    folder, count = bench.place("sipp"), int(rate * seconds)
    command: list[str | Path] = [
        *("sipp", "-sf", HERE / "scenarios" / f"{scenario}.xml", "-i", CALLERS, "-p", str(free_port()), server.address),
        *("-nostdin", "-r", str(rate), "-m", str(count), "-l", str(max(2000, rate * 6)), "-d", "200"),
        *("-key", "domain", DOMAIN, "-buff_size", "4194304", "-recv_timeout", "10000", "-mp", str(free_port(4))),
        *("-timeout", f"{int(seconds) + 25}s", "-trace_err", "-error_file", "errors.log"),
        *("-trace_stat", "-stf", "statistics.csv", "-fd", "1", "-trace_rtt", "-rtt_freq", "50"),
        *(part for key, value in keys.items() for part in ("-key", key, value)),
    ]
    before, started = cpu(server.pid), time.monotonic()
    program = Program("sipp", command, folder)
    bench.later(program.kill)
    try:
        program.process.wait(seconds + 40)
    except subprocess.TimeoutExpired:
        print(f"{scenario}: SIPp did not end")
    used, wall = cpu(server.pid) - before, time.monotonic() - started
    rows = list(csv.reader((folder / "statistics.csv").open(), delimiter=";"))
    last = dict(zip(rows[0], rows[-1], strict=False))
    times = [
        float(row[1])
        for path in folder.glob("*_rtt.csv")
        for row in csv.reader(path.open(), delimiter=";")
        if len(row) > 2 and row[2] == "1"
    ]
    done, failed = int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])
    if failed:
        errors = folder / "errors.log"
        print(f"{scenario}, {server.name}: {failed} failed", errors.read_text()[:600] if errors.exists() else "")
    more = {"set-up ms p50": percentile(times, 0.5), "p99": percentile(times, 0.99)}
    return Figure(done, failed, used, wall, more)
