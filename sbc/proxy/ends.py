"""Where the ends of dialogs are, also when their flow is gone: behind the proxy before them, or where they registered.

The route set of a dialog stands for its life (RFC 3261 §12), but its first hop may be the token of a flow that is no
more (RFC 5626 §5.3). Who registers a device knows its present flows: the dialog goes on by one of those, as a new
request to the device would.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.proxy.dialog import Side
from sbc.proxy.edges import Edges
from sbc.proxy.reaching import reach
from sbc.sip.errors import ParseError, RemoteError
from sbc.sip.uri import Uri
from sbc.sip.values import NameAddr, split_commas
from sbc.store.records import Binding
from sbc.transport.flow import Flow
from sbc.upper.ways import Ways, refusal

log = Logger()

AGAIN = "again"
"""What stands among the ways that were tried when a proxy was connected to once more."""


class Ends:
    """Finds flows toward ends of dialogs.

    `registrations` gives those of the device that a side is, the latest first; `known` the flow of one, if it is open
    here.
    """

    def __init__(
        self,
        ways: Ways,
        edges: Edges,
        registrations: Callable[[Side], Deferred[list[Binding]]],
        known: Callable[[Binding], Flow | None],
    ) -> None:
        self._ways = ways
        self._edges = edges
        self._registrations = registrations
        self._known = known

    def flow(self, side: Side) -> Deferred[Flow]:
        """A flow toward this end as its dialog knows it; a proxy before it is connected to again where that connection
        broke. Fails with RemoteError 503."""
        if side.upper is not None or not side.routes or (side.hop is not None and side.hop.open):
            return reach(self._ways, side)

        def there(flow: Flow) -> Flow:
            side.hop = flow
            return flow

        return self._edges.toward(side.routes[0], side.address).addCallback(there)

    def anew(self, side: Side, tried: set[str]) -> Deferred[Flow]:
        """A flow toward the device at this end by a way that was not `tried` for this request, after the one by which
        it went; the side is there from then on. Fails with RemoteError 503 when there is none."""
        tried.add(way_of(side.routes, side.target, side.hop))
        broke = side.hop is None or not side.hop.open
        if broke and side.routes and AGAIN not in tried:
            tried.add(AGAIN)
            return self.flow(side).addErrback(lambda failure: self._registered(side, tried))
        return self._registered(side, tried)

    def _registered(self, side: Side, tried: set[str]) -> Deferred[Flow]:
        if not side.device:
            return fail(RemoteError(503, b"Flow Gone"))
        found = self._registrations(side).addErrback(_unread)
        return found.addCallback(lambda bindings: self._first(side, tried, bindings))

    def _first(self, side: Side, tried: set[str], bindings: list[Binding]) -> Deferred[Flow]:
        for at, binding in enumerate(bindings):
            path, contact, flow = tuple(split_commas(binding.path.encode())), binding.contact, self._known(binding)
            way = way_of(path, contact.encode(), flow)
            if way in tried or not (path or flow):
                continue
            tried.add(way)
            if flow is not None:
                moved(side, flow, path, contact)
                return succeed(flow)
            found = self._edges.toward(path[0], binding.source.rpartition(":")[0])
            return found.addCallbacks(
                _moved,
                partial(self._next, side, tried, bindings[at + 1 :]),
                callbackArgs=(side, path, contact),
            )
        return fail(RemoteError(503, b"Flow Gone"))

    def _next(self, side: Side, tried: set[str], bindings: list[Binding], failure: Failure) -> Deferred[Flow]:
        refusal(failure)
        return self._first(side, tried, bindings)


def _unread(failure: Failure) -> list[Binding]:
    if not isinstance(failure.value, RemoteError):  # such as a store that is stopped or has too much to do
        log.failure("what a device has registered could not be read", failure)
    return []


def moved(side: Side, flow: Flow, path: tuple[bytes, ...], contact: str) -> None:
    """The device at this end is on `flow` now, behind the proxies of `path`, and registered as `contact`.

    Proxies that know no flows look at the address in the Request-URI: it becomes the one that was registered.
    """
    if side.routes or path:
        side.target = _at(side.target, contact.encode())
    side.hop, side.address, side.routes = flow, flow.peer[0], path


def way_of(routes: tuple[bytes, ...], target: bytes, flow: Flow | None) -> str:
    """What differs between two ways to a device, however they are written."""
    if not routes:
        return f"flow {flow.token}" if flow is not None else ""
    return " ".join(_place(uri) for uri in (*routes, b"<%b>" % target))


def _moved(flow: Flow, side: Side, path: tuple[bytes, ...], contact: str) -> Flow:
    moved(side, flow, path, contact)
    return flow


def _place(value: bytes) -> str:
    try:
        uri = NameAddr.parse(value).uri
    except ParseError:
        return value.decode("utf-8", "replace")
    user = uri.username if b"lr" in uri.params else ""
    return f"{user}@{uri.address}:{uri.port or ''}"


def _at(target: bytes, contact: bytes) -> bytes:
    """The URI `target` with host and port of `contact`."""
    try:
        there = Uri.parse(contact)
        return Uri.parse(target).replace(host=there.host, port=there.port).render()
    except ParseError:
        return target
