"""SRTP and SRTCP of one direction (RFC 3711, RFC 7714), done by libsrtp."""

from __future__ import annotations

import pylibsrtp

from sbc.media.sdes import CM_32, CM_80, GCM_128, GCM_256, Suite

#: Synchronisation sources of one direction: each costs a cipher context of half a KiB, and a sender may name any.
MAX_SOURCES = 64

#: What libsrtp says of a packet that is forged, damaged, repeated, late or too long.
Refused = (pylibsrtp.Error, ValueError)

_PROFILES = {
    GCM_256: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    GCM_128: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    CM_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    CM_32: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}


class _Cipher:
    """`suite` and `key` (master key and salt) tell whether another one would be the same."""

    __slots__ = ("_last", "_session", "_sources", "key", "suite")

    def __init__(self, suite: Suite, key: bytes, kind: int) -> None:
        self.suite, self.key = suite, key
        self._session = pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=_PROFILES[suite]))
        self._sources: set[bytes] = set()
        self._last = b""

    def same(self, suite: Suite, key: bytes) -> bool:
        """Whether it was made of these."""
        return self.suite == suite and self.key == key

    def _admit(self, source: bytes) -> None:
        if source not in self._sources and len(self._sources) >= MAX_SOURCES:
            raise ValueError("too many sources")

    def _note(self, source: bytes) -> None:
        self._sources.add(source)
        self._last = source


class Opener(_Cipher):
    """Verifies and decrypts what a party sent. Each method raises one of `Refused`."""

    __slots__ = ()

    def __init__(self, suite: Suite, key: bytes) -> None:
        super().__init__(suite, key, pylibsrtp.Policy.SSRC_ANY_INBOUND)

    def rtp(self, packet: bytes) -> bytes:
        """The RTP packet in an SRTP packet of at least 12 bytes."""
        source = packet[8:12]
        if source != self._last:
            self._admit(source)
        opened: bytes = self._session.unprotect(packet)
        if source != self._last:
            self._note(source)
        return opened

    def rtcp(self, packet: bytes) -> bytes:
        """The RTCP packet in an SRTCP packet of at least 8 bytes."""
        source = packet[4:8]
        self._admit(source)
        opened: bytes = self._session.unprotect_rtcp(packet)
        self._sources.add(source)
        return opened


class Sealer(_Cipher):
    """Encrypts and signs what a party is sent. Each method raises one of `Refused`: a packet is not sealed twice, for
    that would give away its content."""

    __slots__ = ()

    def __init__(self, suite: Suite, key: bytes) -> None:
        super().__init__(suite, key, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)

    def rtp(self, packet: bytes) -> bytes:
        """The SRTP packet for an RTP packet."""
        source = packet[8:12]
        if source != self._last:
            self._admit(source)
            self._note(source)
        sealed: bytes = self._session.protect(packet)
        return sealed

    def rtcp(self, packet: bytes) -> bytes:
        """The SRTCP packet for an RTCP packet."""
        source = packet[4:8]
        self._admit(source)
        self._sources.add(source)
        sealed: bytes = self._session.protect_rtcp(packet)
        return sealed
