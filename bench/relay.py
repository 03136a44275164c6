"""Packets that relays forward per CPU-second: `python -m bench.relay [options] [WHAT …]`.

Each kind of relay runs in a process of its own and is fed by a generator in another one with two-way G.711 calls (172
bytes every 20 ms each way) over loopback. Counted are the packets that arrive at the phones and the CPU time of the
relay's process, user and system, so other work on the machine blurs the figures less than it would blur times.
`--profile` shows where `core` spends it.

  bare      recvfrom_into and sendto in an epoll loop, no checks, no counts: what Python can do at most
  connected the same with connected sockets, recv_into and send: the kernel does the address check
  core      the product's forwarding core in a loop of its own
  worker    the media process, as it runs in the product
  rtpengine the daemon in user space, with one thread
  reactor   the same core turned by the Twisted reactor: `engine = "inline"`
  srtp      the core between a plain party and one with SRTP (AEAD_AES_128_GCM): each packet is sealed or opened
  rekey     the core between two parties with SRTP: each packet is opened and sealed
  protocol  a Twisted DatagramProtocol per port: what the obvious way would cost
"""

from __future__ import annotations

import argparse
import cProfile
import multiprocessing
import os
import pstats
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from random import Random

from bench.crowd import INTERVAL, Crowd
from bench.programs import KEY, RELAY, Meter, describe, rtpengine, worker

PHONES = ("127.0.0.3", "127.0.0.4")
PAYLOAD = b"\xff" * 160
#: Seconds from the first packet until counting starts: latching and caches.
WARM_UP = 0.5

Address = tuple[str, int]


def open_port(host: str, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((host, port))
    return sock


#: By relay: which of the two phones of a call encrypt.
ENCRYPTING = {"srtp": (False, True), "rekey": (True, True)}


def sealers(calls: int, encrypting: tuple[bool, bool]) -> list[Callable[[bytes], bytes]]:
    """What each phone does with its packets before it sends them."""
    from sbc.media.sdes import GCM_128
    from sbc.media.srtp import Sealer

    return [Sealer(GCM_128, KEY).rtp if each else bytes for _ in range(calls) for each in encrypting]


class Choir:
    """Phones of which some encrypt: each has a socket of its own."""

    def __init__(self, calls: int, encrypting: tuple[bool, bool]) -> None:
        self.sockets = [(open_port(PHONES[0]), open_port(PHONES[1])) for _ in range(calls)]
        self.sent = self.received = 0
        self._seals = sealers(calls, encrypting)
        self._sequence, self._began = 0, 0.0

    def aim(self, targets: list[tuple[Address, Address]]) -> None:
        self._ways = [
            (sock, target, number)
            for number, (pair, far) in enumerate(zip(self.sockets, targets, strict=True))
            for sock, target in zip(pair, far, strict=True)
        ]

    def turn(self) -> None:
        sequence = self._sequence
        self._began = self._began or time.monotonic()
        head = b"\x80\x00" + (sequence & 0xFFFF).to_bytes(2, "big") + (sequence * 160).to_bytes(4, "big")
        for place, (sock, target, number) in enumerate(self._ways):
            sock.sendto(self._seals[place](head + number.to_bytes(4, "big") + PAYLOAD), target)
            self.sent += 1
            if place % 16 == 15:  # spread over the interval as phones are
                self.listen(place - 15, place + 1)
                ahead = self._began + INTERVAL * (sequence + place / len(self._ways)) - time.monotonic()
                if ahead > 0.0005:
                    time.sleep(ahead)
                elif ahead < -0.2:
                    self._began -= ahead
        self._sequence += 1

    def listen(self, first: int = 0, last: int | None = None) -> None:
        for sock, _, _ in self._ways[first:last]:
            try:
                while sock.recv(2048):
                    self.received += 1
            except BlockingIOError:
                pass


def generate(calls: int, orders: Connection, encrypting: tuple[bool, bool]) -> None:
    """Say where the phones are, learn where to send, then send until told to stop; tell the counts when asked."""
    crowd = Choir(calls, encrypting) if any(encrypting) else Crowd(calls, PHONES)
    if isinstance(crowd, Choir):
        orders.send([(a.getsockname(), b.getsockname()) for a, b in crowd.sockets])
        crowd.aim(orders.recv())
    else:
        orders.send([crowd.addresses] * calls)
        for side, far in zip(crowd.sides, zip(*orders.recv(), strict=True), strict=True):
            side.aim(list(far))
    going = True
    while going:
        crowd.turn()
        if orders.poll():
            going = orders.recv() == "count"
            if not going:
                time.sleep(0.3)
                crowd.listen()
            orders.send((crowd.sent, crowd.received, time.monotonic()))


def bare(phones: list[tuple[Address, Address]], orders: Connection, profile: bool) -> None:
    epoll, ways = select.epoll(), {}
    pairs = [(open_port(RELAY), open_port(RELAY)) for _ in phones]
    for (a, b), (phone_a, phone_b) in zip(pairs, phones, strict=True):
        ways[a.fileno()] = (a.recvfrom_into, b.sendto, phone_b)
        ways[b.fileno()] = (b.recvfrom_into, a.sendto, phone_a)
        epoll.register(a, select.EPOLLIN)
        epoll.register(b, select.EPOLLIN)
    orders.send([(a.getsockname(), b.getsockname()) for a, b in pairs])
    buffer = bytearray(65535)
    view = memoryview(buffer)
    meter = Meter(orders)
    while meter.obey():
        deadline = time.monotonic() + 0.1
        while time.monotonic() < deadline:
            for descriptor, _ in epoll.poll(0.1, 512):
                receive, send, target = ways[descriptor]
                size, _ = receive(buffer)
                send(view[:size], target)


def connected(phones: list[tuple[Address, Address]], orders: Connection, profile: bool) -> None:
    epoll, ways = select.epoll(), {}
    pairs = [(open_port(RELAY), open_port(RELAY)) for _ in phones]
    for (a, b), (phone_a, phone_b) in zip(pairs, phones, strict=True):
        a.connect(phone_a)
        b.connect(phone_b)
        ways[a.fileno()] = (a.recv_into, b.send)
        ways[b.fileno()] = (b.recv_into, a.send)
        epoll.register(a, select.EPOLLIN)
        epoll.register(b, select.EPOLLIN)
    orders.send([(a.getsockname(), b.getsockname()) for a, b in pairs])
    buffer = bytearray(65535)
    view = memoryview(buffer)
    meter = Meter(orders)
    while meter.obey():
        deadline = time.monotonic() + 0.1
        while time.monotonic() < deadline:
            for descriptor, _ in epoll.poll(0.1, 512):
                receive, send = ways[descriptor]
                send(view[: receive(buffer)])


def negotiated(
    phones: list[tuple[Address, Address]],
    orders: Connection,
    reactor: object,
    encrypting: tuple[bool, bool] = (False, False),
) -> object:
    """The product's engine with a leg for each call."""
    from sbc.media.calls import MediaCalls
    from sbc.media.inline import InlineEngine
    from sbc.media.settings import MediaSettings

    settings = MediaSettings(srtp_clients="sdes" if any(encrypting) else "keep")
    engine = InlineEngine(settings, reactor, Random(1))
    calls = MediaCalls(settings, engine)
    shown = {"toward": RELAY.encode(), "back": RELAY.encode()}
    targets = []
    for number, (a, b) in enumerate(phones):
        bodies: list[bytes] = []
        calls.offer(str(number), describe(a, encrypting[0]), source=a[0], from_="a", **shown).addCallback(bodies.append)
        calls.answer(str(number), describe(b, encrypting[1]), source=b[0], from_="b").addCallback(bodies.append)
        toward_b, toward_a = (int(body.split(b"m=audio ")[1].split()[0]) for body in bodies)
        targets.append(((RELAY, toward_a), (RELAY, toward_b)))
    orders.send(targets)
    return engine


def core(phones: list[tuple[Address, Address]], orders: Connection, profile: bool) -> None:
    turn(phones, orders, profile, (False, False))


def srtp(phones: list[tuple[Address, Address]], orders: Connection, profile: bool) -> None:
    turn(phones, orders, profile, ENCRYPTING["srtp"])


def rekey(phones: list[tuple[Address, Address]], orders: Connection, profile: bool) -> None:
    turn(phones, orders, profile, ENCRYPTING["rekey"])


def turn(
    phones: list[tuple[Address, Address]], orders: Connection, profile: bool, encrypting: tuple[bool, bool]
) -> None:
    from twisted.internet.task import Clock

    forwarder = negotiated(phones, orders, Clock(), encrypting).forwarder  # type: ignore[attr-defined]
    meter, profiler = Meter(orders), cProfile.Profile()
    while meter.obey():
        deadline = time.monotonic() + 0.1
        if profile:
            profiler.enable()
        while time.monotonic() < deadline:
            forwarder.turn(0.1)
        profiler.disable()
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(12)


def in_reactor(phones: list[tuple[Address, Address]], orders: Connection, profile: bool) -> None:
    from twisted.internet import reactor, task

    engine = negotiated(phones, orders, reactor)
    meter = Meter(orders)
    engine.start()  # type: ignore[attr-defined]
    obeying = task.LoopingCall(lambda: meter.obey() or reactor.stop())  # type: ignore[attr-defined]
    obeying.start(0.1)
    reactor.run()  # type: ignore[attr-defined]


def protocol(phones: list[tuple[Address, Address]], orders: Connection, profile: bool) -> None:
    from twisted.internet import reactor, task
    from twisted.internet.protocol import DatagramProtocol

    class Port(DatagramProtocol):
        peer: Port
        target: Address

        def datagramReceived(self, datagram: bytes, addr: Address) -> None:
            self.peer.transport.write(datagram, self.peer.target)  # type: ignore[union-attr]

    targets = []
    for phone_a, phone_b in phones:
        a, b = Port(), Port()
        a.peer, b.peer, a.target, b.target = b, a, phone_a, phone_b
        opened = [reactor.listenUDP(0, port, RELAY) for port in (a, b)]  # type: ignore[attr-defined]
        targets.append(tuple((RELAY, each.getHost().port) for each in opened))
    orders.send(targets)
    meter = Meter(orders)
    task.LoopingCall(lambda: meter.obey() or reactor.stop()).start(0.1)  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


RELAYS = {
    "bare": bare,
    "connected": connected,
    "core": core,
    "worker": worker,
    "rtpengine": rtpengine,
    "reactor": in_reactor,
    "srtp": srtp,
    "rekey": rekey,
    "protocol": protocol,
}


def measure(kind: str, calls: int, seconds: float, profile: bool) -> tuple[float, float, float]:
    """Packets per CPU-second, packets per second, and the share of the packets sent that arrived."""
    spawn = multiprocessing.get_context("spawn")
    generator, generator_end = spawn.Pipe()
    relay, relay_end = spawn.Pipe()
    feeding = spawn.Process(
        target=generate, args=(calls, generator_end, ENCRYPTING.get(kind, (False, False))), daemon=True
    )
    feeding.start()
    phones = generator.recv()
    relaying = spawn.Process(target=RELAYS[kind], args=(phones, relay_end, profile))
    relaying.start()
    generator.send(relay.recv())
    time.sleep(WARM_UP)
    _, before, at, cpu = count(generator, relay)
    time.sleep(seconds)
    _, after, at_after, cpu_after = count(generator, relay)
    generator.send("end")
    sent, received, _ = generator.recv()
    relay.send("end")
    relaying.join()
    feeding.join()
    relayed = after - before
    return relayed / (cpu_after - cpu), relayed / (at_after - at), received / sent


def count(generator: Connection, relay: Connection) -> tuple[int, int, float, float]:
    """Packets sent and received so far, the time, the relay's CPU seconds."""
    generator.send("count")
    relay.send("count")
    return (*generator.recv(), relay.recv())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", nargs="*", metavar="WHAT", help=", ".join(RELAYS))
    options.add_argument("--calls", type=int, default=200)
    options.add_argument("--seconds", type=float, default=5.0)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--profile", action="store_true")
    asked = options.parse_args()
    kinds = asked.what or list(RELAYS)
    if unknown := set(kinds) - set(RELAYS):
        options.error(f"unknown: {', '.join(unknown)}")
    print(f"{asked.calls} calls, load average {os.getloadavg()[0]:.1f}")
    figures: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    for _ in range(asked.rounds):
        for kind in kinds:
            figures[kind].append(measure(kind, asked.calls, asked.seconds, asked.profile))
    for kind, rounds in figures.items():
        per_cpu = [each[0] for each in rounds]
        print(
            f"{kind:9} {statistics.median(per_cpu):9,.0f} packets per CPU-second "
            f"({min(per_cpu):,.0f}-{max(per_cpu):,.0f}), "
            f"{statistics.median(each[1] for each in rounds):7,.0f} a second, "
            f"{statistics.median(each[2] for each in rounds):.2%} arrived"
        )


if __name__ == "__main__":
    main()
