"""What a packet costs that the kernel forwards, against one that the relay does: `python -m bench.kernel [options]`.

Two phones and the relay are three network namespaces on virtual wires. Each call is a two-way G.711 stream between
ports of its own at the relay. A round is one packet of every call in each direction; the next one begins when all have
arrived, so that nothing is lost and other work on the machine only makes it slower.

CPU is that of everybody who touches a packet: the phones, the relay, and the kernel's work on its behalf, which on
virtual wires is done in the name of whoever sends (and by ksoftirqd, counted too). What the same packets cost between
phones on one wire is subtracted: left is what the relay costs, in user space or in the kernel.

Then the calls are paced as phones do, 50 packets a second each way, and losses are counted; and calls with addresses of
their own are pinned and unpinned.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.run import TICK
from tests.kernel.wires import PHONE, RELAY, Wires, enter, ip

#: Seconds between two packets of a stream.
INTERVAL = 0.02
#: Packets sent at once when they are paced.
SLICE = 100
#: The phones' addresses on a wire of their own.
DIRECT = {"a": "10.71.9.2", "b": "10.71.9.3"}
PORT = 5004
_RCVBUFFORCE = 33

Address = tuple[str, int]
_libc = ctypes.CDLL(None, use_errno=True)


class Part(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("parts", ctypes.POINTER(Part)),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("gap", ctypes.c_int),
        ("size", ctypes.c_uint),
    ]


class Phone:
    """One party of all calls: one socket, which sends to a port of the relay for each call."""

    def __init__(self, sock: socket.socket, targets: list[Address]) -> None:
        sock.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 64 << 20)
        sock.setblocking(False)
        self._sock = sock
        self._packet = ctypes.create_string_buffer(bytes(172), 172)
        self._part = Part(ctypes.addressof(self._packet), 172)
        self._names = b"".join(
            socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8)
            for host, port in targets
        )
        self._space = ctypes.create_string_buffer(self._names, len(self._names))
        self.calls = len(targets)
        self._out = self._vector(self.calls, ctypes.addressof(self._space))
        self._sink = ctypes.create_string_buffer(2048)
        self._sunk = Part(ctypes.addressof(self._sink), 2048)
        self._in = (Header * 1024)(*(Header(parts=ctypes.pointer(self._sunk), count=1) for _ in range(1024)))
        self.sent = self.received = 0
        self._round = 0

    def _vector(self, count: int, names: int) -> Any:
        part = ctypes.pointer(self._part)
        return (Header * count)(*(Header(names + 16 * each, 16, part, 1) for each in range(count)))

    def begin(self) -> None:
        """The next packet of every call."""
        self._round += 1
        head = (
            b"\x80\x00" + (self._round & 0xFFFF).to_bytes(2, "big") + (self._round * 160).to_bytes(4, "big") + b"ssrc"
        )
        ctypes.memmove(self._packet, head, len(head))

    def say(self, first: int, count: int) -> None:
        """That packet to some of the calls."""
        size, done = ctypes.sizeof(Header), 0
        while done < count:
            start = ctypes.addressof(self._out) + (first + done) * size
            sent = _libc.sendmmsg(self._sock.fileno(), ctypes.c_void_p(start), count - done, 0)
            if sent < 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            done += sent
        self.sent += count

    def hear(self) -> None:
        """Read all that is there."""
        while (count := _libc.recvmmsg(self._sock.fileno(), self._in, 1024, socket.MSG_DONTWAIT, None)) > 0:
            self.received += count


def relay(namespace: str, calls: int, in_kernel: bool, orders: Connection) -> None:
    """The product's relay in a loop of its own. It answers `count` with pinned ways and CPU seconds."""
    from random import Random

    from twisted.internet.task import Clock

    from sbc.media import kernel
    from sbc.media.calls import MediaCalls
    from sbc.media.inline import InlineEngine
    from sbc.media.settings import MediaSettings

    enter(namespace)
    settings = MediaSettings()
    engine = InlineEngine(settings, Clock(), Random(1))
    forwarder, media = engine.forwarder, MediaCalls(settings, engine)
    with tempfile.TemporaryDirectory() as state:
        if in_kernel:
            forwarder.pins.offload = kernel.load(state)
        targets = []
        for number in range(calls):
            shown = {"toward": RELAY["b"][4].encode(), "back": RELAY["a"][4].encode()}
            bodies: list[bytes] = []
            described = [_describe(PHONE[side][4], PORT) for side in ("a", "b")]
            media.offer(str(number), described[0], source=PHONE["a"][4], from_="a", **shown).addCallback(bodies.append)
            media.answer(str(number), described[1], source=PHONE["b"][4], from_="b").addCallback(bodies.append)
            toward_b, toward_a = (int(body.split(b"m=audio ")[1].split()[0]) for body in bodies)
            targets.append(((RELAY["a"][4], toward_a), (RELAY["b"][4], toward_b)))
        orders.send(targets)
        swept = 0.0
        while True:
            forwarder.turn(0.01)
            if time.monotonic() - swept > 2.0:
                swept = time.monotonic()
                engine.relay.sweep()
            if orders.poll():
                if orders.recv() == "end":
                    break
                orders.send((len(forwarder.pins), time.process_time()))
        engine.stop()
        if forwarder.pins.offload is not None:
            forwarder.pins.offload.close()


def pins(namespace: str, calls: int, orders: Connection) -> None:
    """Microseconds of CPU to pin both ways of a call, and to unpin them, each call having addresses of its own."""
    from sbc.media import kernel
    from sbc.media.offload import Flow

    enter(namespace)
    with tempfile.TemporaryDirectory() as state:
        offload = kernel.load(state)
        flows = []
        for number in range(calls):
            far = {side: (f"198.{18 + (side == 'b')}.{number >> 8}.{number & 255}", 40_000) for side in ("a", "b")}
            near = {side: (RELAY[side][4], 20_000 + 4 * number + 2 * (side == "b")) for side in ("a", "b")}
            flows.append(Flow(near["a"], far["a"], near["b"], far["b"], 46, {0: 8000, 101: 8000}))
            flows.append(Flow(near["b"], far["b"], near["a"], far["a"], 46, {0: 8000, 101: 8000}))
        times = [time.process_time()]
        for work in (offload.pin, offload.unpin):
            for flow in flows:
                work(flow)
            times.append(time.process_time())
        for flow in flows:
            offload.pin(flow)
        before = time.process_time()
        assert len(offload.counts()) == 2 * calls
        counting = time.process_time() - before
        offload.close()
        orders.send([1e6 * each / calls for each in (times[1] - times[0], times[2] - times[1], counting)])


def _describe(host: str, port: int) -> bytes:
    lines = ("v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", f"m=audio {port} RTP/AVP 0", "")
    return "\r\n".join(lines).encode()


def soft_interrupts() -> float:
    """CPU seconds of the kernel's threads for work that nobody's name is on."""
    ticks = 0
    for entry in os.listdir("/proc"):
        try:
            name, _, rest = Path(f"/proc/{entry}/stat").read_text().rpartition(")")
        except (OSError, UnicodeDecodeError):
            continue
        if "(ksoftirqd/" in name:
            ticks += int(rest.split()[12])
    return ticks / TICK


class Run:
    """Phones, and the relay between them if there is one. `way`: `direct`, `python` or `kernel`."""

    def __init__(self, wires: Wires, way: str, calls: int) -> None:
        self.calls = calls
        self._orders: Connection | None = None
        self._process: Any = None
        hosts = DIRECT if way == "direct" else {side: PHONE[side][4] for side in ("a", "b")}
        self.sockets = {side: wires.socket(side, hosts[side], PORT) for side in ("a", "b")}
        if way == "direct":
            targets = [((hosts["b"], PORT), (hosts["a"], PORT))] * calls
        else:
            spawn = multiprocessing.get_context("spawn")
            self._orders, theirs = spawn.Pipe()
            arguments = (wires.names["r"], calls, way == "kernel", theirs)
            self._process = spawn.Process(target=relay, args=arguments, daemon=True)
            self._process.start()
            targets = self._orders.recv()
        self.phones = [Phone(self.sockets[side], [pair[place] for pair in targets]) for place, side in enumerate("ab")]
        self.round()
        self.round()
        if way == "kernel":
            assert self.relay()[0] == 2 * calls, "not everything is pinned"

    def relay(self) -> tuple[int, float]:
        """Pinned ways, CPU seconds of the relay."""
        if self._orders is None:
            return 0, 0.0
        self._orders.send("count")
        answer: tuple[int, float] = self._orders.recv()
        return answer

    def round(self, patience: float = 5.0) -> None:
        """One packet of each call both ways, and wait for them."""
        for phone in self.phones:
            phone.begin()
            for first in range(0, self.calls, SLICE):
                phone.say(first, min(SLICE, self.calls - first))
        end = time.monotonic() + patience
        while any(phone.received < other.sent for phone, other in self._ways()) and time.monotonic() < end:
            for phone in self.phones:
                phone.hear()
            time.sleep(0.001)

    def paced(self, seconds: float) -> None:
        """As phones do: each call's packets every 20 ms, the calls one after the other."""
        began, rounds = time.monotonic(), 0
        while rounds * INTERVAL < seconds:
            for phone in self.phones:
                phone.begin()
            for first in range(0, self.calls, SLICE):
                for phone in self.phones:
                    phone.say(first, min(SLICE, self.calls - first))
                    phone.hear()
                ahead = began + INTERVAL * (rounds + first / self.calls) - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)
            rounds += 1
        time.sleep(0.2)
        for phone in self.phones:
            phone.hear()

    def _ways(self) -> Iterator[tuple[Phone, Phone]]:
        yield self.phones[0], self.phones[1]
        yield self.phones[1], self.phones[0]

    def lost(self) -> int:
        """Packets sent that did not arrive."""
        return sum(other.sent - phone.received for phone, other in self._ways())

    def cost(self, work: Callable[[], None]) -> tuple[float, float]:
        """Microseconds of everybody's CPU for a packet, and of the relay's process."""
        sent, relayed = sum(phone.sent for phone in self.phones), self.relay()[1]
        before = time.process_time() + soft_interrupts()
        work()
        spent = time.process_time() + soft_interrupts() - before
        own = self.relay()[1] - relayed
        packets = sum(phone.sent for phone in self.phones) - sent
        return 1e6 * (spent + own) / packets, 1e6 * own / packets

    def close(self) -> None:
        if self._orders is not None:
            self._orders.send("end")
            self._process.join()
        for sock in self.sockets.values():
            sock.close()


def measure(wires: Wires, calls: int, rounds: int, repeats: int, seconds: float) -> None:
    figures: dict[str, list[tuple[float, float]]] = {"direct": [], "python": [], "kernel": []}
    for _ in range(repeats):
        for way, found in figures.items():
            run = Run(wires, way, calls)
            found.append(run.cost(lambda run=run: [run.round() for _ in range(rounds)]))  # type: ignore[misc]
            lost = run.lost()
            if lost:
                print(f"{way}: {lost} packets lost")
            run.close()
    base = statistics.median(each[0] for each in figures["direct"])
    print(f"{calls} calls; a packet from phone to phone: {base:.2f} us of CPU on one wire")
    added = {}
    for way in ("python", "kernel"):
        costs = sorted(each[0] - base for each in figures[way])
        own = statistics.median(each[1] for each in figures[way])
        added[way] = statistics.median(costs)
        print(
            f"{way:7} {added[way]:6.2f} us more ({costs[0]:.2f} - {costs[-1]:.2f}), {own:.2f} of them in the relay's "
            f"process: {1e6 / added[way]:9,.0f} packets per CPU-second"
        )
    print(f"the kernel does {added['python'] / added['kernel']:.1f} times as much")
    run = Run(wires, "kernel", calls)
    began = run.phones[0].sent + run.phones[1].sent
    _, own = run.cost(lambda: run.paced(seconds))
    sent = run.phones[0].sent + run.phones[1].sent - began
    print(f"paced for {seconds:g} s: {sent:,} packets, {run.lost()} lost, {own:.3f} us each in the relay's process")
    run.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=100, help="packets of each call per measurement")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--seconds", type=float, default=10.0, help="of paced calls")
    asked = options.parse_args()
    if os.geteuid():
        print("left out: network namespaces need root")
        return
    print(f"load average {os.getloadavg()[0]:.1f}")
    wires = Wires()
    try:
        ip(
            "link",
            "add",
            "cable",
            "netns",
            wires.names["a"],
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            wires.names["b"],
        )
        for side in ("a", "b"):
            ip("-n", wires.names[side], "addr", "add", f"{DIRECT[side]}/24", "dev", "cable")
            ip("-n", wires.names[side], "link", "set", "cable", "up")
            net = {"a": "198.18.0.0/16", "b": "198.19.0.0/16"}[side]
            ip("-n", wires.names["r"], "route", "add", net, "via", PHONE[side][4])
        measure(wires, asked.calls, asked.rounds, asked.repeats, asked.seconds)
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=pins, args=(wires.names["r"], asked.calls, theirs), daemon=True)
        process.start()
        pin, unpin, counting = ours.recv()
        process.join()
        print(f"a call: pinned in {pin:.0f} us of CPU, unpinned in {unpin:.0f} us, counted in {counting:.1f} us")
    finally:
        wires.close()


if __name__ == "__main__":
    main()
