"""The flow toward one end of a dialog."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed

from sbc.proxy.dialog import Side, next_hop
from sbc.sip.errors import RemoteError
from sbc.transport.flow import Flow
from sbc.upper.selection import CHOSEN
from sbc.upper.ways import Ways


def reach(ways: Ways, side: Side) -> Deferred[Flow]:
    """A flow toward this end of a dialog. Fails with RemoteError 503.

    A device is reached on the flow on which it was last heard, an upper server where its route set or its Contact
    leads (RFC 3261 §12.2.1.1), on the flow it was last heard on where that leads there.
    """
    hop = side.hop
    if side.upper is None:
        if hop is not None and hop.open:
            return succeed(hop)
        return fail(RemoteError(503, b"Flow Gone"))
    try:
        _, _, uri = next_hop(side)
    except RemoteError as problem:
        return fail(problem)
    wanted = (uri.transport or b"UDP").upper()
    if hop is not None and hop.open and hop.transport == wanted and hop.peer == _literal(uri.host, uri.port):
        return succeed(hop)
    return ways.flow_to(uri, wanted, guarded=side.upper.startswith(CHOSEN))


def _literal(host: bytes, port: int | None) -> tuple[str, int]:
    return host.strip(b"[]").decode("ascii", "replace"), port or 5060
