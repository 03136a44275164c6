"""PURRs: names by which a sleeping phone can be meant in requests inside its dialogs (RFC 8599 section 6).  [pure]

A PURR is a keyed hash of the device and of the day: without the key nobody can make one, tell whose it is, or see that
two belong to one device. It changes every day; a dialog keeps the one that it began with.
"""

from __future__ import annotations

import hmac
from base64 import b32encode

PERIOD = 86_400.0
"""Seconds after which a device's PURR changes (section 6.1.1 asks for a change now and then)."""

BYTES = 20
"""Bytes of a PURR: 160 bits, which nobody guesses (section 13 asks for at least 128 by RFC 4086)."""

LENGTH = 32
"""Characters of a PURR."""


def purr(secret: bytes, device: str, now_at: float) -> str:
    """The PURR of a device (any text that names it among all devices) at *now_at*, UTC epoch seconds."""
    said = f"{device}\0{int(now_at // PERIOD)}".encode()
    return b32encode(hmac.digest(secret, said, "sha256")[:BYTES]).decode().lower()


def said_purr(value: bytes | None) -> str:
    """The PURR in a ``pn-purr`` parameter, ``""`` for anything that cannot be one of ours."""
    text = (value or b"").decode("ascii", "replace").strip('"').lower()
    return text if len(text) == LENGTH and text.isalnum() else ""
