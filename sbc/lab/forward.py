"""The emulated upper server as a proxy: one request to all contacts of a user at once (RFC 3261 section 16, stateful,
forking).

In: a server transaction and the places to try. Out: the branches' responses, the best one at the end; CANCEL to the
rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from sbc.lab.party import Party, new_branch
from sbc.lab.wires import Wire
from sbc.sip import Request, Response, Uri
from sbc.sip.build import cancel_for, respond
from sbc.transaction.table import ServerTransaction

Reach = Callable[[Uri], Deferred[Wire]]


@dataclass(frozen=True, slots=True)
class Place:
    """One target: the Request-URI and the routes before it."""

    uri: bytes
    route: list[bytes] = field(default_factory=list)


class _Branch:
    """One copy of the request on its way."""

    __slots__ = ("final", "provisional", "request", "wire")

    def __init__(self, request: Request, wire: Wire) -> None:
        self.request = request
        self.wire = wire
        self.provisional = False
        self.final: Response | None = None


class Forward:
    """One forwarded request."""

    def __init__(
        self,
        party: Party,
        reach: Reach,
        txn: ServerTransaction,
        record_route: bytes | None,
        finished: Callable[[], object],
    ) -> None:
        self._party = party
        self._reach = reach
        self._txn = txn
        self._record_route = record_route
        self._finished = finished  # called once, when the final response went back
        self._branches: list[_Branch] = []
        self._open = 0
        self._best: Response | None = None
        self._done = False

    def start(self, request: Request, places: list[Place]) -> None:
        """Send to every place."""
        self._open = len(places)
        for place in places:
            copy = request.copy()
            copy.uri = place.uri
            copy.set(b"max-forwards", b"%d" % ((copy.max_forwards or 70) - 1))
            for value in reversed(place.route):
                copy.push(b"route", value)
            if self._record_route is not None:
                copy.push(b"record-route", self._record_route)
            hop = copy.routes[0].uri if copy.routes else Uri.parse(place.uri)
            self._reach(hop).addCallbacks(self._send, self._unreachable, callbackArgs=(copy,))

    def cancel(self) -> None:
        """The caller gave up."""
        for branch in self._branches:
            if branch.final is None and branch.provisional:
                self._party.request(cancel_for(branch.request), branch.wire, lambda _: None, lambda _: None)

    def _send(self, wire: Wire, copy: Request) -> None:
        copy.push(b"via", wire.via(new_branch()))
        branch = _Branch(copy, wire)
        self._branches.append(branch)
        self._party.request(
            copy, wire, lambda response: self._answered(branch, response), lambda reason: self._failed(branch)
        )

    def _unreachable(self, reason: object) -> None:
        self._closed(respond(self._txn.request, 503))

    def _failed(self, branch: _Branch) -> None:
        if branch.final is None:
            branch.final = respond(self._txn.request, 408)
            self._closed(branch.final)

    def _answered(self, branch: _Branch, response: Response) -> None:
        if response.status == 100:
            branch.provisional = True
            return
        back = response.copy()
        back.pop_top(b"via")
        if response.status < 200:
            branch.provisional = True
            if not self._done:
                self._party.respond(self._txn, back)
            return
        repeated, branch.final = branch.final is not None, back
        if response.status < 300:
            self._party.respond(self._txn, back)
            if not self._done:
                self._done = True
                self._finished()
                self.cancel()
        elif not repeated:
            self._closed(back)

    def _closed(self, response: Response) -> None:
        """One branch less; with the last one the best response goes back (section 16.7 step 6, in short)."""
        self._open -= 1
        if self._best is None or _rank(response) < _rank(self._best):
            self._best = response
        if self._open == 0 and not self._done:
            self._done = True
            self._party.respond(self._txn, self._best)
            self._finished()


def _rank(response: Response) -> tuple[int, int]:
    return (0, 0) if response.status >= 600 else (response.status // 100, response.status)
