"""What a registered, sleeping user costs in memory and on disk: many register with a push token and fall silent."""

from __future__ import annotations

import time
from pathlib import Path

from bench.phones import Phones
from bench.provider import Provider
from bench.run import DOMAIN, PHONES, UPPER, Bench, cpu, memory, missing

STEP = 2000  # users registered by one set of sockets before the next
RATE = 600  # REGISTERs a second
QUIET = 3.0  # s after the last one, so that what is only on its way is gone


def measure(*, users: int) -> dict[str, object]:
    if missing("kamailio"):
        print("memory: kamailio is not installed (make peers)")
        return {"kind": "memory", "skipped": "kamailio"}
    with Bench() as bench:
        upper = bench.kamailio("registrar", host=UPPER)
        provider = Provider(bench.place("provider"))
        bench.later(provider.stop)
        server = bench.sbc(upper, **provider.sections())
        time.sleep(1)
        empty, before, started = memory(server.pid), cpu(server.pid), time.monotonic()
        done = 0
        for first in range(0, users, STEP):
            phones = Phones(
                (server.host, server.port), DOMAIN, phone_host=PHONES, caller_host=UPPER, token=lambda n: f"{n:064x}"
            )
            bench.later(phones.close)
            done += len(phones.register(min(STEP, users - first), RATE, first).done())
        took, used = time.monotonic() - started, cpu(server.pid) - before
        time.sleep(QUIET)
        full = memory(server.pid)
        sbc = server.process
        assert sbc is not None
        sbc.stop()
        started = time.monotonic()
        sbc.start()
        back = time.monotonic() - started
        time.sleep(QUIET)
        again = memory(sbc.program.pid)
        disk = sum(path.stat().st_size for path in Path(bench.folder).rglob("sbc.db*"))
    print(
        f"memory    {done} of {users} users registered at {done / took:.0f}/s: {empty / 1e6:.1f} MB before, "
        f"{full / 1e6:.1f} MB after, {disk / 1e6:.1f} MB on disk, CPU s/1000 {used / max(1, done) * 1000:.3f}"
    )
    print(f"restart   with {done} users: healthy after {back:.2f} s, {again / 1e6:.1f} MB")
    return {
        "kind": "memory",
        "users": done,
        "before": empty,
        "after": full,
        "restarted": again,
        "restart": back,
        "disk": disk,
        "cpu": used,
    }
