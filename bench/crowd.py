"""Phones by the thousand: two sockets that send and receive the audio of all calls, many packets in one system call."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time

#: Bytes of an RTP packet with 20 ms of G.711.
SIZE = 172
#: Packets in one system call.
BATCH = 64
#: Seconds between two packets of a phone.
INTERVAL = 0.02
#: Bytes that a socket may hold: bursts of a thousand phones.
BUFFER = 32 << 20

Address = tuple[str, int]


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("vectors", ctypes.POINTER(_Vector)),
        ("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]  # fmt: skip


class _Message(ctypes.Structure):
    _fields_ = [("header", _Header), ("length", ctypes.c_uint32)]


_libc = ctypes.CDLL(None, use_errno=True)
_DONTWAIT = 0x40


def _open(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option + 25 if os.geteuid() == 0 else option, BUFFER)  # …FORCE is 25 higher
    sock.bind((host, 0))
    return sock


class Side:
    """All phones of one side, on one address and port."""

    def __init__(self, host: str, calls: int) -> None:
        self.socket = _open(host)
        self.sent = self.received = 0
        self._calls = calls
        self._packets = bytearray(SIZE * calls)
        self._names = ctypes.create_string_buffer(16 * calls)
        self._sending = (_Message * calls)()
        self._vectors = (_Vector * calls)()
        self._buffer = ctypes.create_string_buffer(2048 * BATCH)
        self._receiving = (_Message * BATCH)()
        self._places = (_Vector * BATCH)()
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._packets))
        for number in range(calls):
            self._vectors[number] = _Vector(base + SIZE * number, SIZE)
            self._fill(self._sending[number], self._vectors, number)
            self._sending[number].header.name = ctypes.addressof(self._names) + 16 * number
            self._sending[number].header.namelen = 16
        for number in range(BATCH):
            self._places[number] = _Vector(ctypes.addressof(self._buffer) + 2048 * number, 2048)
            self._fill(self._receiving[number], self._places, number)

    @staticmethod
    def _fill(message: _Message, vectors: object, number: int) -> None:
        message.header.vectors = ctypes.pointer(vectors[number])  # type: ignore[index]
        message.header.count = 1

    def aim(self, targets: list[Address]) -> None:
        """Where each phone sends."""
        for number, (host, port) in enumerate(targets):
            name = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
            self._names[16 * number : 16 * number + 16] = name

    def speak(self, first: int, last: int, sequence: int) -> None:
        """The phones from `first` to before `last` send their next packet."""
        pack = struct.pack_into
        for number in range(first, last):
            stamp = sequence * 160 & 0xFFFFFFFF
            pack("!BBHII", self._packets, SIZE * number, 0x80, 0, sequence & 0xFFFF, stamp, number + 1)
        while first < last:
            done = _libc.sendmmsg(
                self.socket.fileno(), ctypes.byref(self._sending, ctypes.sizeof(_Message) * first), last - first, 0
            )
            if done <= 0:
                break
            first += done
            self.sent += done

    def listen(self) -> None:
        """Count what arrived."""
        while True:
            got = _libc.recvmmsg(self.socket.fileno(), self._receiving, BATCH, _DONTWAIT, None)
            if got <= 0:
                return
            self.received += got
            if got < BATCH:
                return


class Crowd:
    """`calls` calls between the phones of two hosts."""

    def __init__(self, calls: int, hosts: tuple[str, str]) -> None:
        self.calls = calls
        self.sides = [Side(host, calls) for host in hosts]
        self._sequence = 0
        self._began = 0.0

    @property
    def addresses(self) -> tuple[Address, Address]:
        """Of all phones of either side."""
        first, second = (side.socket.getsockname() for side in self.sides)
        return first, second

    @property
    def sent(self) -> int:
        return sum(side.sent for side in self.sides)

    @property
    def received(self) -> int:
        return sum(side.received for side in self.sides)

    def turn(self) -> None:
        """One interval: each phone speaks once, spread over it as phones are."""
        if not self._began:
            self._began = time.monotonic()
        for first in range(0, self.calls, BATCH // 2):
            last = min(self.calls, first + BATCH // 2)
            for side in self.sides:
                side.speak(first, last, self._sequence)
                side.listen()
            ahead = self._began + INTERVAL * (self._sequence + last / self.calls) - time.monotonic()
            if ahead > 0.0003:
                time.sleep(ahead)
            elif ahead < -0.2:
                self._began -= ahead
        self._sequence += 1

    def listen(self) -> None:
        """Count what is still on its way."""
        for side in self.sides:
            side.listen()
