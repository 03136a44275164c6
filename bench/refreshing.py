"""What it costs to keep upper registrations alive: ``python -m bench.refreshing [--users N] [--seconds S]``.

The whole product runs, its database filled with sleeping users; the upper server is a script in another process. First
nothing is due: the price of looking for what is. Then as many are due each second as with 3600 s for each (the true
rate). Last, all are due at once and ``refresh_rate`` is high: the price of one refresh, challenged, and with a known
nonce. CPU is that of the SBC's process, all threads; the reactor's thread is told apart.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from bench.registrar import Registrar
from bench.run import DOMAIN, SERVER, TICK, UPPER, Bench, alone, cpu, memory
from bench.sleeping import fill
from tests.peers.ports import free_port
from tests.peers.sbc_process import Sbc

CYCLE = 2880.0
"""Seconds between two refreshes of one registration granted for 3600 s, on average."""
FAST = 400
"""Refreshes a second where all are due at once: about what one core bears beside the load itself."""
SETTLE = 5.0
"""Seconds after a start that are not measured."""


def reactor_cpu(pid: int) -> float:
    """CPU seconds of the thread that runs the reactor, the first one."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def say(what: str, **figures: object) -> None:
    """One line of JSON."""
    print(json.dumps({"what": what, **figures}), flush=True)


def measured(what: str, sbc: Sbc, upper: Registrar, seconds: float) -> None:
    """Watch for so long, and report."""
    pid = sbc.program.pid
    used, own, done, asked = cpu(pid), reactor_cpu(pid), upper.granted, upper.challenged
    begun, least = time.monotonic(), memory(pid)
    time.sleep(seconds)
    wall, granted = time.monotonic() - begun, upper.granted - done
    say(
        what,
        seconds=round(wall),
        refreshes=granted,
        per_second=round(granted / wall, 1),
        challenges=upper.challenged - asked,
        core_percent=round((cpu(pid) - used) / wall * 100, 2),
        reactor_percent=round((reactor_cpu(pid) - own) / wall * 100, 2),
        cpu_us_each=round((cpu(pid) - used) / granted * 1e6) if granted else None,
        reactor_us_each=round((reactor_cpu(pid) - own) / granted * 1e6) if granted else None,
        lag=sbc.metrics().get("sbc_event_loop_lag_seconds"),
        memory_mb=[round(least / 1e6, 1), round(memory(pid) / 1e6, 1)],
    )


def node(bench: Bench, upper: Registrar, users: int, next_at: Callable[[int], float | None], rate: int) -> Sbc:
    """An SBC that finds so many sleeping users."""
    sbc = Sbc(
        bench.place("sbc"),
        [{"name": "pbx", "uri": f"sip:{upper.address};transport=udp", "domain": DOMAIN}],
        host=SERVER,
        sections={
            "media": {"relay": "never"},
            "security": {"allow": ["127.0.0.0/8"]},
            "registrar": {"refresh_rate": rate},
        },
        start=False,
    )
    begun = time.monotonic()
    fill(sbc.database.parent, f"sqlite:///{sbc.database}", users, DOMAIN, time.time(), next_at)
    say("filled", users=users, seconds=round(time.monotonic() - begun, 1))
    sbc.start()
    bench.later(sbc.stop)
    time.sleep(SETTLE)
    return sbc


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--users", type=int, default=100_000)
    options.add_argument("--seconds", type=float, default=300.0, help="of the run at the true rate")
    options.add_argument("--forgets", action="store_true", help="the upper server takes no nonce twice")
    chosen = options.parse_args()
    users = chosen.users
    with alone(), Bench() as bench:
        upper = Registrar(UPPER, free_port(), DOMAIN, forgets=chosen.forgets)
        bench.later(upper.stop)
        now = time.time()
        sbc = node(bench, upper, users, lambda number: now + 86_400 + number, 200)
        measured("nothing due", sbc, upper, 30.0)
        with sqlite3.connect(sbc.database, timeout=30) as database:
            cycle = (time.time(), CYCLE / users)
            database.execute("update upper_registrations set next_at = ? + id * ?", cycle)
        database.close()
        measured("true rate", sbc, upper, chosen.seconds)
        sbc.stop()
        sbc = node(bench, upper, users, lambda number: now, FAST)
        measured("as fast as set, challenged", sbc, upper, users / FAST * 0.5)
        measured("as fast as set, challenged", sbc, upper, users / FAST * 0.3)
        while upper.granted and sbc.rows("select 1 from upper_registrations where next_at < ? limit 1", time.time()):
            time.sleep(1.0)
        with sqlite3.connect(sbc.database, timeout=30) as database:
            database.execute("update upper_registrations set next_at = ?", (time.time(),))
        database.close()
        measured("as fast as set, again", sbc, upper, users / FAST * 0.5)
        say(
            "states",
            **{
                row["state"]: row["n"]
                for row in sbc.rows("select state, count(*) n from upper_registrations group by state")
            },
        )


if __name__ == "__main__":
    main()
