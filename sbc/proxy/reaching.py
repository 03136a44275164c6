"""The flow toward one end of a dialog."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from sbc.proxy.dialog import Side, next_hop
from sbc.sip.errors import RemoteError
from sbc.sip.uri import Uri
from sbc.transport.address import DEFAULT_PORTS
from sbc.transport.flow import Flow
from sbc.upper.selection import CHOSEN
from sbc.upper.ways import Ways


def reach(ways: Ways, side: Side) -> Deferred[Flow]:
    """A flow toward this end of a dialog. Fails with RemoteError 503.

    A device is reached on the flow on which it was last heard, an upper server where its route set or its Contact
    leads (RFC 3261 §12.2.1.1), on the flow it was last heard on where that leads there. Where it cannot be connected to
    as it calls itself (an IP address that its certificate does not name, a port that is shut), the flow it was last
    heard on will do, and a flow to the server by its name where it is at the server's address.
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
    wanted = transport_of(uri)
    if hop is not None and hop.open and fits(uri, hop.transport, hop.peer):
        return succeed(hop)
    server = ways.servers.get(side.upper)

    def otherwise(failure: Failure) -> Deferred[Flow]:
        failure.trap(RemoteError)  # type: ignore[no-untyped-call]
        if hop is not None and hop.open:
            return succeed(hop)
        if server is not None and ways.servers.by_source(uri.address) is server:
            return ways.flow(server)
        return fail(failure)

    return ways.flow_to(uri, wanted, guarded=side.upper.startswith(CHOSEN)).addErrback(otherwise)


def transport_of(uri: Uri) -> bytes:
    """What a URI asks for, as in a Via; TLS for sips, UDP where it says nothing (RFC 3263 §4.1 for an IP address)."""
    said = (uri.transport or b"").upper()
    if uri.secure:
        return b"WSS" if said in (b"WS", b"WSS") else b"TLS"
    return said or b"UDP"


def fits(uri: Uri, transport: bytes, peer: tuple[str, int]) -> bool:
    """Whether a flow of this transport to this peer leads to where the URI points.

    A peer that speaks over a connection and leaves the transport out of its Contact means that connection all the same:
    by the letter it would be sent datagrams, which most such peers do not hear.
    """
    if uri.transport is None and not uri.secure and transport != b"UDP":
        return peer[0] == uri.address
    return transport == transport_of(uri) and peer == (uri.address, uri.port or DEFAULT_PORTS[transport])
