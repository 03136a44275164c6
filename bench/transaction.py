"""CPU microseconds per call and memory per call that lingers. `python bench/transaction.py [calls]`.

A call is what a proxy sees of it: INVITE, 100, 180, 200, ACK, BYE, 200 through server and client transactions, with
parsing, forwarding and rendering, without sockets.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from samples import INVITE, OK, REGISTER

from sbc.sip import Request, Response, parse
from sbc.sip.build import respond, stamp
from sbc.transaction import Effect, NewRequest, Received, Send, ServerTransaction, TransactionTable


class Wire:
    """An unreliable hop."""

    reliable = False


CALLER, CALLEE = Wire(), Wire()
OUR_VIA = b"SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bK0-%x"
BYE = INVITE.replace(b"INVITE sip:", b"BYE sip:").replace(b"27182 INVITE", b"27183 BYE")
ACK = INVITE.replace(b"INVITE sip:", b"ACK sip:").replace(b"27182 INVITE", b"27182 ACK")


class Proxy:
    """The least a proxy does."""

    def __init__(self) -> None:
        self.table = TransactionTable(limit=1_000_000)
        self.now = 1000.0
        self.branches = 0

    def arrive(self, data: bytes, hop: Wire) -> list[Request]:
        """One datagram; what went to the callee."""
        message = parse(data)
        return self.run(self.table.receive(message, hop, self.now))

    def run(self, effects: list[Effect]) -> list[Request]:
        """Carry out effects; requests that were forwarded are returned for their answers."""
        out = []
        for effect in effects:
            if isinstance(effect, Send):
                pass
            elif isinstance(effect, NewRequest):
                out.append(self.forward(effect.txn, effect.request))
            elif isinstance(effect, Received):
                self.back(effect.txn.user, effect.response)
        return out

    def forward(self, txn: ServerTransaction, request: Request) -> Request:
        """100, then on to the callee."""
        if txn.invite:
            self.run(self.table.respond(txn, respond(request, 100), self.now))
        stamp(request, b"203.0.113.9", 5060)
        request.pop_top(b"route")
        request.set(b"max-forwards", b"%d" % ((request.max_forwards or 70) - 1))
        forwarded = request.copy()
        forwarded.uri = b"sip:bob@203.0.113.50:5066"
        self.branches += 1
        forwarded.push(b"via", OUR_VIA % self.branches)
        _, effects = self.table.request(forwarded, CALLEE, self.now, user=txn)
        self.run(effects)
        return forwarded

    def back(self, txn: ServerTransaction, response: Response) -> None:
        """An answer on its way to the caller."""
        if response.status == 100:
            return
        response.pop_top(b"via")
        self.run(self.table.respond(txn, response, self.now))

    def call(self, number: int) -> None:
        """One whole call."""
        mark = b"z9hG4bKcall-%d" % number
        invite = INVITE.replace(b"z9hG4bK-71f3-5-0a9c2b44e1", mark)
        self.arrive(invite, CALLER)
        ours = b"z9hG4bK0-%x" % self.branches
        answer = OK.replace(b"z9hG4bK0-7d1e99-5a", ours).replace(b"z9hG4bK-71f3-5-0a9c2b44e1", mark)
        self.arrive(answer.replace(b"200 OK", b"180 Ringing"), CALLEE)
        self.arrive(answer, CALLEE)
        self.arrive(ACK.replace(b"z9hG4bK-71f3-5-0a9c2b44e1", mark + b"a"), CALLER)
        self.arrive(BYE.replace(b"z9hG4bK-71f3-5-0a9c2b44e1", mark + b"b"), CALLER)
        ours = b"z9hG4bK0-%x" % self.branches
        self.arrive(OK.replace(b"z9hG4bK0-7d1e99-5a", ours).replace(b"27182 INVITE", b"27183 BYE"), CALLEE)
        self.now += 0.001
        deadline = self.table.deadline()
        if deadline is not None and deadline <= self.now:
            self.run(self.table.expire(self.now))


def calls(count: int) -> None:
    """CPU per call at 1000 calls a second, four transactions of each lingering for 32 s."""
    proxy = Proxy()
    start = time.process_time()
    for number in range(count):
        proxy.call(number)
    taken = time.process_time() - start
    print(f"{taken / count * 1e6:8.1f} us  a call of 6 messages in, 7 out ({len(proxy.table)} transactions at the end)")


def memory(count: int) -> None:
    """Bytes that stay while the timers of finished calls run, and after them."""
    proxy = Proxy()
    proxy.call(0)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(1, count + 1):
        proxy.call(number)
    held = tracemalloc.get_traced_memory()[0] - before
    proxy.now += 1
    proxy.run(proxy.table.expire(proxy.now))
    slim = tracemalloc.get_traced_memory()[0] - before
    while (deadline := proxy.table.deadline()) is not None:
        proxy.now = deadline
        proxy.run(proxy.table.expire(proxy.now))
    rest = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"{held / count:8.0f} B   a finished call in its first half second")
    print(f"{slim / count:8.0f} B   after that, until its timers have run")
    print(f"{rest / count:8.0f} B   afterwards")


def pending(count: int) -> None:
    """What a second costs while so many transactions wait and nothing happens."""
    proxy = Proxy()
    for number in range(count):
        message = parse(REGISTER.replace(b"z9hG4bKr4t5y6u7", b"z9hG4bK%d" % number))
        (effect,) = proxy.table.receive(message, CALLER, proxy.now)
        assert isinstance(effect, NewRequest)
        proxy.table.respond(effect.txn, respond(effect.request, 200), proxy.now)
    proxy.now += 1
    proxy.table.expire(proxy.now)
    start = time.process_time()
    for _ in range(200):
        proxy.now += 0.05
        proxy.table.expire(proxy.now)
    print(f"{(time.process_time() - start) / 10 * 100:8.3f} %   of a core with {count} transactions pending")
    start = time.process_time()
    while (deadline := proxy.table.deadline()) is not None:
        proxy.now = deadline
        proxy.table.expire(proxy.now)
    print(f"{(time.process_time() - start) / count * 1e6:8.2f} us  a transaction to end")


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    calls(count)
    gc.collect()
    gc.disable()
    calls(count)
    gc.enable()
    memory(min(count, 1000))
    pending(20_000)


if __name__ == "__main__":
    main()
