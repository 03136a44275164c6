"""Pushes per second of CPU, everything included: order, template, HTTP/2 over TLS, answer, result.

``python -m bench.push [N] [CONCURRENT]``. The other end is nghttpd (Debian's nghttp2-server), in a process of its own.
Also told: the time that ``send`` takes from the order until its bytes are handed to the kernel, alone on a warm
connection.
"""

from __future__ import annotations

import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.epollreactor import EPollReactor

from sbc.lab.authority import Authority
from sbc.push.orders import PushOrder, PushResult, PushType
from sbc.push.ports import PushConfiguration
from sbc.push.service import PushService
from sbc.push.settings import ApnsSettings, AppSettings, PushSettings
from sbc.push.tokens import PushToken
from tests.peers.nghttpd_server import Nghttpd

BUNDLE = "com.example.phone"
WARM_UP = 300  # pushes before anything is counted
ALONE = 200  # pushes one at a time, for the latency


class Run:
    """*count* pushes with *concurrent* under way at once."""

    def __init__(self, folder: Path, count: int, concurrent: int) -> None:
        self.count, self.concurrent = count, concurrent
        self.devices = [f"{number:04x}" * 16 for number in range(200)]
        self.server = Nghttpd(folder / "nghttpd", paths=tuple(f"/3/device/{device}" for device in self.devices))
        authority = Authority(folder / "keys", now_at=time.time())
        self.reactor = EPollReactor()
        self.service = PushService(
            self.reactor,
            PushConfiguration(
                push=PushSettings(credentials=str(folder / "none")),
                apps=(AppSettings(id=BUNDLE, provider="apns", key=str(authority.apns_key()), team_id="DEF123GHIJ"),),
                apns=ApnsSettings(
                    url=self.server.url, sandbox_url=self.server.url, ca_file=str(self.server.certificate)
                ),
            ),
            random=random.Random(1),
        )
        self.sent = self.done = self.bad = 0
        self.limit = WARM_UP
        self.cpu = self.wall = 0.0
        self.latencies: list[float] = []
        self.trips: list[float] = []

    def order(self) -> PushOrder:
        token = PushToken("apns", BUNDLE, self.devices[self.sent % len(self.devices)])
        return PushOrder(
            type=PushType.CALL,
            tokens=(token,),
            call_id=f"{self.sent}-3848276298220188511@ua17.example.net",
            from_uri="sip:+4989987654@example.net",
            from_user="+4989987654",
            from_display="Erika Mustermann",
            to_uri="sip:alice@example.net",
            to_user="alice",
        )

    def go(self) -> None:
        """Everything in turn: warm up, the counted pushes, those one at a time."""
        self.service.startService()
        self.reactor.callLater(0.5, self.phase, self.counted)
        self.reactor.run(installSignalHandlers=False)
        self.server.stop()

    def phase(self, following: Any) -> None:
        self.following = following
        for _ in range(min(self.concurrent, self.limit - self.sent)):
            self.one()

    def one(self) -> None:
        order = self.order()
        self.sent += 1
        self.service.send(order).addCallback(self.over)

    def over(self, result: PushResult) -> None:
        self.done += 1
        self.bad += not result.accepted
        if self.sent < self.limit:
            self.one()
        elif self.done == self.limit:
            self.following()

    def counted(self) -> None:
        self.cpu, self.wall = _cpu(), time.perf_counter()
        self.limit += self.count
        self.phase(self.measured)

    def measured(self) -> None:
        self.cpu, self.wall = _cpu() - self.cpu, time.perf_counter() - self.wall
        self.alone()

    def alone(self) -> None:
        if len(self.trips) == ALONE:
            self.service.stopService()
            self.reactor.callLater(0.1, self.reactor.stop)
            return
        started = time.perf_counter()

        def over(result: PushResult) -> None:
            self.trips.append(time.perf_counter() - started)
            self.reactor.callLater(0.002, self.alone)

        order = self.order()
        self.sent += 1
        sending = self.service.send(order)
        self.latencies.append(time.perf_counter() - started)
        sending.addCallback(over)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(count: int = 5000, concurrent: int = 100) -> dict[str, float]:
    """One run's figures: pushes per CPU-second and per second, µs of CPU per push, latencies in ms."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), count, concurrent)
        run.go()
    if run.bad:
        raise SystemExit(f"{run.bad} of {run.done} pushes failed")
    return {
        "pushes_per_cpu_second": count / run.cpu,
        "pushes_per_second": count / run.wall,
        "cpu_us": run.cpu / count * 1e6,
        "send_median_ms": statistics.median(run.latencies) * 1e3,
        "trip_median_ms": statistics.median(run.trips) * 1e3,
    }


def main() -> None:
    given = [int(word) for word in sys.argv[1:]]
    for name, value in measure(*given).items():
        print(f"{name:24} {value:10.2f}")


if __name__ == "__main__":
    main()
