"""What happens by time: leases of due refreshes, devices that lapse, users that stay away, rows that grow old."""
# ruff: noqa: S608 -- SQL is put together from constants of this package alone

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sbc.store.operation import Operation
from sbc.store.queries import rows
from sbc.store.records import UpperRegistration, User
from sbc.store.rows import UPPER, USER, columns, upper_of, user_of
from sbc.store.secret import Secret
from sbc.store.session import Session, Statement
from sbc.store.settings import DatabaseSettings

CHUNK = 1000
"""Rows removed by one operation: about 10 ms of the writer, so that no REGISTER waits for housekeeping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRegistrations(Operation[list[tuple[User, UpperRegistration]]]):
    """Take upper registrations whose `next_at` has passed, oldest first: nobody else gets them until `until_at`.

    Those of users that are not active, or were not seen since `seen_after`, are ended instead: their next REGISTER
    brings them back.
    """

    node: str
    now_at: float
    until_at: float
    limit: int
    seen_after: float = 0.0

    def run(self, session: Session, secret: Secret) -> Callable[[], list[tuple[User, UpperRegistration]]]:
        connection = session.connection()
        leased = [
            upper_of(row) for row in rows(connection, _LEASE, (self.until_at, self.node, self.now_at, self.limit))
        ]
        users: dict[int, User] = {}
        for ids in _chunks([row.user_id for row in leased]):
            for row in rows(connection, _USERS, ids):
                user = user_of(row, secret)
                if user.state == "active" and user.last_seen_at >= self.seen_after:
                    users[user.id] = user
        for ids in _chunks([row.id for row in leased if row.user_id not in users]):
            session.run(_GIVE_UP, ids)
        leased.sort(key=lambda row: row.id)
        found = [(users[row.user_id], row) for row in leased if row.user_id in users]
        return lambda: found


_IDS = 64  # ids in one statement: one prepared statement serves every number of them


def _chunks(ids: list[int]) -> Iterator[tuple[int, ...]]:
    """The ids in groups of `_IDS`, the last one filled up with 0, which no row has."""
    for start in range(0, len(ids), _IDS):
        chunk = ids[start : start + _IDS]
        yield (*chunk, *[0] * (_IDS - len(chunk)))


_GIVE_UP = Statement(
    f"UPDATE upper_registrations SET state = 'ended', next_at = NULL WHERE id IN ({', '.join('?' * _IDS)})"
)
_LEASE = Statement(
    f"""
    UPDATE upper_registrations SET next_at = ?, node = ?
    WHERE id IN (SELECT id FROM upper_registrations WHERE next_at <= ? ORDER BY next_at LIMIT ?{{}})
    RETURNING {", ".join(UPPER)}
    """,
    postgresql=" FOR UPDATE SKIP LOCKED",
)
_USERS = Statement(f"SELECT {columns(USER, 'u')} FROM users u WHERE u.id IN ({', '.join('?' * _IDS)})")


@dataclass(frozen=True, slots=True)
class ExpireBindings(Operation[int]):
    """Remove up to `limit` devices without push that lapsed before `before`; devices with push become `push`.

    Users whose last device goes have their upper registrations ended. Gives how many devices were removed.
    """

    before: float
    limit: int = CHUNK

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        session.run(_END_UPPER, (self.before, self.limit, self.before))
        gone = session.execute(_EXPIRE, (self.before, self.limit))
        return lambda: len(gone())


_LAPSED = "(SELECT {} FROM bindings WHERE NOT push AND expires_at < ? ORDER BY expires_at, id LIMIT ?)"
_END_UPPER = Statement(
    f"""
    UPDATE upper_registrations SET state = 'ended', expires_at = NULL, next_at = NULL
    WHERE user_id IN {_LAPSED.replace("{}", "user_id")} AND NOT EXISTS
      (SELECT 1 FROM bindings b WHERE b.user_id = upper_registrations.user_id AND (b.push OR b.expires_at >= ?))
    """
)
_EXPIRE = Statement(f"DELETE FROM bindings WHERE id IN {_LAPSED.replace('{}', 'id')} RETURNING id")


SPAN = 20_000
"""Users looked at by one operation, 5 ms of the writer. An index on when they were last seen would slow REGISTERs."""


@dataclass(frozen=True, slots=True)
class RemoveGoneUsers(Operation[int]):
    """Of the `span` users after the id `after`, remove up to `limit` active ones not seen since `before`, with all that
    is theirs. Gives the `after` to go on with; 0: that was the end."""

    before: float
    after: int = 0
    limit: int = CHUNK
    span: int = SPAN

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        end = self.after + self.span
        gone = session.execute(_REMOVE_GONE, (self.after, end, self.before, self.limit))
        beyond = session.execute(_BEYOND, (end,))

        def next_after() -> int:
            if len(gone()) >= self.limit:
                return max(self.after, 1)  # ids begin at 1, and that one has been looked at
            return end if beyond() else 0

        return next_after


_REMOVE_GONE = Statement(
    "DELETE FROM users WHERE id IN"
    " (SELECT id FROM users WHERE id > ? AND id <= ? AND last_seen_at < ? AND state = 'active' ORDER BY id LIMIT ?)"
    " RETURNING id"
)
_BEYOND = Statement("SELECT id FROM users WHERE id > ? LIMIT 1")


@dataclass(frozen=True, slots=True)
class Forget(Operation[int]):
    """Remove up to `limit` rows of a table that grows by time, older than `before`. Gives how many."""

    table: str
    before: float
    limit: int = CHUNK

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        gone = session.execute(_FORGET[self.table], (self.before, self.limit))
        return lambda: len(gone())


_FORGET = {
    table: Statement(
        f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {column} < ? ORDER BY {column} LIMIT ?)"
        " RETURNING id"
    )
    for table, column in (
        ("cdrs", "started_at"),
        ("call_events", "at"),
        ("pushes", "sent_at"),
        ("messages", "received_at"),
        ("audit", "at"),
        ("bans", "expires_at"),
    )
}


def outdated(settings: DatabaseSettings, now_at: float) -> Iterator[Forget]:
    """What the settings say is too old: run each again until it gives less than its limit."""
    for table, keep in (
        ("cdrs", settings.keep_calls),
        ("call_events", settings.keep_events),
        ("pushes", settings.keep_pushes),
        ("messages", settings.keep_messages),
    ):
        if keep:
            yield Forget(table, now_at - keep)
    yield Forget("bans", now_at)
