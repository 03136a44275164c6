"""Bans, calls and ends of bindings in the database, where an operator sees them and a restart finds them."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.observe.calllog import Batch, CallLog
from sbc.security.bans import Ban, BanTable
from sbc.store import queries
from sbc.store.housekeeping import ExpireBindings
from sbc.store.journal import RemoveBan, SaveBan, SaveCalls
from sbc.store.records import Ban as Row
from sbc.store.service import Store

log = Logger()


class BanRecords:
    """The recorder of the ban table. `cut(source)` ends the connections of a source that was just shut out."""

    def __init__(self, store: Store, cut: Callable[[str], object]) -> None:
        self._store = store
        self._cut = cut

    def banned(self, ban: Ban) -> None:
        """A new or longer ban."""
        self._cut(ban.source)
        log.warn("{source} is banned: {reason}", source=ban.source, reason=ban.reason)
        row = Row(
            source=ban.source,
            reason=ban.reason,
            automatic=ban.by == "auto",
            created_at=ban.since_at,
            expires_at=ban.until_at,
            created_by=ban.by,
        )
        self._store.write(SaveBan(row)).addErrback(lambda failure: log.failure("a ban could not be noted", failure))

    def lifted(self, source: str) -> None:
        """A ban is gone before its time."""
        removed = self._store.write(RemoveBan(source))
        removed.addErrback(lambda failure: log.failure("a ban could not be removed", failure))


def ban_of(row: Row) -> Ban:
    """A ban as it was noted."""
    forever = 1e12
    return Ban(row.source, row.reason, row.created_at, row.expires_at or forever, row.created_by or "auto")


def restore_bans(store: Store, bans: BanTable) -> Deferred[None]:
    """The bans that were in force when the node stopped are in force again."""
    rows = store.report(lambda connection: queries.bans(connection, time.time()))
    restored = rows.addCallback(lambda found: bans.restore(map(ban_of, found), time.time()))
    return restored.addErrback(lambda failure: log.failure("the bans could not be read", failure))


def expire_bindings(store: Store) -> None:
    """Bindings without push whose time has passed are no more."""
    expired = store.write(ExpireBindings(time.time()))
    expired.addErrback(lambda failure: log.failure("expired bindings could not be removed", failure))


def call_log(store: Store, node: str) -> CallLog:
    """A log of the calls of one node that is written to the database; what could not be written comes back to it."""

    def write(batch: Batch) -> None:
        store.write(SaveCalls(batch.calls, batch.events, node)).addErrback(lost, batch)

    def lost(failure: Failure, batch: Batch) -> None:
        calls.lost(batch)
        log.failure("calls could not be written", failure)

    calls = CallLog(write)
    return calls
