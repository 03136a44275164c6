"""Bans in the database, where an operator sees them and a restart finds them."""

from __future__ import annotations

from twisted.logger import Logger

from sbc.security.bans import Ban
from sbc.store.journal import RemoveBan, SaveBan
from sbc.store.records import Ban as Row
from sbc.store.service import Store

log = Logger()


class BanRecords:
    """The recorder of the ban table."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def banned(self, ban: Ban) -> None:
        """A new or longer ban."""
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
