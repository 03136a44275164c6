"""Very many sleeping users: ``python -m bench.million [--users N] [--postgresql]``.

A sleeping user may cost disk alone. The same load (phones that register with a push token, are called asleep and wake)
is given to a node that knows nobody and to one that knows all of them: memory may differ by no more than 20 MB. Then
look-ups by name and by upper Contact, and durable REGISTERs of known devices, each of random users.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import epollreactor
from twisted.internet.defer import Deferred, ensureDeferred

from bench.phones import Phones
from bench.provider import Provider
from bench.refreshing import say
from bench.registrar import Registrar
from bench.run import DOMAIN, PHONES, SERVER, UPPER, Bench, alone, memory
from bench.sleeping import fill
from bench.store import cpu, registration, report, windowed
from sbc.store import Secret, Store, queries
from sbc.store.engine import open_engine
from tests.peers.ports import free_port
from tests.peers.postgres_server import postgres
from tests.peers.program import until
from tests.peers.sbc_process import Sbc

RATE = 100.0  # wakes begun each second
SILENCE = 120.0  # s at most until the transactions are gone
LEFT = 3  # that may be there: questions whether the upper server is alive
LOOKS = 20_000
REGISTERS = 20_000
WINDOW = 200  # operations under way at once


def node(bench: Bench, upper: Registrar, provider: Provider, url: str, users: int, wakes: int) -> Sbc:
    """A node that knows so many users; says what it holds in memory before and after the load."""
    database = {"database": {"url": url}} if url else {}
    sbc = Sbc(
        bench.place("sbc"),
        [{"name": "pbx", "uri": f"sip:{upper.address};transport=udp", "domain": DOMAIN}],
        host=SERVER,
        sections={
            "media": {"relay": "never"},
            "security": {"allow": ["127.0.0.0/8"]},
            **provider.sections(),
            **database,
        },
        start=False,
    )
    begun, at = time.monotonic(), time.time()
    if users:
        fill(sbc.database.parent, url or f"sqlite:///{sbc.database}", users, DOMAIN, at, lambda number: at + 86_400)
        say("filled", users=users, seconds=round(time.monotonic() - begun, 1))
        with open_engine(url or f"sqlite:///{sbc.database}").connect() as connection:
            connection.exec_driver_sql("ANALYZE")
    begun = time.monotonic()
    sbc.start()
    bench.later(sbc.stop)
    healthy = time.monotonic() - begun
    time.sleep(5.0)
    first = memory(sbc.program.pid)
    phones = Phones(
        (sbc.host, sbc.port), DOMAIN, phone_host=PHONES, caller_host=UPPER, token=lambda number: f"{number:064x}"
    )
    bench.later(phones.close)
    result = phones.wake(wakes, RATE)
    until(
        lambda: sbc.metrics().get("sbc_transactions", LEFT + 1) <= LEFT,
        "hardly a transaction is left",
        seconds=SILENCE,
        step=1.0,
    )
    say(
        "memory",
        users=users,
        start_seconds=round(healthy, 2),
        started_mb=round(first / 1e6, 1),
        calls=len(result.done()),
        of=wakes,
        after_mb=round(memory(sbc.program.pid) / 1e6, 1),
        disk_mb=round(sum(path.stat().st_size for path in sbc.folder.rglob("sbc.db*")) / 1e6, 1),
    )
    return sbc


async def measure(store: Store, users: int) -> None:
    """Look-ups and REGISTERs of random users."""
    chance = random.Random(1)

    async def one(name: str, jobs: Iterator[Callable[[], Deferred[Any]]], window: int) -> None:
        wall, used = time.perf_counter(), cpu()
        took = await windowed(jobs, window)
        report(name, took, time.perf_counter() - wall, cpu() - used)

    def names(count: int) -> Iterator[Callable[[], Deferred[Any]]]:
        for _ in range(count):
            name = f"user{chance.randrange(users):07}"
            yield partial(store.read, partial(queries.subscriber, username=name, domain=DOMAIN))

    def contacts(count: int) -> Iterator[Callable[[], Deferred[Any]]]:
        for _ in range(count):
            user = f"u{chance.randrange(users):024x}"
            yield partial(store.read, partial(queries.subscriber_by_contact, upper_contact_user=user))

    def registers(count: int) -> Iterator[Callable[[], Deferred[Any]]]:
        for _ in range(count):
            yield partial(store.write, registration(chance.randrange(users), time.time()))

    await one("look-ups by name, in bursts", names(LOOKS), 50)
    await one("look-ups by upper Contact, in bursts", contacts(LOOKS), 50)
    await one("look-ups by name, one at a time", names(LOOKS // 10), 1)
    await one("durable REGISTERs of known devices", registers(REGISTERS), WINDOW)
    await one("durable REGISTERs, one at a time", registers(REGISTERS // 100), 1)


def look(url: str, state: Path, users: int) -> None:
    """Open the filled database here."""
    reactor = epollreactor.EPollReactor()
    store = Store(reactor, url, Secret.from_file(state / "secret.key"))
    failures: list[object] = []

    async def run() -> None:
        store.startService()
        try:
            await measure(store, users)
        finally:
            await store.stopService()
            reactor.stop()

    reactor.callWhenRunning(lambda: ensureDeferred(run()).addErrback(failures.append))
    reactor.run()
    if failures:
        sys.exit(str(failures[0]))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--users", type=int, default=1_000_000)
    options.add_argument("--wakes", type=int, default=2_000)
    options.add_argument("--postgresql", action="store_true", help="instead of SQLite; a server of its own")
    chosen = options.parse_args()
    with alone(), ExitStack() as ends:
        bench = ends.enter_context(Bench())
        url = ends.enter_context(postgres()) if chosen.postgresql else ""
        upper = Registrar(UPPER, free_port(), DOMAIN, trusts=True)
        bench.later(upper.stop)
        provider = Provider(bench.place("provider"))
        bench.later(provider.stop)
        empty = node(bench, upper, provider, url, 0, chosen.wakes)
        empty.stop()
        if url:
            (empty.folder / "state" / "secret.key").unlink()
        full = node(bench, upper, provider, url, chosen.users, chosen.wakes)
        full.stop()
        look(url or f"sqlite:///{full.database}", full.database.parent, chosen.users)


if __name__ == "__main__":
    main()
