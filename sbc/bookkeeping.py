"""Bans in the database, where an operator sees them and a restart finds them."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from sbc.security.bans import Ban
from sbc.store.journal import RemoveBan, SaveBan
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
