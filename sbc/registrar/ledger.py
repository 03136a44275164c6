"""The upper registrations in the store, for the refresher; and what a refresh that failed means for the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sbc.registrar.asking import AUTO, ON, ask
from sbc.store.housekeeping import LeaseRegistrations
from sbc.store.operations import ForgetHa1, RemoveBinding, UpdateUpperRegistration
from sbc.store.records import UpperRegistration, User
from sbc.store.service import Store
from sbc.upper.given import Given
from sbc.upper.registration import Standing

log = Logger()

NEEDS_WAKE = "needs_wake"
"""The state of a registration whose challenge only the app itself can answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRules:
    """`remove_rejected`: a user that the upper server refuses loses its devices. `max_offline`: seconds without any
    sign of life after which a user is not refreshed; 0: no limit."""

    node: str
    remove_rejected: bool
    max_offline: float
    wake: str = AUTO
    """`push.wake_to_refresh`."""


class Ledger:
    """Leases due registrations and writes how they stand. `wake`: only the app can refresh this one; `rerouted`:
    the upper server may have said another Service-Route for it."""

    def __init__(
        self,
        store: Store,
        rules: Callable[[], LedgerRules],
        wake: Callable[[User, UpperRegistration], None],
        rerouted: Callable[[User, UpperRegistration], None],
    ) -> None:
        self._store = store
        self._rules = rules
        self._wake = wake
        self._rerouted = rerouted

    def due(self, now_at: float, limit: int, lease: float) -> Deferred[list[tuple[User, UpperRegistration]]]:
        """See `sbc.upper.refresher.Ledger`."""
        rules = self._rules()
        seen_after = now_at - rules.max_offline if rules.max_offline else 0.0
        leased = self._store.write(
            LeaseRegistrations(
                node=rules.node, now_at=now_at, until_at=now_at + lease, limit=limit, seen_after=seen_after
            )
        )
        return leased.addCallback(self._ours, now_at)

    def _ours(
        self, leased: list[tuple[User, UpperRegistration]], now_at: float
    ) -> list[tuple[User, UpperRegistration]]:
        """Those that we can refresh; the others' apps are asked again."""
        refreshed = []
        for user, row in leased:
            if row.state == NEEDS_WAKE:
                self._ask(user, row, row, now_at)
                continue
            refreshed.append((user, row))
            if self._rules().wake == ON:
                self._wake(user, row)
        return refreshed

    def _ask(self, user: User, row: UpperRegistration, before: UpperRegistration, now_at: float) -> None:
        """Only the app can refresh this one: `row.failures` pushes were sent for it."""
        asking = ask(self._rules().wake, row.failures, row.expires_at, now_at)
        stands = replace(row, next_at=asking.next_at, failures=row.failures + asking.push, node=self._rules().node)

        def noted() -> None:
            if asking.push:
                self._wake(user, row)
            if asking.remove:
                self._remove(user)

        self._write(stands, before, noted)

    def stand(self, user: User, row: UpperRegistration, standing: Standing, now_at: float) -> None:
        """See `sbc.upper.refresher.Ledger`. Where a REGISTER came while the refresh was on its way, that one counts."""
        given = standing.given or Given(row.service_route, row.associated, row.gruus)
        stands = replace(
            row,
            state=standing.state,
            cseq=standing.cseq,
            last_code=standing.code,
            last_reason=standing.reason,
            expires_at=standing.expires_at,
            next_at=standing.next_at,
            failures=standing.failures,
            node=self._rules().node,
            service_route=given.service_route,
            associated=given.associated,
            gruus=given.gruus,
        )
        if standing.state == NEEDS_WAKE:
            self._ask(user, replace(stands, expires_at=row.expires_at, failures=0), row, now_at)
        elif standing.state == "rejected":
            self._write(stands, row, lambda: self._rejected(user, standing))
        elif standing.given is not None and (given.service_route or row.service_route):
            self._write(stands, row, lambda: self._rerouted(user, stands))
        else:
            self._write(stands, row)

    def _rejected(self, user: User, standing: Standing) -> None:
        log.warn(
            "the upper server {upper} rejects {username}@{domain}: {code} {reason}",
            upper=user.upper,
            username=user.username,
            domain=user.domain,
            code=standing.code,
            reason=standing.reason,
        )
        if user.ha1:
            forgotten = self._store.write(ForgetHa1(user.id, user.ha1))
            forgotten.addErrback(lambda failure: log.failure("a wrong HA1 could not be forgotten", failure))
        if self._rules().remove_rejected:
            self._remove(user)

    def _write(
        self, row: UpperRegistration, before: UpperRegistration, noted: Callable[[], None] | None = None
    ) -> None:
        """Write how a registration stands, which was `before`; then `noted`, unless it has changed in between."""

        def written(applies: bool) -> None:
            if applies and noted is not None:
                noted()

        writing = self._store.write(UpdateUpperRegistration(row, before)).addCallback(written)
        writing.addErrback(lambda failure: log.failure("an upper registration could not be written", failure))

    def _remove(self, user: User) -> None:
        """The user's devices go, unless it was seen since it was looked up."""
        removal = RemoveBinding(
            username=user.username,
            domain=user.domain,
            upper=user.upper,
            identity=None,
            unseen_since=user.last_seen_at,
        )
        removed = self._store.write(removal)
        removed.addErrback(lambda failure: log.failure("a lost user's devices could not be removed", failure))
