"""Pushes per second of one core, and how long one push takes, against aioapns and httpx[http2] in the same run.

``python -m bench.push [N] [CONCURRENT] [ROUNDS]``. Each client is a process of its own (``bench.pushing``), the other
end the same emulated APNs for all, a process too: only the client's CPU counts. The clients take turns in each round;
their best round counts, since whatever else runs on the machine only makes one slower. The other two come with
``pip install -e .[bench]``; who is not installed is left out by name.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.pushing import CLIENTS
from tests.peers.lab_process import Lab

ROOT = Path(__file__).parent.parent
BETTER = {"pushes_per_cpu_second": max, "pushes_per_second": max}  # of all other figures the least is best


def once(client: str, lab: Lab, count: int, concurrent: int) -> dict[str, float]:
    """The figures of one client's run."""
    where = (lab.url, str(lab.ca_file), str(lab.key))
    command = [sys.executable, "-m", "bench.pushing", client, *where, str(count), str(concurrent)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if told.returncode:
        raise SystemExit(f"{client}: {told.stderr.strip().splitlines()[-1]}")
    figures: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return figures


def compare(count: int = 5000, concurrent: int = 100, rounds: int = 3) -> dict[str, dict[str, float]]:
    """The best figures of each client that is installed."""
    present = [name for name in CLIENTS if name == "sbc" or importlib.util.find_spec(name) is not None]
    best: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        try:
            for _ in range(rounds):
                for client in present:
                    figures = once(client, lab, count, concurrent)
                    known = best.setdefault(client, figures)
                    best[client] = {name: BETTER.get(name, min)(known[name], figures[name]) for name in figures}
        finally:
            lab.stop()
    return best


def main() -> None:
    best = compare(*(int(word) for word in sys.argv[1:4]))
    ours = best["sbc"]
    for name in ours:
        print(f"{name:24}" + "".join(f"{client:>10} {figures[name]:9.2f}" for client, figures in best.items()))
    for client in CLIENTS.keys() - best.keys():
        print(f"{client} is not installed (pip install -e .[bench])")
    for client, figures in best.items():
        if client != "sbc":
            speed = ours["pushes_per_cpu_second"] / figures["pushes_per_cpu_second"]
            # The quarter that nothing else on the machine was in the way of says most of the client.
            shorter = figures["trip_quarter_ms"] / ours["trip_quarter_ms"]
            print(f"against {client}: {speed:.2f} times the pushes of a core, one push {shorter:.2f} times as quick")


if __name__ == "__main__":
    main()
