"""Messages that wait for their users: who has any, and which came too late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from sbc.store.operation import Operation
from sbc.store.queries import rows
from sbc.store.secret import Secret
from sbc.store.session import Session, Statement


def users_with_mail(connection: Connection, now_at: float, limit: int) -> list[int]:
    """The ids of users for whom a message waits, `limit` at most; reads that index, so for `Store.report`."""
    return [row[0] for row in rows(connection, _USERS, (now_at, limit))]


_USERS = Statement(
    "SELECT DISTINCT user_id FROM messages WHERE state = 'waiting' AND (expires_at IS NULL OR expires_at > ?) LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class ExpireMessages(Operation[int]):
    """Messages whose time has passed while they waited become `expired`. Gives how many."""

    now_at: float

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        late = session.execute(_EXPIRE, (self.now_at,))
        return lambda: len(late())


_EXPIRE = Statement(
    "UPDATE messages SET state = 'expired' WHERE state = 'waiting' AND expires_at IS NOT NULL AND expires_at <= ?"
    " RETURNING id"
)
