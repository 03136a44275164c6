"""Ours or theirs: the two kinds of failure, and what the sender of a broken message is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sbc.sip.message import Request


class LocalError(Exception):
    """A mistake of our own. Never swallowed, never answered with a status that blames the peer."""


class RemoteError(Exception):
    """A mistake or a refusal of the other side; answered in one place per border.

    `status` is the SIP status to answer (400 … 699), `reason` the phrase to put behind it (no line ends, may be empty:
    the usual phrase of that status is meant).
    """

    def __init__(self, status: int, reason: bytes = b"") -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.status} {self.reason.decode('utf-8', 'replace')}"


class ParseError(RemoteError):
    """Bytes that are not the SIP they should be: 400 unless the RFC names another status (505, 416, 413, 513 …).

    `request` is what could be read of the request, when that is enough to send an answer back (it has Via lines, From,
    To, Call-ID and CSeq); None when there is nothing to answer: drop it, and on a stream close the connection.
    """

    def __init__(self, reason: bytes, status: int = 400, request: Request | None = None) -> None:
        super().__init__(status, reason)
        self.request = request
