"""How long the SBC itself takes: from an INVITE for a sleeping phone to the push request at the provider, and from the
2xx of the waking phone's REGISTER to the INVITE at the phone. Both as the peers' sockets see it, at a steady rate."""

from __future__ import annotations

from bench.phones import Phones
from bench.provider import Provider
from bench.run import DOMAIN, PHONES, UPPER, Bench, missing, percentile


def measure(*, rate: int, seconds: float) -> dict[str, object]:
    if missing("kamailio"):
        print("latency: kamailio is not installed (make peers)")
        return {"kind": "latency", "skipped": "kamailio"}
    with Bench() as bench:
        upper = bench.kamailio("registrar", host=UPPER)
        provider = Provider(bench.place("provider"))
        bench.later(provider.stop)
        server = bench.sbc(upper, **provider.sections())
        phones = Phones(
            (server.host, server.port), DOMAIN, phone_host=PHONES, caller_host=UPPER, token=lambda n: f"{n:064x}"
        )
        result = phones.wake(int(rate * seconds), rate)
        arrived = provider.arrivals()
    pushes = [
        (at - result.rounds[n].invited) * 1000
        for token, at in arrived
        if result.rounds.get(n := int(token, 16)) and result.rounds[n].invited
    ]
    delivered = [(one.rang - one.awake) * 1000 for one in result.done()]
    record: dict[str, object] = {"kind": "latency", "rate": rate, "failed": result.refused(), "pushes": len(pushes)}
    for name, values in (("INVITE to push", pushes), ("REGISTER 2xx to INVITE", delivered)):
        p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
        record[name] = {"p50": p50, "p99": p99}
        print(f"latency   {rate:4}/s  {name:23} p50 {p50:.2f} ms  p99 {p99:.2f} ms  of {len(values)}")
    if result.refused():
        print(f"latency   {result.refused()} rounds failed {phones.errors}")
    return record
