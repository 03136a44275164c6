"""SRTP and SRTCP of one direction (RFC 3711, RFC 7714), done by libsrtp.

With a page of a process before (see `indexes.py`) they go on where that one was: nothing that it dealt with is opened
or sealed again. libsrtp cannot be told a roll-over counter, so it is led there, when a source is first heard of, by
packets that are made for that and shown to nobody: two for each turn of the sequence numbers.
"""

from __future__ import annotations

from struct import Struct

import pylibsrtp

from sbc.media.indexes import MAX_SOURCES, Page, estimate
from sbc.media.rtp import HEADER
from sbc.media.sdes import CM_32, CM_80, GCM_128, GCM_256, Suite

#: What libsrtp says of a packet that is forged, damaged, repeated, late or too long.
Refused = (pylibsrtp.Error, ValueError)

#: How far libsrtp follows at once: less than half of the sequence numbers.
_STRIDE = 0x7FFF
#: SRTCP indexes that are used up while one report waits, which then is not sent: some 10 ms.
MAX_CATCH_UP = 4096

_PROFILES = {
    GCM_256: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    GCM_128: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    CM_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    CM_32: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
#: Where the index of an SRTCP packet is: before the tag, which has 80 bits here in both suites, or at the end.
_INDEX = {GCM_256: slice(-4, None), GCM_128: slice(-4, None), CM_80: slice(-14, -10), CM_32: slice(-14, -10)}
#: Of an RTP packet: sequence number, source.
_HEAD = Struct("!2xH4x4s")
#: The start of a report without content.
_REPORT = b"\x80\xc9\x00\x01"


class _Cipher:
    """`suite` and `key` (master key and salt) tell whether another one would be the same; `page` keeps count of its
    sources."""

    __slots__ = (
        "_cells", "_due", "_floors", "_index", "_last", "_led", "_place", "_process", "_session", "key", "page", "suite"
    )  # fmt: skip

    def __init__(self, suite: Suite, key: bytes, kind: int, page: Page | None) -> None:
        self.suite, self.key = suite, key
        self.page = page = Page() if page is None else page
        self._index = _INDEX[suite]
        self._session = session = self._begin(kind)
        self._process = session.protect if kind == pylibsrtp.Policy.SSRC_ANY_OUTBOUND else session.unprotect
        self._cells = page.cells
        #: Of the last packet: its source, the index after it, and where in the page that is.
        self._last, self._due, self._place = b"", 0, 0
        #: What a process before dealt with, by source: all RTP below the first index, all SRTCP up to the second.
        self._floors = {source: (page.due(source), page.report(source)) for source in page}
        self._led: set[bytes] = set()

    def same(self, suite: Suite, key: bytes) -> bool:
        """Whether it was made of these."""
        return self.suite == suite and self.key == key

    def _begin(self, kind: int) -> pylibsrtp.Session:
        return pylibsrtp.Session(pylibsrtp.Policy(key=self.key, ssrc_type=kind, srtp_profile=_PROFILES[self.suite]))

    def _admit(self, source: bytes) -> None:
        if source not in self.page and len(self.page) >= MAX_SOURCES:
            raise ValueError("too many sources")

    def rtp(self, packet: bytes) -> bytes:
        """An RTP packet of at least 12 bytes, made SRTP or the other way round."""
        sequence, source = _HEAD.unpack_from(packet)
        if source != self._last or sequence != self._due & 0xFFFF:
            return self._other(packet, source, sequence)
        done: bytes = self._process(packet)
        self._due = due = self._due + 1
        self._cells[self._place] = due
        return done

    def _other(self, packet: bytes, source: bytes, sequence: int) -> bytes:
        """An RTP packet that is not simply the next one. Raises when it may have been dealt with before."""
        self._admit(source)
        due, floor = self.page.due(source), self._floors[source][0] if source in self._floors else 0
        if floor and source not in self._led:
            self._led.add(source)
            self._lead(source, [index & 0xFFFF for index in _way(floor - 1)])
        index = estimate(due, sequence)
        if index < floor:
            raise ValueError("of the time before")
        done: bytes = self._process(packet)
        self._last, self._place = source, self.page.reach(source, index)
        self._due = self._cells[self._place]
        return done

    def _lead(self, source: bytes, sequences: list[int]) -> None:
        """Make libsrtp believe that packets of these sequence numbers were there."""
        raise NotImplementedError

    def _told(self, packet: bytes) -> int:
        """The index that an SRTCP packet bears."""
        return int.from_bytes(packet[self._index], "big") & 0x7FFFFFFF


class Opener(_Cipher):
    """Verifies and decrypts what a party sent. Each method raises one of `Refused`."""

    __slots__ = ()

    def __init__(self, suite: Suite, key: bytes, page: Page | None = None) -> None:
        super().__init__(suite, key, pylibsrtp.Policy.SSRC_ANY_INBOUND, page)

    def rtcp(self, packet: bytes) -> bytes:
        """The RTCP packet in an SRTCP packet of at least 8 bytes."""
        source = packet[4:8]
        self._admit(source)
        opened: bytes = self._session.unprotect_rtcp(packet)
        index = self._told(packet)
        if source in self._floors and index <= self._floors[source][1]:
            raise ValueError("of the time before")
        self.page.reach_report(source, index)
        return opened

    def _lead(self, source: bytes, sequences: list[int]) -> None:
        sender = self._begin(pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        for sequence in sequences:
            self._session.unprotect(sender.protect(_empty(source, sequence)))


class Sealer(_Cipher):
    """Encrypts and signs what a party is sent. Each method raises one of `Refused`: no index is used twice, for that
    would give away content."""

    __slots__ = ("_reports",)

    def __init__(self, suite: Suite, key: bytes, page: Page | None = None) -> None:
        super().__init__(suite, key, pylibsrtp.Policy.SSRC_ANY_OUTBOUND, page)
        self._reports: dict[bytes, int] = {}

    def rtcp(self, packet: bytes) -> bytes:
        """The SRTCP packet for an RTCP packet."""
        source = packet[4:8]
        self._admit(source)
        if source in self._floors and self._reports.get(source, 0) < self._floors[source][1]:
            self._catch_up(source, self._floors[source][1])
        sealed: bytes = self._session.protect_rtcp(packet)
        self.page.reach_report(source, self._told(sealed))
        return sealed

    def _lead(self, source: bytes, sequences: list[int]) -> None:
        for sequence in sequences:
            self._session.protect(_empty(source, sequence))

    def _catch_up(self, source: bytes, floor: int) -> None:
        """Use up indexes. Raises when there are many: with the next report it goes on."""
        done = self._reports.get(source, 0)
        for _ in range(min(MAX_CATCH_UP, floor - done)):
            done = self._told(self._session.protect_rtcp(_REPORT + source))
        self._reports[source] = done
        if done < floor:
            raise ValueError("not there yet")


def _way(index: int) -> list[int]:
    """Indexes by which libsrtp follows from the beginning to this one."""
    way = [index]
    while way[-1] > 0xFFFF:
        way.append(way[-1] - _STRIDE)
    return way[::-1]


def _empty(source: bytes, sequence: int) -> bytes:
    """An RTP packet without content."""
    return HEADER.pack(0x80, 0, sequence, 0, int.from_bytes(source, "big"))
