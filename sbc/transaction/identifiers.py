"""Branches, tags, tokens: identifiers that peers cannot guess and that never repeat."""

from __future__ import annotations

import itertools
from collections.abc import Callable

COOKIE = b"z9hG4bK"
"""What every RFC 3261 branch begins with (§8.1.1.7)."""


class Identifiers:
    """Makes identifiers for one process.

    `random` returns so many cryptographically random bytes; `worker` is told apart in every branch, so that several
    processes may share a port later.
    """

    def __init__(self, random: Callable[[int], bytes], worker: int = 0) -> None:
        self._random = random
        self._count = itertools.count(1)
        self._prefix = COOKIE + b"%x-%s-" % (worker, random(8).hex().encode())

    def branch(self) -> bytes:
        """A Via branch: unique over all time, 64 bits unguessable by strangers."""
        return b"%s%x" % (self._prefix, next(self._count))

    def tag(self) -> bytes:
        """A From or To tag, 64 random bits (RFC 3261 §19.3 asks for 32)."""
        return self._random(8).hex().encode()

    def token(self) -> bytes:
        """The user part of a Contact that stands for one side of a dialog: 80 random bits, lower-case hex."""
        return self._random(10).hex().encode()

    def call_id(self) -> bytes:
        """A Call-ID of our own, naming no host."""
        return self._random(16).hex().encode()

    def cnonce(self) -> bytes:
        """A client nonce for a digest answer."""
        return self._random(8).hex().encode()
