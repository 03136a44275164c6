"""What arrives of an RTP stream: packets, losses, jitter (RFC 3550 sections 6.4.1, A.1, A.3 and A.8).  [pure]"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct

#: The fixed RTP header: flags, marker and payload type, sequence number, timestamp, SSRC.
HEADER = Struct("!BBHII")
#: Bytes of it; shorter datagrams are not RTP.
HEADER_SIZE = HEADER.size
#: A jump of this many sequence numbers is a new beginning, not a loss (RFC 3550 A.1 MAX_DROPOUT).
MAX_DROPOUT = 3000
#: A packet up to this many numbers back is late, not a new beginning (RFC 3550 A.1 MAX_MISORDER).
MAX_MISORDER = 100
#: Seconds: a larger step between arrival and timestamp is a silence or a wrap, not jitter.
MAX_TRANSIT_STEP = 2.0

#: By first byte: what shares a port with RTP (RFC 7983: STUN, ZRTP, DTLS, RTP and RTCP). Other bytes, such as the
#: letters and line ends that SIP begins with, would make the relay a tunnel to whoever trusts its address.
MEDIA_BYTE = bytes(first < 4 or 16 <= first < 64 or 128 <= first < 192 for first in range(256))


def looks_like_rtp(first: int, second: int, size: int) -> bool:
    """Whether a datagram with these first two bytes is RTP, clear or encrypted, and not RTCP (RFC 5761 section 4)."""
    return size >= HEADER_SIZE and first >> 6 == 2 and not 192 <= second <= 223


def looks_like_rtcp(first: int, second: int, size: int) -> bool:
    """Whether a datagram with these first two bytes is RTCP, clear or encrypted."""
    return size >= 8 and first >> 6 == 2 and 192 <= second <= 223


class Reception:
    """One direction of a stream as received. `packets` and `bytes` (UDP payload) count everything that was believed,
    RTCP on the same port included; `lost` and `jitter` (seconds) only RTP.

    The forwarding loop inlines the common case (the expected packet of the known source) and calls `note` for the rest.
    """

    __slots__ = (
        "bytes",
        "clocks",
        "expected",
        "jitter_units",
        "kind",
        "largest_step",
        "lost",
        "packets",
        "rate",
        "ssrc",
        "transit",
    )

    def __init__(self) -> None:
        self.packets = 0
        self.bytes = 0
        self.lost = 0
        self.ssrc = -1
        self.expected = -1
        self.kind = -1
        self.rate = 8000.0
        self.largest_step = MAX_TRANSIT_STEP * self.rate
        self.transit = 0.0
        self.jitter_units = 0.0
        self.clocks: Mapping[int, int] = {}

    @property
    def jitter(self) -> float:
        """Interarrival jitter in seconds."""
        return self.jitter_units / self.rate

    def describe(self, clocks: Mapping[int, int]) -> None:
        """The clock rates in Hz by payload type that were negotiated."""
        self.clocks = clocks
        self.kind = -1

    def interrupted(self) -> None:
        """Packets were received elsewhere: what follows is a new beginning, not a gap."""
        self.ssrc = self.expected = self.kind = -1

    def take(self, packet: bytes, size: int, now: float) -> None:
        """A clear packet with at least a header, which came as `size` bytes; what the loop does, for other callers."""
        self.packets += 1
        self.bytes += size
        if 192 <= packet[1] <= 223:
            return
        _, second, sequence, stamp, ssrc = HEADER.unpack_from(packet)
        if sequence != self.expected or ssrc != self.ssrc or second != self.kind:
            self.note(second, sequence, stamp, ssrc, now)
            return
        self.expected = (sequence + 1) & 0xFFFF
        transit = now * self.rate - stamp
        step = abs(transit - self.transit)
        self.transit = transit
        if step < self.largest_step:
            self.jitter_units += (step - self.jitter_units) * 0.0625

    def note(self, second: int, sequence: int, stamp: int, ssrc: int, now: float) -> None:
        """An RTP packet that is not simply the next one: its fixed header (`second`: marker and payload type)."""
        if ssrc != self.ssrc:
            self.ssrc, self.kind = ssrc, -1
        else:
            gap = (sequence - self.expected) & 0xFFFF
            if gap < MAX_DROPOUT:
                self.lost += gap
            elif gap >= 0x10000 - MAX_MISORDER:
                self.lost = max(0, self.lost - 1)
                return
        self.expected = (sequence + 1) & 0xFFFF
        if second != self.kind and second < 0x80:
            self.kind = second
            rate = float(self.clocks.get(second, 8000))
            self.jitter_units *= rate / self.rate
            self.rate = rate
            self.largest_step = MAX_TRANSIT_STEP * rate
            self.transit = now * rate - stamp
