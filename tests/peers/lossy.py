"""A bad network: a UDP relay that loses, doubles and reorders datagrams, as its seed says."""

from __future__ import annotations

import heapq
import random
import selectors
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.peers.ports import free_port

Address = tuple[str, int]
DATAGRAM = 65_535


@dataclass(frozen=True, slots=True)
class Weather:
    """Chances of each datagram: ``lost``, ``doubled``, ``late`` (held back ``hold`` seconds: others overtake)."""

    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    hold: float = 0.04


class Lossy:
    """What comes to ``host:port`` goes to ``target``, and what comes back from there goes back; as a NAT does it, by a
    port of its own for each sender. Both directions have the same weather.
    """

    def __init__(
        self, folder: Path, target: str, weather: Weather, *, host: str, port: int | None = None, seed: int = 1
    ) -> None:
        del folder  # it has no files
        name, _, number = target.rpartition(":")
        self.weather, self._target = weather, (name, int(number))
        self.host, self.port = host, port or free_port()
        self.passed = self.lost = self.doubled = self.late = 0
        self._chance = random.Random(seed)
        self._front = self._open(self.port)
        self._outside: dict[Address, socket.socket] = {}
        self._senders: dict[socket.socket, Address] = {}
        self._held: list[tuple[float, int, socket.socket, bytes, Address]] = []
        self._count = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def _open(self, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind((self.host, port))
        made.setblocking(False)
        return made

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(0.01):
                self._drain(key.fileobj)  # type: ignore[arg-type]
            now = time.monotonic()
            while self._held and self._held[0][0] <= now:
                _, _, through, data, to = heapq.heappop(self._held)
                self._send(through, data, to)

    def _drain(self, arrived: socket.socket) -> None:
        while True:
            try:
                data, source = arrived.recvfrom(DATAGRAM)
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # ICMP: whoever we sent to has gone
            if arrived is not self._front:
                self._pass(self._front, data, self._senders[arrived])
                continue
            if source not in self._outside:
                made = self._outside[source] = self._open(0)
                self._senders[made] = source
                self._selector.register(made, selectors.EVENT_READ)
            self._pass(self._outside[source], data, self._target)

    def _pass(self, through: socket.socket, data: bytes, to: Address) -> None:
        chance, weather = self._chance.random, self.weather
        self.passed += 1
        if chance() < weather.lost:
            self.lost += 1
            return
        copies = 1
        if chance() < weather.doubled:
            self.doubled += 1
            copies = 2
        for _ in range(copies):
            if chance() < weather.late:
                self.late += 1
                self._count += 1
                heapq.heappush(self._held, (time.monotonic() + weather.hold, self._count, through, data, to))
            else:
                self._send(through, data, to)

    @staticmethod
    def _send(through: socket.socket, data: bytes, to: Address) -> None:
        try:
            through.sendto(data, to)
        except OSError:
            pass  # lost, as anything may be here

    def stop(self) -> None:
        self._stopping = True
        self._thread.join(2)
        self._selector.close()
        for each in (self._front, *self._senders):
            each.close()
