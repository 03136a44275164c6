"""What receivers report of a stream (RFC 3550 sections 6.4.1 and 6.4.2).  [pure]"""

from __future__ import annotations

from struct import Struct

_HEADER = Struct("!BBH")
#: Source, fraction lost and cumulative losses, highest sequence number, jitter, last report, delay since it.
_BLOCK = Struct("!IIIIII")
#: By packet type, the bytes before the report blocks: sender report, receiver report.
_BEFORE = {200: 28, 201: 8}


class Reports:
    """The last report of one party about what it receives: `lost` packets in all, `jitter_units` in units of the
    timestamp; None before the first. `readable`: they are not encrypted."""

    __slots__ = ("jitter_units", "lost", "readable")

    def __init__(self) -> None:
        self.lost: int | None = None
        self.jitter_units = 0
        self.readable = True

    def note(self, packet: bytes) -> None:
        """A compound packet. What is malformed in it is passed over."""
        start = 0
        while self.readable and start + _HEADER.size <= len(packet):
            flags, kind, words = _HEADER.unpack_from(packet, start)
            end = start + 4 * (words + 1)
            if flags >> 6 != 2 or end > len(packet):
                return
            if kind in _BEFORE:
                self._read(packet, start + _BEFORE[kind], end, flags & 0x1F)
            start = end

    def _read(self, packet: bytes, start: int, end: int, count: int) -> None:
        """The first block: a party receives one stream of the other's on a line."""
        if count and start + _BLOCK.size <= end:
            _, lost, _, jitter, _, _ = _BLOCK.unpack_from(packet, start)
            lost &= 0xFFFFFF
            self.lost = max(0, lost - 0x1000000 if lost & 0x800000 else lost)
            self.jitter_units = jitter
