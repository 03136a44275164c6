"""Upper registrations that are to be refreshed sooner than planned, without all of them at once."""
# ruff: noqa: S608 -- SQL is put together from constants of this package alone

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sbc.store.housekeeping import CHUNK
from sbc.store.operation import Operation
from sbc.store.secret import Secret
from sbc.store.session import Session, Statement

SLOTS = 997
"""Into so many moments the time is cut over which registrations are spread; a prime, so that ids fall into all."""


SPAN = 2_000
"""Registrations looked at by one operation: 10 ms of the writer when all of them are moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BringForward(Operation[int]):
    """Of the `span` registrations after the id `after`, those at a server fall due within `over` seconds from `at`,
    spread over that time.

    None is put off, and those that the SBC does not keep stay as they are. `failing`: only those that failed last time.
    Gives the `after` to go on with; 0: that was the end.
    """

    upper: str
    at: float
    over: float
    failing: bool = False
    after: int = 0
    span: int = SPAN

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        end = self.after + self.span
        statement = _BRING_FAILING if self.failing else _BRING
        session.run(statement, (self.at, self.over, self.after, end, self.upper, self.at + self.over))
        beyond = session.execute(_BEYOND, (end,))
        return lambda: end if beyond() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndKeeping(Operation[int]):
    """Up to `limit` registrations that this node kept, of users not seen since `seen_before`, are refreshed no more.

    The next REGISTER of their app brings them back. Gives how many; when that is `limit` there may be more.
    """

    node: str
    seen_before: float
    limit: int = CHUNK

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        rows = session.execute(_END_ONES, (self.node, self.seen_before, self.limit))
        return lambda: len(rows())


_END_ONES = Statement(
    """
    UPDATE upper_registrations SET state = 'ended', next_at = NULL
    WHERE id IN (SELECT r.id FROM upper_registrations r JOIN users u ON u.id = r.user_id
                 WHERE r.next_at IS NOT NULL AND r.node = ? AND u.last_seen_at < ? LIMIT ?)
    RETURNING id
    """
)
_BRING_ONES = f"""
    UPDATE upper_registrations SET next_at = ? + (id - id / {SLOTS} * {SLOTS}) * ? / {SLOTS}.0
    WHERE id > ? AND id <= ? AND upper = ? AND next_at > ? {{}}
    """
_BRING = Statement(_BRING_ONES.replace("{}", ""))
_BRING_FAILING = Statement(_BRING_ONES.replace("{}", "AND state = 'failing'"))
_BEYOND = Statement("SELECT id FROM upper_registrations WHERE id > ? LIMIT 1")
