"""What pushes were worth: by app, provider and User-Agent."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from sbc.store.queries import rows
from sbc.store.records import Push
from sbc.store.session import Statement

MAX_ROWS = 100_000
"""Pushes looked at, the newest first: half a second of the reports' thread."""


def wakes(since_at: float) -> Callable[[Connection], list[tuple[str, str, str, str, float | None]]]:
    """App, provider, User-Agent, outcome and seconds until the wake of each call or chat push sent since then."""
    return lambda connection: [tuple(row) for row in rows(connection, _WAKES, (since_at, MAX_ROWS))]


_WAKES = Statement(
    """
    SELECT p.app, p.provider, coalesce(u.user_agent, ''), p.outcome, p.woke_after
    FROM pushes p LEFT JOIN users u ON u.id = p.user_id
    WHERE p.sent_at > ? AND p.type IN ('call', 'chat') ORDER BY p.sent_at DESC LIMIT ?
    """
)


def last_pushes(user_id: int, since_at: float, limit: int) -> Callable[[Connection], list[Push]]:
    """The newest pushes to a user sent since then."""

    def read(connection: Connection) -> list[Push]:
        names = ("type", "provider", "app", "sent_at", "status", "reason", "outcome", "latency", "woke_after")
        found = rows(connection, _LAST, (since_at, user_id, limit))
        return [Push(**dict(zip(names, row, strict=True))) for row in found]

    return read


_LAST = Statement(
    """
    SELECT type, provider, app, sent_at, status, reason, outcome, latency, woke_after FROM pushes
    WHERE sent_at > ? AND user_id = ? ORDER BY sent_at DESC LIMIT ?
    """
)
