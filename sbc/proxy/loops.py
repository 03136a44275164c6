"""A request that comes back to us unchanged is in a loop (RFC 3261 §16.3, RFC 5393); changed, it is a spiral. Pure.

Each branch that leaves ends in a mark of the request it came of. A request whose Vias hold a branch of ours with its
own mark has been here before with the same target: 482. Max-Breadth bounds how many branches may exist at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from sbc.sip.errors import RemoteError
from sbc.sip.message import Request
from sbc.sip.scan import COMMA

BREADTH = 60
"""Branches that may exist at once for a request that does not say so itself (RFC 5393 §5.3.3)."""


def mark(request: Request) -> bytes:
    """What tells a loop from a spiral: Request-URI, From tag, CSeq number and Route of what came.

    Not its Call-ID, which is another one each time where Call-IDs are masked.
    """
    said = b"\0".join(
        (
            request.uri,
            request.from_tag or b"",
            b"%d" % request.cseq.number,
            request.first(b"route") or b"",
        )
    )
    return b"-%08x" % zlib.crc32(said)


def refuse_loop(request: Request, ours: Iterable[bytes]) -> None:
    """Raise RemoteError 482 when this request has passed here before with the same mark."""
    vias = request.lines(b"via")
    if len(vias) < 2 and COMMA not in vias[0]:
        return
    end = mark(request)
    for via in request.vias[1:]:
        if via.branch.endswith(end) and via.host.strip(b"[]").lower() in ours:
            raise RemoteError(482, b"Loop Detected")


def breadth_of(request: Request) -> int:
    """How many branches this request may have at once. A value that is no number counts as absent."""
    text = (request.first(b"max-breadth") or b"").strip()
    return min(int(text), 2**31) if text.isdigit() and len(text) < 11 else BREADTH


def shares(breadth: int, branches: int) -> int:
    """The Max-Breadth of each of so many parallel branches. Raises RemoteError 440 when there is not one for each."""
    if branches > breadth:
        raise RemoteError(440, b"Max-Breadth Exceeded")
    return breadth // max(1, branches)
