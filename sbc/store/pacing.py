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


@dataclass(frozen=True, slots=True, kw_only=True)
class BringForward(Operation[int]):
    """Up to `limit` registrations at a server are due within `over` seconds from `at`, spread over that time.

    None is put off, and those that the SBC does not keep stay as they are. `failing`: only those that failed last time.
    Gives how many were brought forward; when that is `limit` there may be more.
    """

    upper: str
    at: float
    over: float
    failing: bool = False
    limit: int = CHUNK

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        statement = _BRING_FAILING if self.failing else _BRING
        rows = session.execute(statement, (self.at, self.over, self.upper, self.at + self.over, self.limit))
        return lambda: len(rows())


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
    WHERE id IN (SELECT id FROM upper_registrations WHERE upper = ? AND next_at > ? {{}} LIMIT ?) RETURNING id
    """
_BRING = Statement(_BRING_ONES.replace("{}", ""))
_BRING_FAILING = Statement(_BRING_ONES.replace("{}", "AND state = 'failing'"))
