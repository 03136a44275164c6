"""The queries behind the API and the pages: functions that are given a connection and answer with JSON-able records.

Values go into statements as bound parameters only. Lists are read by pages along the primary key, so that the last page
of ten million rows costs what the first one costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, func, select
from sqlalchemy.sql.elements import ColumnElement

from sbc.admin.keys import ApiKey
from sbc.admin.resources import BINDINGS, PAGE, REGISTRATIONS, TOKENS, USERS, Filter, Resource
from sbc.observe.masking import masked
from sbc.store import tables

EVENTS_LIMIT: Final = 2000
"""Lines of one timeline at most."""

KEYS_LIMIT: Final = 1000
"""API keys a node knows at most."""

Record = dict[str, Any]


def page(resource: Resource, query: Mapping[str, Any]) -> Callable[[Connection], dict[str, object]]:
    """The query for one page: ``{"items": […], "next": …}``; `next` is None on the last one."""
    limit = int(query.get("limit", PAGE))
    table = resource.table
    statement = select(*_shown(resource)).limit(limit + 1)
    if resource.owner:
        statement = statement.outerjoin_from(table, tables.users, tables.users.c.id == table.c.user_id)
    for one in resource.filters:
        if one.name in query:
            statement = statement.where(_condition(table, one, query[one.name]))
    after = query.get("after")
    if resource.newest_first:
        statement = statement.order_by(table.c.id.desc())
        if after is not None:
            statement = statement.where(table.c.id < int(after))
    else:
        statement = statement.order_by(table.c.id)
        if after is not None:
            statement = statement.where(table.c.id > int(after))

    def run(connection: Connection) -> dict[str, object]:
        rows = [record(row) for row in connection.execute(statement)]
        more = len(rows) > limit
        return {"items": rows[:limit], "next": rows[limit - 1]["id"] if more else None}

    return run


def one(resource: Resource, row_id: int) -> Callable[[Connection], Record | None]:
    """The query for the row with this id, or None."""
    statement = select(*_shown(resource)).where(resource.table.c.id == row_id)
    if resource.owner:
        users = tables.users
        statement = statement.outerjoin_from(resource.table, users, users.c.id == resource.table.c.user_id)

    def run(connection: Connection) -> Record | None:
        row = connection.execute(statement).first()
        return record(row) if row is not None else None

    return run


def user(row_id: int) -> Callable[[Connection], Record | None]:
    """The query for one user with its devices, their tokens, and its upper registrations, a page of each."""

    def run(connection: Connection) -> Record | None:
        found = one(USERS, row_id)(connection)
        if found is not None:
            for part in (BINDINGS, TOKENS, REGISTRATIONS):
                found[part.name] = page(part, {"user_id": row_id})(connection)["items"]
        return found

    return run


def events(call_id: str) -> Callable[[Connection], list[Record]]:
    """The query for the stored timeline of a call, oldest first."""
    table = tables.call_events
    statement = (
        select(table.c.at, table.c.kind, table.c.detail)
        .where(table.c.call_id == call_id)
        .order_by(table.c.at, table.c.id)
        .limit(EVENTS_LIMIT)
    )
    return lambda connection: [dict(row._mapping) for row in connection.execute(statement)]


def registrations_by_state(connection: Connection) -> list[Record]:
    """How many upper registrations there are in each state at each upper server. Reads the whole table."""
    table = tables.upper_registrations
    statement = select(table.c.upper, table.c.state, func.count().label("count")).group_by(table.c.upper, table.c.state)
    return [dict(row._mapping) for row in connection.execute(statement.order_by(table.c.upper, table.c.state))]


def stored_keys(connection: Connection) -> tuple[ApiKey, ...]:
    """The API keys in the database that were not revoked; a role that is not known may only read."""
    table = tables.api_keys
    statement = select(table.c.name, table.c.hash, table.c.role, table.c.expires_at).where(table.c.revoked_at.is_(None))
    return tuple(
        ApiKey(row.name, row.hash, "write" if row.role == "write" else "read", row.expires_at)
        for row in connection.execute(statement.limit(KEYS_LIMIT))
    )


def record(row: Row[Any]) -> Record:
    """A row as JSON: times as RFC 3339 text, texts with secrets masked (a Contact may carry a push token)."""
    return {name: plain(name, value) for name, value in row._mapping.items()}


def plain(name: str, value: object) -> Any:
    """One value as JSON, by the name of its column."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and (name == "at" or name.endswith("_at")):
        return rfc3339(value)
    return value


def rfc3339(at: float) -> str | None:
    """UTC epoch seconds as ``2026-01-31T12:00:00.000Z``; None for 0 (never) and what no calendar holds."""
    if not at:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):
        return None


def _shown(resource: Resource) -> Sequence[ColumnElement[Any]]:
    table = resource.table
    columns: list[ColumnElement[Any]] = [table.c[name] for name in resource.columns]
    columns += [make(table).label(name) for name, make in (resource.extra or {}).items()]
    if resource.owner:
        columns.append((tables.users.c.username + "@" + tables.users.c.domain).label("user"))
    return columns


def _condition(table: Table, narrowed: Filter, value: Any) -> ColumnElement[bool]:
    column = table.c[narrowed.column]
    condition: ColumnElement[bool] = column == value
    if narrowed.kind == "since":
        condition = column >= float(value)
    elif narrowed.kind == "until":
        condition = column < float(value)
    return condition
