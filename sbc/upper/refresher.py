"""Keeps upper registrations alive: takes due ones from the store, paces them, runs one `Refresh` for each.

RAM holds only what is being refreshed right now, not even the nonces. A registration is leased (its `next_at` moves on)
in the same transaction that finds it due, so that a crash or another node never refreshes it twice at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from sbc.sip.build import make_request
from sbc.sip.message import Response
from sbc.sip.uri import escape_user
from sbc.store.records import UpperRegistration, User
from sbc.transaction.client import ClientTransaction
from sbc.transaction.driver import Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transaction.retry import Retry
from sbc.transport.flow import Flow
from sbc.upper.face import contact, path, via
from sbc.upper.nonces import Reuse, read_nonce
from sbc.upper.registration import MIN_BACKOFF, Account, Refresh, Register, Standing, backoff
from sbc.upper.router import Router
from sbc.upper.servers import UpperServer
from sbc.upper.watch import Watch
from sbc.upper.ways import on_flow

log = Logger()

POLL = 0.5
"""Seconds between two looks for due registrations."""
LEASE = 60.0
"""Seconds that a registration taken for refresh stays ours; longer than any refresh takes (two transactions of 32 s
are the extreme; the second look then finds it in RAM)."""

STAND_IN = 300.0
"""Seconds for which a registration stays at a stand-in at most, while the server that it belongs to is not known to be
down: nobody tells when that one is well again, for nobody noticed more than one silence."""

SUPPORTED = {b"gruu": b"+sip.instance=", b"outbound": b"reg-id="}
"""Option tags of a REGISTER, and the Contact parameters that mean nothing without them (RFC 5627, RFC 5626)."""


class Ledger(Protocol):
    """Where registrations are kept."""

    def due(self, now_at: float, limit: int, lease: float) -> Deferred[list[tuple[User, UpperRegistration]]]:
        """Registrations whose `next_at` has passed, oldest first, each leased for so many seconds."""

    def stand(self, user: User, row: UpperRegistration, standing: Standing, now_at: float) -> None:
        """A refresh ended so; to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast: `rate` refreshes started per second at most, `expires` seconds asked for, none later than after
    `longest` seconds; `patience`: seconds that a server may be silent while there is another."""

    rate: int
    expires: int
    longest: float
    patience: float


class Refresher:
    """Refreshes what is due. `tick` is called every `POLL` seconds; `uniform` is a random number in [0, 1).

    A registration goes to the best server of its domain; when that one fails, to the next, and back with a later
    refresh. `restore(name, domain)` gives a server that a client chose before a restart, where it still may.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        driver: Driver,
        watch: Watch,
        router: Router,
        restore: Callable[[str, str], UpperServer | None],
        identifiers: Identifiers,
        pace: Callable[[], Pace],
        call_later: Callable[..., object],
        uniform: Callable[[], float],
        clock_at: Callable[[], float] = time.time,
    ) -> None:
        self.ledger = ledger
        self.driver = driver
        self.watch = watch
        self.router = router
        self.restore = restore
        self.identifiers = identifiers
        self.pace = pace
        self.uniform = uniform
        self.clock_at = clock_at
        self.reuse = Reuse()
        self._call_later = call_later
        self._running: dict[int, list[Deferred[None]]] = {}
        self._looking = False
        self._ahead = 0

    def tick(self) -> None:
        """Look for due registrations and start refreshing them, evenly over the time until the next look."""
        limit = max(1, self._burst - self._ahead)
        self._ahead = 0
        if self._looking or len(self._running) >= self.pace().rate * LEASE:
            return
        self._looking = True
        self.ledger.due(self.clock_at(), limit, LEASE).addCallbacks(self._spread, self._broken)

    @property
    def running(self) -> int:
        """How many refreshes are under way."""
        return len(self._running)

    @property
    def _burst(self) -> int:
        """Refreshes between two looks at most."""
        return int(self.pace().rate * POLL)

    def move(self, user: User, row: UpperRegistration, server: UpperServer) -> Deferred[None]:
        """Register this one at that server now, before those that are due; fires when it has spoken, whatever it said.

        At once where the server takes no registrations of this user, or as many have been moved as the pace allows.
        """
        over: Deferred[None] = Deferred()
        if row.id in self._running:
            self._running[row.id].append(over)
            return over
        takers = self.router.registrars(server, user.username, user.domain).servers
        if server not in takers or self._ahead >= self._burst:
            return succeed(None)
        self._ahead += 1
        self._begin(_Run(self, user, row, [server], self.pace().expires, takers[0]), [over])
        return over

    def refresh(self, user: User, row: UpperRegistration, *, expires: int | None = None) -> None:
        """Refresh this one now; `expires` 0 ends it, where it is."""
        if row.id in self._running:
            return
        server = self._server(user, row)
        if server is None:
            reason = f"no upper server {row.upper}"
            self.ledger.stand(
                user, row, Standing("failing", 0, reason, None, self._later(row), row.failures + 1, row.cseq),
                self.clock_at(),
            )  # fmt: skip
            return
        servers = [server]
        if expires != 0:
            servers = list(self.router.registrars(server, user.username, user.domain).servers) or servers
        asked = self.pace().expires if expires is None else expires
        self._begin(_Run(self, user, row, servers, asked, servers[0]), [])

    def ended(self, run: _Run, standing: Standing) -> None:
        """A refresh is over."""
        waiting = self._running.pop(run.row.id)
        self.ledger.stand(run.user, run.row, standing, self.clock_at())
        for over in waiting:
            over.callback(None)

    def _begin(self, run: _Run, waiting: list[Deferred[None]]) -> None:
        self._running[run.row.id] = waiting
        run.begin()

    def _server(self, user: User, row: UpperRegistration) -> UpperServer | None:
        """Where the registration is; of a server that is not configured any more, who serves its domain now."""
        servers = self.watch.servers
        found = servers.get(row.upper) or self.restore(row.upper, user.domain)
        return found or next(iter(servers.of_domain(user.domain.encode())), None)

    def _later(self, row: UpperRegistration) -> float:
        return self.clock_at() + backoff(row.failures, self.uniform())

    def _spread(self, due: list[tuple[User, UpperRegistration]]) -> None:
        self._looking = False
        for place, (user, row) in enumerate(due):
            self._call_later(place * POLL / len(due), self.refresh, user, row)

    def _broken(self, failure: object) -> None:
        self._looking = False
        log.error("cannot look for due registrations: {failure}", failure=failure)


class _Run:
    """One refresh on the wire: the client of its transactions, at one server after the other. `best`: the one that the
    registration belongs to."""

    __slots__ = ("best", "expires", "flow", "machine", "refresher", "reused", "row", "server", "servers", "user")

    machine: Refresh
    server: UpperServer

    def __init__(
        self,
        refresher: Refresher,
        user: User,
        row: UpperRegistration,
        servers: list[UpperServer],
        expires: int,
        best: UpperServer,
    ) -> None:
        self.refresher = refresher
        self.user = user
        self.row = row
        self.servers = servers
        self.expires = expires
        self.best = best
        self.reused = False
        self.flow: Flow | None = None

    def begin(self) -> None:
        """Turn to the next server."""
        refresher, user, row = self.refresher, self.user, self.row
        self.server, self.flow = self.servers.pop(0), None
        account = Account(
            username=user.username,
            auth_username=user.auth_username or user.username,
            domain=user.domain,
            realm=user.realm,
            ha1=user.ha1,
            user_agent=user.user_agent,
            contact=row.contact,
        )
        self.machine = Refresh(
            account,
            expires=self.expires,
            cseq=row.cseq,
            failures=row.failures,
            uniform=refresher.uniform,
            nonce=read_nonce(row.nonce) if self.server.name == row.upper else None,
            longest=refresher.pace().longest,
        )
        self.reused = self.machine.nonce is not None
        self._send(self.machine.start(refresher.identifiers.cnonce()))

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        if response.status < 200:
            return
        refresher = self.refresher
        refresher.watch.served(self.server, response.status, self.flow)
        if self.reused and response.status in (200, 401, 407):
            refresher.reuse.reused(self.server.name, response.status == 200)
            self.reused = False
        after = self.machine.answered(response, refresher.identifiers.cnonce(), refresher.clock_at())
        if isinstance(after, Register):
            self._send(after)
        else:
            self._stands(after)

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        self._give_up("no answer from the upper server")

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        self.refresher.watch.silent(self.server, f"REGISTER: {reason}", self.flow)
        self._stands(self.machine.unanswered(reason, self.refresher.clock_at()))

    def _stands(self, standing: Standing) -> None:
        """This server has spoken. A stand-in that does not know the user has no say about it."""
        moved, nonce = self.server.name != self.row.upper, self.machine.nonce
        self.row = row = replace(self.row, nonce="")
        if standing.state == "registered":
            kept = nonce is not None and self.refresher.reuse.worthwhile(self.server.name)
            self.row = replace(row, upper=self.server.name, nonce=nonce.written() if nonce is not None and kept else "")
            standing = replace(standing, next_at=self._returns_at(standing))
        elif standing.state != "ended" and (moved or standing.state == "failing"):
            self.row = replace(row, cseq=standing.cseq)
            if self.servers:
                self.begin()
                return
            if standing.state != "failing":
                standing = self.machine.unfit(standing, self.refresher.clock_at())
        self.refresher.ended(self, standing)

    def _returns_at(self, standing: Standing) -> float | None:
        """When to refresh what this server has just taken: before the registration at the one that it belongs to ends,
        unless that is known to be down; then it is told when that is over."""
        next_at, expires_at = standing.next_at, standing.expires_at
        if next_at is None or expires_at is None or self.server.name == self.best.name:
            return next_at
        if self.refresher.watch.down(self.best):
            return next_at
        return min(next_at, self.refresher.clock_at() + max(MIN_BACKOFF, min(STAND_IN, expires_at - next_at)))

    def _send(self, register: Register) -> None:
        on_flow(self.refresher.watch.ways.flow(self.server), lambda flow: self._put(register, flow), self._give_up)

    def _put(self, register: Register, flow: Flow) -> None:
        account = self.machine.account
        refresher = self.refresher
        identifiers = refresher.identifiers
        address = b"<sip:%s@%s>" % (escape_user(account.username), account.domain.encode())
        user, _, _ = account.contact.partition("@")
        ours = contact(flow.listener, user.removeprefix("sip:").encode())
        device = self.row.contact_params.encode()
        headers = [
            (b"Contact", b"<%s>%s;expires=%d" % (ours, device, register.expires)),
            (b"Expires", b"%d" % register.expires),
        ]
        if account.user_agent:
            headers.append((b"User-Agent", account.user_agent.encode()))
        options = [option for option, param in SUPPORTED.items() if param in device]
        if self.server.path:
            headers.append((b"Path", b"<%s>" % path(flow.listener)))
            options.append(b"path")
        if options:
            headers.append((b"Supported", b", ".join(options)))
        if register.credentials is not None:
            headers.append(register.credentials)
        request = make_request(
            b"REGISTER",
            b"sip:" + account.domain.encode(),
            via=via(flow.listener, identifiers.branch()),
            from_=address + b";tag=" + identifiers.tag(),
            to=address,
            call_id=self.row.call_id.encode(),
            cseq=register.cseq,
            headers=headers,
        )
        patience = refresher.pace().patience if self.servers else None
        retry = Retry(give_up=patience)

        def start(fitting: Flow) -> None:
            self.flow = fitting
            refresher.driver.send(request, fitting, self, retry)

        refresher.watch.ways.carry(request, flow, start)
