"""API keys: how they are made, kept and recognised. Pure.

A key is 256 random bits, so its SHA-256 may be stored: there is nothing to guess by trying words. Recognising compares
the digest with every one known in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["read", "write"]
"""What a key is good for: ``write`` includes ``read``."""

PREFIX: Final = "sbc_"
"""Every key starts so; scanners of source code find leaked ones by it."""

KEY_BYTES: Final = 32
"""Random bytes in a key."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key: a name for the audit trail, hex SHA-256 of its text, role, expiry (UTC epoch seconds)."""

    name: str
    digest: str
    role: Role
    expires_at: float | None = None


def make_key(random: bytes) -> str:
    """The text of a new key from `KEY_BYTES` random bytes."""
    if len(random) < KEY_BYTES:
        raise ValueError(f"a key needs {KEY_BYTES} random bytes")
    return PREFIX + base64.urlsafe_b64encode(random).decode().rstrip("=")


def digest(key: str) -> str:
    """What is stored of a key: hex SHA-256 of its text."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


class Keyring:
    """The keys of a node."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def recognise(self, key: str, now_at: float) -> ApiKey | None:
        """The key that has this text and has not expired at `now_at`; takes as long for a wrong as for a right one."""
        offered = digest(key)
        found: ApiKey | None = None
        for known in self._keys:
            if hmac.compare_digest(known.digest, offered):
                found = known
        if found is not None and found.expires_at is not None and found.expires_at <= now_at:
            return None
        return found
