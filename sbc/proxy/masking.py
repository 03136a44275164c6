"""Call-IDs that say nothing of the ones they stand for. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Callable

LENGTH = 16
"""Bytes of a masked Call-ID, shown as twice as many digits."""


def masker(key: bytes) -> Callable[[bytes], bytes]:
    """Makes masked Call-IDs, with a secret key.

    One Call-ID always has the same mask: a request that comes again with credentials, a fork, a failover and a node
    that was restarted are the same to their receiver (RFC 3261 §8.2.2.2).
    """

    def mask(call_id: bytes) -> bytes:
        return hmac.digest(key, call_id, "sha256")[:LENGTH].hex().encode()

    return mask
