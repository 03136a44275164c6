"""SDES: SRTP keys in the description itself (RFC 4568, RFC 7714).  [pure]"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher with its tag: bytes of master key and master salt."""

    name: bytes
    key: int
    salt: int

    @property
    def size(self) -> int:
        """Bytes of key and salt together, as they stand in a description."""
        return self.key + self.salt


GCM_256 = Suite(b"AEAD_AES_256_GCM", 32, 12)
GCM_128 = Suite(b"AEAD_AES_128_GCM", 16, 12)
CM_80 = Suite(b"AES_CM_128_HMAC_SHA1_80", 16, 14)
CM_32 = Suite(b"AES_CM_128_HMAC_SHA1_32", 16, 14)
#: What is offered, best first.
SUITES = (GCM_256, GCM_128, CM_80, CM_32)
#: The same by name.
BY_NAME = {suite.name: suite for suite in SUITES}

#: Session parameters (RFC 4568 section 6.3) that change what is on the wire and are not supported. The key derivation
#: rate, window size and sender's own FEC order do not concern who only has the master key; `KDR=0` is the default.
_UNSUPPORTED = (b"UNENCRYPTED_SRTP", b"UNENCRYPTED_SRTCP", b"UNAUTHENTICATED_SRTP", b"FEC_KEY")


@dataclass(frozen=True, slots=True)
class Crypto:
    """One `a=crypto` line: `key` is master key and salt together."""

    tag: int
    suite: Suite
    key: bytes = field(repr=False)

    def render(self) -> bytes:
        """The value of the attribute."""
        return b"%d %s inline:%s" % (self.tag, self.suite.name, b64encode(self.key))


def parse(value: bytes) -> Crypto | None:
    """The value of an `a=crypto` attribute; None when it is malformed, of an unknown suite, or wants what is not
    supported (an MKI, several keys, unencrypted parts, a key derivation rate): such a line is passed over."""
    words = value.split()
    if len(words) < 3 or not words[0].isdigit() or len(words[0]) > 9:
        return None
    suite = BY_NAME.get(words[1].upper())
    method, _, rest = words[2].partition(b":")
    fields = rest.split(b"|")
    if suite is None or method.lower() != b"inline" or any(b":" in field for field in fields[1:]):
        return None
    parameters = [word.upper() for word in words[3:]]
    if any(word.startswith(_UNSUPPORTED) or (word.startswith(b"KDR=") and word != b"KDR=0") for word in parameters):
        return None
    try:
        key = b64decode(fields[0] + b"=" * (-len(fields[0]) % 4), validate=True)
    except (NotBase64, ValueError):
        return None
    return Crypto(int(words[0]), suite, key) if len(key) == suite.size else None
