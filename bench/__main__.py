"""``python -m bench [KIND …]``: the kinds named, all of them without a word."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from bench import calls, latency, storage
from bench.run import HERE, Bench, alone

PARTS = ("parse", "store", "relay", "kernel", "push")  # benches of one room each, programs of their own
LONG = ("refreshing", "million")  # a quarter of an hour or more each: only when named
KINDS = ("register", "call", "wake", "latency", "memory", *PARTS)
RATES = {"register": 300, "call": 200, "wake": 100}


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench", description=calls.__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument(
        "kinds", nargs="*", metavar="KIND", help=f"of {' '.join((*KINDS, *LONG))}; none: all but the last two"
    )
    options.add_argument("--runs", type=int, default=3, help="runs of each server for the CPU comparisons")
    options.add_argument("--seconds", type=float, default=10.0, help="length of one run")
    options.add_argument("--rate", type=int, help="instead of each kind's own rate")
    options.add_argument("--users", type=int, default=100_000, help="registered users for the memory figure")
    options.add_argument("--json", type=Path, help="append the figures to this file as JSON lines")
    options.add_argument("--build", type=Path, help="run the SBC built there, such as build/compiled")
    options.add_argument(
        "--profile", type=Path, help="write a profile of the SBC (read it with pstats); not for figures"
    )
    chosen = options.parse_args()
    if unknown := set(chosen.kinds) - {*KINDS, *LONG}:
        options.error(f"unknown: {', '.join(sorted(unknown))}")
    kinds = chosen.kinds or list(KINDS)
    rates = {kind: chosen.rate or rate for kind, rate in RATES.items()}
    Bench.profile = chosen.profile and chosen.profile.resolve()
    Bench.build = chosen.build and chosen.build.resolve()
    records: list[dict[str, object]] = []
    with alone():
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores, load {load:.1f}, {_interpreter()}, {_version('kamailio')}")
        compared = [kind for kind in kinds if kind in RATES]
        for comparison in calls.compare(compared, runs=chosen.runs, seconds=chosen.seconds, rates=rates):
            records.append({**asdict(comparison), "ratio": comparison.ratio})
        if "latency" in kinds:
            records.append(latency.measure(rate=chosen.rate or 100, seconds=chosen.seconds))
        if "memory" in kinds:
            records.append(storage.measure(users=chosen.users))
        for part in PARTS:
            if part in kinds:
                _run(part)
    for part in LONG:  # they wait for their turn themselves
        if part in kinds:
            _run(part)
    if chosen.json:
        with chosen.json.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)


def _run(part: str) -> None:
    """A bench that is a program of its own."""
    print(f"\n{part}", flush=True)
    subprocess.run([sys.executable, "-m", f"bench.{part}"], cwd=HERE.parent, check=True)


def _interpreter() -> str:
    """Which Python runs the SBC: one costs a tenth or more less than another of the same version."""
    place = Path(sys.executable).resolve()
    return f"Python {platform.python_version()} ({place}, {platform.python_compiler()})"


def _version(program: str) -> str:
    try:
        text = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=10).stdout
    except OSError:
        return f"no {program}"
    return text.splitlines()[0].removeprefix("version: ") if text else program


main()
