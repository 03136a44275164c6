"""A UDP port of the relay that faces one party."""

from __future__ import annotations

import socket

from sbc.media.addresses import Address
from sbc.media.latch import Latch
from sbc.media.pins import Pin
from sbc.media.rtcp import Reports
from sbc.media.rtp import MEDIA_BYTE, Reception, looks_like_rtcp, looks_like_rtp

#: Datagrams dropped at most when a second socket is opened.
MAX_DISCARDED = 512

#: What a port carries, which says what the first packet of a source must look like: RTP, RTCP, either of them after a
#: handshake on the same port (DTLS), or any datagrams (T.38, which has no mark of its own).
RTP, RTCP, SECURED, OTHER = "rtp", "rtcp", "secured", "other"


def plausible(carries: str, first: int, second: int, size: int) -> bool:
    """Whether a datagram is what the port carries; muxed RTCP may come first on an RTP port."""
    if carries == OTHER:
        return size > 0
    if carries == SECURED:
        return size > 0 and MEDIA_BYTE[first] == 1
    if looks_like_rtcp(first, second, size):
        return True
    return carries == RTP and looks_like_rtp(first, second, size)


class End(Latch):
    """One UDP port of the relay, facing one party; its `peer` faces the other.

    Counts: `reception` what came from the party, `foreign` dropped packets of strangers and what is no media, `unsent`
    packets that the kernel refused to send to the party, `homeless` packets of the party dropped because the other one
    has no destination (or no keys yet), `refused` packets that were not encrypted as agreed: forged, damaged, repeated.

    Once the party's source is known a second socket on the same port is connected to it: the kernel then checks and
    remembers the address, which saves a sixth of the work of a packet. Everybody else's packets still reach the first
    socket, to be judged. `direct` is the descriptor of the second one, -1 while there is none.
    """

    __slots__ = (
        "carries", "connected", "direct", "foreign", "homeless", "name", "names", "peer", "pin", "receive",
        "receive_direct", "reception", "refused", "reports", "send", "send_direct", "socket", "unsent",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, carries: str) -> None:
        super().__init__()
        self.socket = sock
        self.receive = sock.recvfrom_into
        self.send = sock.sendto
        self.connected: socket.socket | None = None
        self.direct = -1
        self.receive_direct = sock.recv_into
        self.send_direct = sock.send
        self.carries = carries
        self.peer = self
        self.reception = Reception()
        self.foreign = 0
        self.homeless = 0
        self.refused = 0
        self.unsent = 0
        #: What this party reports of the packets it gets.
        self.reports = Reports()
        #: What the kernel forwards of this party's packets, see `pins`.
        self.pin: Pin | None = None
        host, port = sock.getsockname()[:2]
        #: Where other ports of this process reach this one.
        self.name: Address = (LOOPBACK.get(host, host), port)
        #: All names under which the forwarder knows it.
        self.names: tuple[Address, ...] = ()

    @property
    def port(self) -> int:
        """The local port."""
        return self.name[1]

    @property
    def streams(self) -> bool:
        """Whether RTP is among what the port carries, clear or encrypted."""
        return self.carries in (RTP, SECURED)

    def connect(self) -> int:
        """Open the second socket, connected to the latched source; returns its descriptor, -1 when that fails."""
        try:
            twin = socket.socket(self.socket.family, socket.SOCK_DGRAM)
        except OSError:
            return -1
        try:
            twin.setblocking(False)
            for level, option in _COPIED[self.socket.family]:
                twin.setsockopt(level, option, self.socket.getsockopt(level, option))
            self._share(twin)
            twin.connect(self.source or ())
            self._discard(twin)
        except OSError:
            twin.close()
            return -1
        self.connected, self.direct = twin, twin.fileno()
        self.receive_direct, self.send_direct = twin.recv_into, twin.send
        return self.direct

    def disconnect(self) -> None:
        """Close the second socket."""
        if self.connected is not None:
            self.connected.close()
            self.connected, self.direct = None, -1
            self.receive_direct, self.send_direct = self.socket.recv_into, self.socket.send

    def _share(self, twin: socket.socket) -> None:
        """Bind the second socket where the first one is; permitted for that moment only, so nobody else can join."""
        try:
            for sock in (self.socket, twin):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            twin.bind(self.socket.getsockname())
        finally:
            for sock in (self.socket, twin):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def _discard(self, twin: socket.socket) -> None:
        """Drop what came from anywhere before the socket was connected."""
        try:
            for _ in range(MAX_DISCARDED):
                twin.recv(1)
        except BlockingIOError:
            pass


#: What the second socket takes over from the first.
_COPIED = {
    socket.AF_INET: ((socket.IPPROTO_IP, socket.IP_TOS),),
    socket.AF_INET6: ((socket.IPPROTO_IPV6, socket.IPV6_V6ONLY), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)),
}
#: Where a port on all addresses is reached from here.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound


def join(a: End, b: End) -> None:
    """Make two ends each other's peer."""
    a.peer, b.peer = b, a
