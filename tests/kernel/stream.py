"""Two phones and the relay's ports between them."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence

from sbc.media.kernel.offload import KernelOffload
from sbc.media.offload import Flow
from sbc.media.rtp import HEADER
from tests.kernel.wires import PHONE, RELAY, Wires
from tests.peers.program import PATIENCE


def rtp(sequence: int, stamp: int | None = None, *, kind: int = 0, ssrc: int = 7, size: int = 160) -> bytes:
    """A packet; G.711 unless told otherwise."""
    stamp = sequence * 160 if stamp is None else stamp
    return HEADER.pack(0x80, kind, sequence & 0xFFFF, stamp & 0xFFFFFFFF, ssrc) + b"\xff" * size


class Stream:
    """Phone `a` and phone `b`, and the relay's sockets facing them, which hear what the kernel leaves to them."""

    def __init__(self, wires: Wires, family: int = 4, *, number: int = 0, rates: dict[int, int] | None = None) -> None:
        self.phones = {side: wires.socket(side, PHONE[side][family], 5004 + 2 * number) for side in ("a", "b")}
        self.ports = {
            side: wires.socket("r", RELAY[side][family], 20_000 + 4 * number + 2 * (side == "b")) for side in ("a", "b")
        }
        self.flows = {side: self._flow(side, "b" if side == "a" else "a", rates or {}) for side in ("a", "b")}
        self._sequence = 0

    def _flow(self, side: str, other: str, rates: dict[int, int]) -> Flow:
        return Flow(
            local=self.near(side),
            source=self.phones[side].getsockname()[:2],
            sender=self.near(other),
            destination=self.phones[other].getsockname()[:2],
            dscp=46,
            rates=rates,
        )

    def near(self, side: str) -> tuple[str, int]:
        """The relay's port that this phone sends to."""
        host, port = self.ports[side].getsockname()[:2]
        return host, port

    def pin(self, offload: KernelOffload) -> None:
        """Both ways."""
        for flow in self.flows.values():
            assert offload.pin(flow)

    def say(self, side: str, packet: bytes | None = None) -> bytes:
        """A phone sends a packet to the relay, the next one of a stream unless told otherwise."""
        self._sequence += 1
        packet = rtp(self._sequence) if packet is None else packet
        self.phones[side].sendto(packet, self.near(side))
        return packet

    def crosses(self, side: str) -> bool:
        """Whether a packet of this phone is forwarded by the kernel; else it must come to the relay's socket."""
        packet = self.say(side)
        other = self.phones["b" if side == "a" else "a"]
        where = arrives(packet, [other, self.ports[side]])
        assert where is not None, "a packet was lost"
        return where is other

    def close(self) -> None:
        for sock in (*self.phones.values(), *self.ports.values()):
            sock.close()


#: Makes streams: `family`, and the arguments of `Stream`.
Streams = Callable[..., Stream]


def arrives(packet: bytes, sockets: Sequence[socket.socket], seconds: float = PATIENCE) -> socket.socket | None:
    """At which of the sockets this packet arrives first; None: at none in this time."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for sock in select.select(sockets, [], [], left)[0]:
            if sock.recv(65535) == packet:
                return sock
    return None
