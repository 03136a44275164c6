"""How long the SBC itself takes: from an INVITE for a sleeping phone to the push request at the provider, and from the
2xx of the waking phone's REGISTER to the INVITE at the phone. Both as the peers' sockets see it, at a steady rate; the
push also as the kernel sees it leave, where packets may be looked at and calls come one at a time."""

from __future__ import annotations

from bisect import bisect
from urllib.parse import urlsplit

from bench.phones import Phones
from bench.provider import Provider
from bench.run import DOMAIN, PHONES, UPPER, Bench, missing, percentile
from bench.tap import Tap, allowed

APART = 20
"""Calls per second up to which each push has been on the wire before the next call comes."""


def measure(*, rate: int, seconds: float) -> dict[str, object]:
    if missing("kamailio"):
        print("latency: kamailio is not installed (make peers)")
        return {"kind": "latency", "skipped": "kamailio"}
    with Bench() as bench:
        upper = bench.kamailio("registrar", host=UPPER)
        provider = Provider(bench.place("provider"))
        bench.later(provider.stop)
        sections = provider.sections()
        server = bench.sbc(upper, **sections)
        phones = Phones(
            (server.host, server.port), DOMAIN, phone_host=PHONES, caller_host=UPPER, token=lambda n: f"{n:064x}"
        )
        tap = Tap(urlsplit(str(sections["apns"]["url"])).port or 443) if rate <= APART and allowed() else None
        result = phones.wake(int(rate * seconds), rate)
        sent = tap.times() if tap else []
        arrived = provider.arrivals()
    pushes = [
        (at - result.rounds[n].invited) * 1000
        for token, at in arrived
        if result.rounds.get(n := int(token, 16)) and result.rounds[n].invited
    ]
    delivered = [(one.rang - one.awake) * 1000 for one in result.done()]
    record: dict[str, object] = {"kind": "latency", "rate": rate, "failed": result.refused(), "pushes": len(pushes)}
    after = [(one, bisect(sent, one.invited)) for one in result.done()]
    wire = [(sent[n] - one.invited) * 1000 for one, n in after if n < len(sent)]
    for name, values in (
        ("INVITE to push on the wire", wire),
        ("INVITE to push", pushes),
        ("REGISTER 2xx to INVITE", delivered),
    ):
        if not values:
            continue
        p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
        record[name] = {"p50": p50, "p99": p99}
        print(f"latency   {rate:4}/s  {name:26} p50 {p50:.2f} ms  p99 {p99:.2f} ms  of {len(values)}")
    if result.refused():
        print(f"latency   {result.refused()} rounds failed {phones.errors}")
    return record
