"""How much a durable registration and a look-up cost: `python -m bench.store [URL] [--users N] [--rounds N] [--busy]`.

Without a URL a SQLite file in a temporary directory is used. `--busy` keeps the reactor thread busy meanwhile, as under
full SIP load: it shows what the threads wait for each other. CPU is that of this process, all threads.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import epollreactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from sbc.push.tokens import PushToken
from sbc.store import Secret, Store, queries
from sbc.store.operations import SaveRegistration
from sbc.store.records import Binding

WINDOW = 200
"""Operations under way at once: 4,000 a second at 50 ms each."""


def registration(number: int, at: float) -> SaveRegistration:
    """What the REGISTER of a phone with push comes to."""
    user = f"user{number:07}"
    return SaveRegistration(
        username=user,
        domain="pbx.example.com",
        upper="pbx",
        realm="asterisk",
        ha1="0123456789abcdef0123456789abcdef",
        user_agent="ExamplePhone/4.2 (Android 15)",
        at=at,
        binding=Binding(
            identity=f"<urn:uuid:{number:032x}>",
            contact=f"sip:{user}@198.51.100.7:5061;transport=tls",
            instance=f"<urn:uuid:{number:032x}>",
            reg_id=1,
            transport="TLS",
            source="198.51.100.7:40001",
            flow=f"tls/{number}",
            node="edge-1",
            user_agent="ExamplePhone/4.2 (Android 15)",
            expires_at=at + 600,
            call_id=f"{number:024x}",
            cseq=int(at) % 1000,
        ),
        tokens=(PushToken("fcm", "com.example.phone", f"{number:08}:" + "x" * 140, "production", "android"),),
        upper_contact=f"sip:u{number:024x}@203.0.113.5:5060",
        upper_call_id=f"{number:024x}@sbc",
        upper_expires_at=at + 3600,
        next_at=at + 3400,
        node="edge-1",
    )


def cpu() -> float:
    """Seconds of CPU that this process used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory() -> float:
    """Resident MB of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


async def windowed(jobs: Iterator[Callable[[], Deferred[Any]]], window: int) -> list[float]:
    """Run jobs, `window` at a time, and give how long each took in seconds."""
    took: list[float] = []
    finished: Deferred[None] = Deferred()
    running = 0

    def next_one(_: object = None, started: float = 0.0) -> None:
        nonlocal running
        if started:
            took.append(time.perf_counter() - started)
            running -= 1
        job = next(jobs, None)
        if job is not None:
            running += 1
            begun = time.perf_counter()
            job().addCallbacks(next_one, broken, callbackArgs=(begun,))
        elif not running and not finished.called:
            finished.callback(None)

    def broken(failure: Failure) -> None:
        if not finished.called:
            finished.errback(failure)

    for _ in range(window):
        next_one()
    await finished
    return took


def report(name: str, took: list[float], wall: float, used: float) -> None:
    """One line of JSON."""
    took.sort()
    line = {
        "what": name,
        "count": len(took),
        "per_second": round(len(took) / wall),
        "cpu_us": round(used / len(took) * 1e6, 1),
        "p50_ms": round(took[len(took) // 2] * 1e3, 2),
        "p99_ms": round(took[len(took) * 99 // 100] * 1e3, 2),
        "rss_mb": round(memory(), 1),
    }
    print(json.dumps(line), flush=True)


async def measure(store: Store, arguments: argparse.Namespace, idle: Callable[[float], Deferred[None]]) -> None:
    """The whole bench."""
    users, rounds = arguments.users, arguments.rounds
    at = 1_800_000_000.0

    async def one(name: str, jobs: Iterator[Callable[[], Deferred[Any]]], window: int) -> None:
        wall, used = time.perf_counter(), cpu()
        took = await windowed(jobs, window)
        report(name, took, time.perf_counter() - wall, cpu() - used)

    await one("new users", (partial(store.write, registration(n, at)) for n in range(users)), WINDOW)
    for again in range(rounds):
        await one(
            "known devices",
            (partial(store.write, registration(n, at + 600 * (again + 1))) for n in range(users)),
            WINDOW,
        )

    def after_a_pause(number: int) -> Deferred[Any]:
        return idle(0.05).addCallback(lambda _: store.write(registration(number, at + 9000)))

    await one("known devices, 50 ms pauses (included)", (partial(after_a_pause, n) for n in range(100)), 1)

    def looks(count: int) -> Iterator[Callable[[], Deferred[Any]]]:
        for n in range(count):
            name = f"user{n * 7919 % users:07}"
            yield partial(store.read, partial(queries.subscriber, username=name, domain="pbx.example.com"))

    await one("look-ups in bursts", looks(min(users, 20_000)), 50)
    await one("look-ups, one at a time", looks(min(users, 2_000)), 1)
    gc.collect()
    await idle(0.1)
    print(json.dumps({"what": "at rest", "rss_mb": round(memory(), 1)}), flush=True)


def main(argv: list[str]) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--busy", action="store_true")
    arguments = parser.parse_args(argv)
    reactor = epollreactor.EPollReactor()
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        url = arguments.url or f"sqlite:///{base}/sbc.db"
        store = Store(reactor, url, Secret.from_file(base / "secret.key"))

        def idle(seconds: float) -> Deferred[None]:
            waited: Deferred[None] = Deferred()
            reactor.callLater(seconds, waited.callback, None)
            return waited

        def burn() -> None:
            end = time.perf_counter() + 0.0002
            while time.perf_counter() < end:
                json.dumps(arguments.__dict__)
            time.sleep(0)
            reactor.callLater(0, burn)

        async def run() -> None:
            store.startService()
            print(json.dumps({"what": "started", "rss_mb": round(memory(), 1)}), flush=True)
            if arguments.busy:
                burn()
            try:
                await measure(store, arguments, idle)
            finally:
                await store.stopService()
                reactor.stop()

        failures: list[object] = []
        reactor.callWhenRunning(lambda: ensureDeferred(run()).addErrback(failures.append))
        reactor.run()
        if failures:
            sys.exit(str(failures[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
