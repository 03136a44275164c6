"""Keeps upper registrations alive: takes due ones from the store, paces them, runs one `Refresh` for each.

RAM holds only what is being refreshed right now. A registration is leased (its `next_at` moves on) in the same
transaction that finds it due, so that a crash or another node never refreshes it twice at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sbc.sip.build import make_request
from sbc.sip.message import Response
from sbc.sip.uri import escape_user
from sbc.store.records import UpperRegistration, User
from sbc.transaction.client import ClientTransaction
from sbc.transaction.driver import Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transport.flow import Flow
from sbc.upper.face import via
from sbc.upper.registration import Account, Refresh, Register, Standing
from sbc.upper.servers import UpperServers
from sbc.upper.ways import Ways, on_flow

log = Logger()

POLL = 0.5
"""Seconds between two looks for due registrations."""
LEASE = 60.0
"""Seconds that a registration taken for refresh stays ours; longer than any refresh takes (two transactions of 32 s
are the extreme; the second look then finds it in RAM)."""


class Ledger(Protocol):
    """Where registrations are kept."""

    def due(self, now_at: float, limit: int, lease: float) -> Deferred[list[tuple[User, UpperRegistration]]]:
        """Registrations whose `next_at` has passed, oldest first, each leased for so many seconds."""

    def stand(self, user: User, row: UpperRegistration, standing: Standing, now_at: float) -> None:
        """A refresh ended so; to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast: `rate` refreshes started per second at most, `expires` seconds asked for."""

    rate: int
    expires: int


class Refresher:
    """Refreshes what is due. `tick` is called every `POLL` seconds; `uniform` is a random number in [0, 1)."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        driver: Driver,
        servers: UpperServers,
        ways: Ways,
        identifiers: Identifiers,
        pace: Callable[[], Pace],
        call_later: Callable[..., object],
        uniform: Callable[[], float],
        clock_at: Callable[[], float] = time.time,
    ) -> None:
        self.ledger = ledger
        self.driver = driver
        self.servers = servers
        self.ways = ways
        self.identifiers = identifiers
        self.pace = pace
        self.uniform = uniform
        self.clock_at = clock_at
        self._call_later = call_later
        self._running: set[int] = set()
        self._looking = False

    def tick(self) -> None:
        """Look for due registrations and start refreshing them, evenly over the time until the next look."""
        limit = max(1, int(self.pace().rate * POLL))
        if self._looking or len(self._running) >= self.pace().rate * LEASE:
            return
        self._looking = True
        self.ledger.due(self.clock_at(), limit, LEASE).addCallbacks(self._spread, self._broken)

    @property
    def running(self) -> int:
        """How many refreshes are under way."""
        return len(self._running)

    def refresh(self, user: User, row: UpperRegistration, *, expires: int | None = None) -> None:
        """Refresh this one now; `expires` 0 ends it."""
        server = self.servers.get(row.upper)
        if row.id in self._running:
            return
        if server is None:
            self.ledger.stand(
                user,
                row,
                Standing("failing", 0, f"no upper server {row.upper}", None, None, 1, row.cseq),
                self.clock_at(),
            )
            return
        self._running.add(row.id)
        asked = self.pace().expires if expires is None else expires
        account = Account(
            username=user.username,
            auth_username=user.auth_username or user.username,
            domain=user.domain,
            realm=user.realm,
            ha1=user.ha1,
            user_agent=user.user_agent,
            contact=row.contact,
        )
        machine = Refresh(account, expires=asked, cseq=row.cseq, failures=row.failures, uniform=self.uniform)
        _Run(self, user, row, machine)

    def ended(self, run: _Run, standing: Standing) -> None:
        """A refresh is over."""
        self._running.discard(run.row.id)
        self.ledger.stand(run.user, run.row, standing, self.clock_at())

    def _spread(self, due: list[tuple[User, UpperRegistration]]) -> None:
        self._looking = False
        for place, (user, row) in enumerate(due):
            self._call_later(place * POLL / len(due), self.refresh, user, row)

    def _broken(self, failure: object) -> None:
        self._looking = False
        log.error("cannot look for due registrations: {failure}", failure=failure)


class _Run:
    """One refresh on the wire: the client of its transactions."""

    __slots__ = ("machine", "refresher", "row", "user")

    def __init__(self, refresher: Refresher, user: User, row: UpperRegistration, machine: Refresh) -> None:
        self.refresher = refresher
        self.user = user
        self.row = row
        self.machine = machine
        self._send(machine.start())

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        if response.status < 200:
            return
        refresher = self.refresher
        after = self.machine.answered(response, refresher.identifiers.cnonce(), refresher.clock_at())
        if isinstance(after, Standing):
            refresher.ended(self, after)
        else:
            self._send(after)

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        self._give_up("no answer from the upper server")

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        self.refresher.ended(self, self.machine.unanswered(reason, self.refresher.clock_at()))

    def _send(self, register: Register) -> None:
        server = self.refresher.servers.get(self.row.upper)
        assert server is not None
        on_flow(self.refresher.ways.flow(server), lambda flow: self._put(register, flow), self._give_up)

    def _put(self, register: Register, flow: Flow) -> None:
        account = self.machine.account
        identifiers = self.refresher.identifiers
        address = b"<sip:%s@%s>" % (escape_user(account.username), account.domain.encode())
        headers = [
            (b"Contact", b"<%s>;expires=%d" % (account.contact.encode(), register.expires)),
            (b"Expires", b"%d" % register.expires),
        ]
        if account.user_agent:
            headers.append((b"User-Agent", account.user_agent.encode()))
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
        self.refresher.driver.send(request, flow, self)
