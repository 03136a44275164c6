"""The last SIP messages in RAM, for an operator who asks why a call failed. Pure, off until switched on.

A `TraceRing` keeps whole messages up to a number of bytes and forgets the oldest. What is kept is raw, in this
process's memory only; what is read has its secrets masked.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from sbc.observe.masking import masked_bytes

TRACE_BYTES: Final = 16 * 1024 * 1024
"""Bytes of messages kept by default: about 15 000 messages, some minutes of a busy node."""

ENTRY_OVERHEAD: Final = 250
"""Bytes an entry costs besides its message: the object, its Call-ID and peer."""

READ_LIMIT: Final = 500
"""Entries one reading answers at most."""


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """One message that passed. `at` is UTC epoch seconds, `ours` and `peer` are ``transport:host:port``."""

    at: float
    direction: Literal["in", "out"]
    call_id: bytes
    ours: str
    peer: str
    message: bytes

    @property
    def summary(self) -> str:
        """The start line: ``INVITE sip:…`` or ``180 Ringing``, masked."""
        line = masked_bytes(self.message.split(b"\r\n", 1)[0])
        return line.removeprefix("SIP/2.0 ").removesuffix(" SIP/2.0")

    @property
    def text(self) -> str:
        """The whole message with its secrets masked."""
        return masked_bytes(self.message)


_CALL_ID: Final = re.compile(rb"\r?\n(?:call-id|i)[ \t]{0,64}:[ \t]{0,64}([^\r\n]{0,1024})", re.IGNORECASE)


def call_id_of(message: bytes) -> bytes:
    """The Call-ID of a whole message, without parsing it: what is traced may be broken. Empty when it has none."""
    header = message.partition(b"\r\n\r\n")[0]
    found = _CALL_ID.search(header)
    return found.group(1).rstrip() if found is not None else b""


class TraceRing:
    """The youngest messages, at most `limit` bytes of them.

    The driver asks `on` before it calls `record`, so that a trace that is off costs one attribute.
    """

    __slots__ = ("_call_id", "_entries", "_size", "limit", "on")

    def __init__(self, limit: int = TRACE_BYTES) -> None:
        self.limit = limit
        self.on = False
        self._call_id: bytes | None = None
        self._entries: deque[TraceEntry] = deque()
        self._size = 0

    def start(self, call_id: bytes | None = None) -> None:
        """Keep messages from now on: all, or those of one Call-ID."""
        self.on = True
        self._call_id = call_id

    def stop(self) -> None:
        """Keep no more; what is there stays readable until `clear`."""
        self.on = False

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self._size = 0

    def record(self, at: float, direction: Literal["in", "out"], ours: str, peer: str, message: bytes) -> None:
        """Keep this message if the trace is on and wants it; drops the oldest ones that no longer fit."""
        if not self.on:
            return
        call_id = call_id_of(message)
        if self._call_id is not None and call_id != self._call_id:
            return
        size = len(message) + ENTRY_OVERHEAD
        if size > self.limit:
            return
        self._entries.append(TraceEntry(at, direction, call_id, ours, peer, message))
        self._size += size
        while self._size > self.limit:
            self._size -= len(self._entries.popleft().message) + ENTRY_OVERHEAD

    def __len__(self) -> int:
        """Bytes in use."""
        return self._size

    def read(self, call_id: bytes | None = None) -> list[TraceEntry]:
        """The entries of one Call-ID, or the youngest of all, oldest first, `READ_LIMIT` at most."""
        found = deque(self._matching(call_id), maxlen=READ_LIMIT)
        return list(found)

    def _matching(self, call_id: bytes | None) -> Iterator[TraceEntry]:
        return (entry for entry in self._entries if call_id is None or entry.call_id == call_id)
