"""What a registered, sleeping user costs in memory and on disk: many register with a push token and fall silent.

Measured empty, after half of them and after all, each time when the last transaction is gone: the first half pays for
what every busy SBC holds (freed memory that Python keeps), the second shows what a user costs.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench.phones import Phones
from bench.provider import Provider
from bench.run import DOMAIN, PHONES, UPPER, Bench, Server, cpu, memory, missing
from tests.peers.program import until
from tests.peers.sbc_process import Sbc

STEP = 2000  # users registered by one set of sockets before the next
RATE = 500  # REGISTERs a second
SILENCE = 90.0  # s at most until the last transaction is gone (timer J keeps each for 32 s)


def measure(*, users: int) -> dict[str, object]:
    if missing("kamailio"):
        print("memory: kamailio is not installed (make peers)")
        return {"kind": "memory", "skipped": "kamailio"}
    with Bench() as bench:
        upper = bench.kamailio("registrar", host=UPPER)
        provider = Provider(bench.place("provider"))
        bench.later(provider.stop)
        server = bench.sbc(upper, **provider.sections())
        sbc = server.process
        assert sbc is not None
        empty, before, started = memory(server.pid), cpu(server.pid), time.monotonic()
        half = users // 2
        done = _register(bench, server, 0, half)
        took = time.monotonic() - started
        _fall_silent(sbc)
        middle, started = memory(server.pid), time.monotonic()
        done += _register(bench, server, half, users - half)
        took += time.monotonic() - started
        _fall_silent(sbc)
        used, full = cpu(server.pid) - before, memory(server.pid)
        disk = sum(path.stat().st_size for path in Path(bench.folder).rglob("sbc.db*"))
        sbc.stop()
        started = time.monotonic()
        sbc.start()
        back = time.monotonic() - started
        again = memory(sbc.program.pid)
    print(
        f"memory    {done} of {users} users registered at {done / took:.0f}/s: {empty / 1e6:.1f} MB empty, "
        f"{middle / 1e6:.1f} MB with half of them, {full / 1e6:.1f} MB with all; {disk / 1e6:.1f} MB on disk; "
        f"CPU s/1000 {used / max(1, done) * 1000:.3f}"
    )
    print(f"restart   with {done} users: healthy after {back:.2f} s, {again / 1e6:.1f} MB")
    return {
        "kind": "memory",
        "users": done,
        "empty": empty,
        "half": middle,
        "full": full,
        "restarted": again,
        "restart": back,
        "disk": disk,
        "cpu": used,
    }


def _register(bench: Bench, server: Server, first: int, count: int) -> int:
    done = 0
    for start in range(first, first + count, STEP):
        phones = Phones(
            (server.host, server.port), DOMAIN, phone_host=PHONES, caller_host=UPPER, token=lambda n: f"{n:064x}"
        )
        bench.later(phones.close)
        done += len(phones.register(min(STEP, first + count - start), RATE, start).done())
    return done


def _fall_silent(sbc: Sbc) -> None:
    until(lambda: sbc.metrics().get("sbc_transactions") == 0.0, "no transaction is left", seconds=SILENCE, step=1.0)
