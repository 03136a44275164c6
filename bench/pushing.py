"""One client that pushes as fast as it can, in a process of its own: ``python -m bench.pushing CLIENT URL CA KEY N M``.

``sbc`` is the product's push room with everything it does (order, template, provider token, breaker, limits, result);
``aioapns`` and ``httpx`` build the same request themselves. N pushes with M under way at once over one connection, then
some one at a time; a JSON line of the figures on standard output.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import ssl
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.peers.lab_process import BUNDLE, TEAM

WARM_UP = 300  # pushes before anything is counted
ALONE = 300  # pushes one at a time, for the latency
DEVICES = [f"{number:04x}" * 16 for number in range(200)]
CALLER = {"user": "+4989987654", "uri": "sip:+4989987654@example.net", "name": "Erika Mustermann"}


def cpu() -> float:
    """Seconds of CPU of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Figures:
    """What a client measured; ``tell`` writes it."""

    def __init__(self, count: int) -> None:
        self.count, self.bad = count, 0
        self.trips: list[float] = []
        self._cpu = self._wall = 0.0

    def begin(self) -> None:
        self._cpu, self._wall = cpu(), time.perf_counter()

    def end(self) -> None:
        self._cpu, self._wall = cpu() - self._cpu, time.perf_counter() - self._wall

    def tell(self) -> None:
        if self.bad:
            raise SystemExit(f"{self.bad} pushes failed")
        told = {
            "pushes_per_cpu_second": self.count / self._cpu,
            "pushes_per_second": self.count / self._wall,
            "cpu_us": self._cpu / self.count * 1e6,
            "trip_quarter_ms": statistics.quantiles(self.trips, n=4)[0] * 1e3,
            "trip_median_ms": statistics.median(self.trips) * 1e3,
            "trip_p95_ms": statistics.quantiles(self.trips, n=20)[-1] * 1e3,
        }
        print(json.dumps(told), flush=True)


def payload(number: int) -> dict[str, object]:
    """The message of one call, as the product's template makes it."""
    return {
        "aps": {
            "alert": {"title": f"Call from {CALLER['name']}", "body": f"Incoming VoIP call from {CALLER['name']}"},
            "sound": "default",
            "content-available": 1,
        },
        "ntype": "0",
        "nfromusername": CALLER["user"],
        "nfrom": CALLER["uri"],
        "nmsg": f"Incoming VoIP call from {CALLER['name']}",
        "ncallid": f"{number}-3848276298220188511@ua17.example.net",
        "ntouser": "alice",
        "ndisplayname": CALLER["name"],
    }


async def drive(figures: Figures, concurrent: int, push: Callable[[int], Awaitable[bool]]) -> None:
    """Warm up, the counted pushes, those one at a time."""
    numbers = iter(range(10**9))

    async def some(left: list[int]) -> None:
        while left[0] > 0:
            left[0] -= 1
            figures.bad += not await push(next(numbers))

    async def phase(count: int) -> None:
        left = [count]
        await asyncio.gather(*(some(left) for _ in range(concurrent)))

    await push(next(numbers))
    await phase(WARM_UP)
    figures.begin()
    await phase(figures.count)
    figures.end()
    for _ in range(ALONE):
        started = time.perf_counter()
        figures.bad += not await push(next(numbers))
        figures.trips.append(time.perf_counter() - started)
        await asyncio.sleep(0.002)


def aioapns(url: str, ca: str, key: str, figures: Figures, concurrent: int) -> None:
    """Apple's pushes by aioapns, a library for nothing else."""
    from aioapns import NotificationRequest, PushType
    from aioapns.connection import APNsKeyConnectionPool, APNsTLSClientProtocol

    class Here(APNsTLSClientProtocol):  # type: ignore[misc]
        APNS_SERVER = urlsplit(url).hostname
        APNS_PORT = urlsplit(url).port

    async def run() -> None:
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(["h2"])
        key_id = Path(key).stem.removeprefix("AuthKey_")
        pool = APNsKeyConnectionPool(
            Path(key).read_text(), key_id, TEAM, f"{BUNDLE}.voip", max_connections=1, ssl_context=context
        )
        pool.protocol_class = Here

        async def push(number: int) -> bool:
            request = NotificationRequest(
                device_token=DEVICES[number % len(DEVICES)],
                message=payload(number),
                notification_id=str(uuid.uuid4()),
                time_to_live=0,
                priority=10,
                collapse_key=f"{number:032x}",
                push_type=PushType.VOIP,
            )
            return bool((await pool.send_notification(request)).is_successful)

        await drive(figures, concurrent, push)
        pool.close()

    asyncio.run(run())


def httpx(url: str, ca: str, key: str, figures: Figures, concurrent: int) -> None:
    """The same requests by httpx over HTTP/2."""
    import httpx as library

    from sbc.push.bearers import ProviderTokens
    from sbc.push.keys import token_key

    signed = token_key(Path(key).read_bytes(), TEAM, Path(key).stem.removeprefix("AuthKey_"))
    authorization = ProviderTokens().get(signed, time.time()).decode()

    async def run() -> None:
        context = ssl.create_default_context(cafile=ca)
        limits = library.Limits(max_connections=1, max_keepalive_connections=1)
        async with library.AsyncClient(http2=True, http1=False, verify=context, limits=limits, timeout=30) as client:

            async def push(number: int) -> bool:
                headers = {
                    "authorization": authorization,
                    "apns-push-type": "voip",
                    "apns-priority": "10",
                    "apns-expiration": "0",
                    "apns-id": str(uuid.uuid4()),
                    "apns-topic": f"{BUNDLE}.voip",
                    "apns-collapse-id": f"{number:032x}",
                }
                body = json.dumps(payload(number), ensure_ascii=False).encode()
                where = f"{url}/3/device/{DEVICES[number % len(DEVICES)]}"
                return (await client.post(where, headers=headers, content=body)).status_code == 200

            await drive(figures, concurrent, push)

    asyncio.run(run())


def sbc(url: str, ca: str, key: str, figures: Figures, concurrent: int) -> None:
    """The product's push room."""
    from twisted.internet.epollreactor import EPollReactor

    from sbc.push.orders import PushOrder, PushResult, PushType
    from sbc.push.ports import PushConfiguration
    from sbc.push.service import PushService
    from sbc.push.settings import ApnsSettings, AppSettings, PushSettings
    from sbc.push.tokens import PushToken

    reactor = EPollReactor()
    service = PushService(
        reactor,
        PushConfiguration(
            push=PushSettings(credentials="/nonexistent", device_limit=10**6, caller_limit=10**6),
            apps=(AppSettings(id=BUNDLE, provider="apns", key=key, team_id=TEAM),),
            apns=ApnsSettings(url=url, sandbox_url=url, ca_file=ca),
        ),
        random=random.Random(1),
    )
    sent, done, limit = 0, 0, WARM_UP
    following: Callable[[], None]

    def send() -> Any:
        nonlocal sent
        number, sent = sent, sent + 1
        token = PushToken("apns", BUNDLE, DEVICES[number % len(DEVICES)], "", "voip")
        call_id = f"{number}-3848276298220188511@ua17.example.net"
        order = PushOrder(
            type=PushType.CALL,
            tokens=(token,),
            call_id=call_id,
            once=f"{call_id} 1 INVITE",
            from_uri=CALLER["uri"],
            from_user=CALLER["user"],
            from_display=CALLER["name"],
            to_uri="sip:alice@example.net",
            to_user="alice",
        )
        return service.send(order)

    def over(result: PushResult) -> None:
        nonlocal done
        done += 1
        figures.bad += not result.accepted
        if sent < limit:
            send().addCallback(over)
        elif done == limit:
            following()

    def phase(then: Callable[[], None]) -> None:
        nonlocal following
        following = then
        for _ in range(min(concurrent, limit - sent)):
            send().addCallback(over)

    def counted() -> None:
        nonlocal limit
        limit += figures.count
        figures.begin()
        phase(measured)

    def measured() -> None:
        figures.end()
        alone()

    def alone() -> None:
        if len(figures.trips) == ALONE:
            service.stopService()
            reactor.callLater(0.1, reactor.stop)
            return
        started = time.perf_counter()

        def answered(result: PushResult) -> None:
            figures.trips.append(time.perf_counter() - started)
            figures.bad += not result.accepted
            reactor.callLater(0.002, alone)

        send().addCallback(answered)

    service.startService()
    reactor.callLater(0.5, phase, counted)
    reactor.run(installSignalHandlers=False)


CLIENTS = {"sbc": sbc, "aioapns": aioapns, "httpx": httpx}


def main() -> None:
    name, url, ca, key, count, concurrent = sys.argv[1:7]
    figures = Figures(int(count))
    CLIENTS[name](url, ca, key, figures, int(concurrent))
    figures.tell()


if __name__ == "__main__":
    main()
