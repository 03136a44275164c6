"""When the kernel saw packets leave for a port: the times of a push on the wire, whatever its receiver does then."""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Final

IPV4: Final = 0x0800
BUFFER: Final = 32 * 1024 * 1024  # bytes: nobody reads before the measurement is over
SO_ATTACH_FILTER: Final = 26
SO_RCVBUFFORCE: Final = 33
SO_TIMESTAMPNS: Final = 35


def allowed() -> bool:
    """Whether packets may be seen here (CAP_NET_RAW)."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True


class Tap:
    """The TCP packets with content that go to `port` on the loopback interface, from now on."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(IPV4))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind(("lo", IPV4))
        self._choose(port)
        self._socket.setblocking(False)

    def _choose(self, port: int) -> None:
        """A filter of the kernel (classic BPF): IPv4, TCP, to that port."""
        steps = [
            (0x30, 0, 0, 9),  # ldb: the protocol
            (0x15, 0, 4, socket.IPPROTO_TCP),
            (0xB1, 0, 0, 0),  # ldx: the length of the IP header
            (0x48, 0, 0, 2),  # ldh: the destination port behind it
            (0x15, 0, 1, port),
            (0x06, 0, 0, 128),  # the first bytes are enough
            (0x06, 0, 0, 0),
        ]
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
        header = struct.pack("HP", len(steps), ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)

    def times(self) -> list[float]:
        """When each packet with content was sent, as `time.time()` says it; in order. Ends the tap."""
        seen = set()
        while True:
            try:
                packet, [(_, _, stamp)], _, _ = self._socket.recvmsg(128, 64)
            except BlockingIOError:
                break
            header = (packet[0] & 15) * 4
            content = int.from_bytes(packet[2:4], "big") - header - (packet[header + 12] >> 4) * 4
            if content > 0:
                seconds, nanoseconds = struct.unpack("qq", stamp)
                seen.add((packet[header + 4 : header + 8], seconds + nanoseconds / 1e9))
        self._socket.close()
        first: dict[bytes, float] = {}
        for sequence, at in sorted(seen, key=lambda one: one[1]):
            first.setdefault(sequence, at)  # the loopback interface shows each packet leaving and coming
        return list(first.values())
