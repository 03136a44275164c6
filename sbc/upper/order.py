"""In which order the servers that could take a request are tried: pure.

Those that are down come last (for nothing else may be left), then the demoted ones; among the rest the priority
decides, and among equals the weight. The draw is not a die: it is made from a key (a user, a Call-ID), so that the
challenge that one server gave is answered to the same server, and a user's calls go where the user is registered.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable

from sbc.upper.servers import UpperServer


def ordered(
    servers: Iterable[UpperServer],
    key: bytes,
    *,
    down: Callable[[UpperServer], bool],
    demoted: Callable[[UpperServer], bool] = lambda server: False,
) -> list[UpperServer]:
    """The servers, best first. Of many keys each server gets its weight's share; weight 0 only what others leave."""
    return sorted(
        servers,
        key=lambda server: (down(server), demoted(server), server.priority, -drawn(server.name, server.weight, key)),
    )


def drawn(name: str, weight: int, key: bytes) -> float:
    """A server's lot for this key, the highest wins (rendezvous hashing): when one server leaves, only its own keys
    move."""
    if weight <= 0:
        return 0.0
    number = int.from_bytes(hashlib.blake2b(key, digest_size=8, key=name.encode()[:64]).digest(), "big")
    return weight / -math.log((number + 0.5) / 2.0**64)
