"""What a media line says about its protection: clear, SDES, DTLS-SRTP, or all of WebRTC.  [pure]"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sbc.media import sdes
from sbc.media.ice import Credentials
from sbc.media.sdes import Crypto
from sbc.media.sdp import Media, Session
from sbc.sip.errors import RemoteError

#: `plain`: RTP as it is; `sdes`, `dtls`: SRTP with keys by these means; `web`: DTLS-SRTP whose transport is ICE, as
#: browsers have it; `other`: no RTP.
Mode = Literal["plain", "sdes", "dtls", "web", "other"]

#: Bytes of a digest by hash (RFC 8122); MD5 can be forged.
_DIGESTS = {b"sha-1": 20, b"sha-256": 32, b"sha-384": 48, b"sha-512": 64}
#: Believed only of who knows nothing better: older phones.
_WEAK = b"sha-1"
_SETUPS = frozenset({b"active", b"passive", b"actpass"})


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of a certificate: hash (lower case) and digest."""

    hash: bytes
    digest: bytes

    def render(self) -> bytes:
        """The value of `a=fingerprint`."""
        return self.hash + b" " + self.digest.hex(":").upper().encode("ascii")


@dataclass(frozen=True, slots=True)
class Protection:
    """One media line of one party: `cryptos` in its order; `fingerprints` those of usable hashes; `setup` its DTLS
    role; `ice` its credentials, `lite` whether it only answers checks; `muxed`: RTCP on the RTP port is possible."""

    mode: Mode
    protocol: bytes
    cryptos: tuple[Crypto, ...] = ()
    fingerprints: frozenset[Fingerprint] = frozenset()
    setup: bytes = b""
    ice: Credentials | None = None
    lite: bool = False
    muxed: bool = False
    mid: bytes | None = None

    def demand(self) -> None:
        """Raises `RemoteError` 488 when keys cannot be agreed on with what this says."""
        if self.mode == "sdes" and not self.cryptos:
            raise RemoteError(488, b"No SRTP suite in common")
        if self.mode in ("dtls", "web") and not self.fingerprints:
            raise RemoteError(488, b"No certificate fingerprint")
        if self.mode in ("dtls", "web") and self.setup not in _SETUPS:
            raise RemoteError(488, b"No DTLS role")
        if self.mode == "web" and self.ice is None:
            raise RemoteError(488, b"No ICE password")


def read(session: Session, media: Media) -> Protection:
    """What this line says, with what the session says for all lines. Never raises; see `Protection.demand`."""
    if not media.rtp:
        return Protection("other", media.protocol)
    transport = media.transport
    cryptos = tuple(
        crypto
        for name, value in media.attributes()
        if name == b"crypto" and (crypto := sdes.parse(value or b"")) is not None
    )
    fingerprints = _fingerprints(session, media)
    ufrag, password = _either(session, media, b"ice-ufrag"), _either(session, media, b"ice-pwd")
    ice = Credentials(ufrag, password) if ufrag and password else None
    mode: Mode = "plain"
    if transport.startswith(b"UDP/TLS/") or (b"/SAVP" in transport and fingerprints and not media.has(b"crypto")):
        mode = "web" if ufrag else "dtls"
    elif b"/SAVP" in transport:
        mode = "sdes"
    return Protection(
        mode,
        media.protocol,
        cryptos,
        fingerprints,
        (_either(session, media, b"setup") or b"").strip().lower(),
        ice,
        session.head.has(b"ice-lite"),
        media.muxed,
        media.attribute(b"mid"),
    )


def _either(session: Session, media: Media, name: bytes) -> bytes | None:
    """An attribute of the line, else of the session."""
    value = media.attribute(name)
    return session.head.attribute(name) if value is None else value


def _fingerprints(session: Session, media: Media) -> frozenset[Fingerprint]:
    for section in (media, session.head):
        if section.has(b"fingerprint"):
            read = (_fingerprint(value or b"") for name, value in section.attributes() if name == b"fingerprint")
            found = frozenset(each for each in read if each is not None)
            return frozenset(each for each in found if each.hash != _WEAK) or found
    return frozenset()


def _fingerprint(value: bytes) -> Fingerprint | None:
    name, _, digits = value.strip().partition(b" ")
    name = name.lower()
    try:
        digest = bytes.fromhex(digits.strip().replace(b":", b"").decode("ascii"))
    except ValueError:
        return None
    return Fingerprint(name, digest) if len(digest) == _DIGESTS.get(name) else None
