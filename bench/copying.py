"""Fills the tables of a PostgreSQL server by COPY: several times as fast as the statements of REGISTERs.

In: what REGISTERs would save, each of a user of its own with one device, a token and an upper Contact. Out: the same
rows as `SaveRegistration` makes (a test compares them).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine

from sbc.store import Secret
from sbc.store.operations import SaveRegistration
from sbc.store.registration import contact_user
from sbc.store.rows import BINDING, HA1, PRID
from sbc.store.secret import prid_hash

CHUNK = 20_000
"""Users of one transaction."""

COLUMNS = {
    "users": (
        *("id", "username", "domain", "upper", "realm", "auth_username", "ha1", "user_agent"),
        *("created_at", "last_seen_at"),
    ),
    "bindings": BINDING,
    "push_tokens": (
        *("id", "user_id", "binding_id", "provider", "param", "prid", "prid_hash", "environment", "kind", "purr"),
        "registered_at",
    ),
    "upper_registrations": (
        *("id", "user_id", "upper", "contact", "contact_user", "call_id", "cseq", "last_code", "last_reason"),
        *("expires_at", "next_at", "node", "service_route", "associated", "gruus", "contact_params"),
    ),
}
"""The tables in the order in which they are written, and what is written of them."""

Row = tuple[Any, ...]


def copy(engine: Engine, secret: Secret, registrations: Iterable[SaveRegistration]) -> None:
    """Empty the tables and write these users into them, with ids from 1. The server's superuser may."""
    raw = engine.raw_connection()
    try:
        connection: Any = raw.driver_connection
        connection.execute("SET session_replication_role = replica")  # the references are right: nobody need check them
        connection.execute(f"TRUNCATE {', '.join(COLUMNS)} RESTART IDENTITY CASCADE")
        chunk: list[SaveRegistration] = []
        first = 1
        for given in registrations:
            chunk.append(given)
            if len(chunk) == CHUNK:
                first = _written(connection, secret, chunk, first)
                chunk.clear()
        _written(connection, secret, chunk, first)
        for table in COLUMNS:
            last = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"
            connection.execute(last)
    finally:
        raw.close()


def _written(connection: Any, secret: Secret, chunk: Sequence[SaveRegistration], first: int) -> int:
    """One transaction; the next id. Each device has one token, so that an id serves in every table."""
    rows: dict[str, list[Row]] = {table: [] for table in COLUMNS}
    for number, given in enumerate(chunk, first):
        for table, row in _rows(given, secret, number).items():
            rows[table].append(row)
    with connection.transaction(), connection.cursor() as cursor:
        for table, columns in COLUMNS.items():
            with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as into:
                for row in rows[table]:
                    into.write_row(row)
    return first + len(chunk)


def _rows(given: SaveRegistration, secret: Secret, number: int) -> dict[str, Row]:
    assert given.binding is not None and given.upper_contact is not None, "a registration with a device"
    [token] = given.tokens
    device = replace(given.binding, id=number, user_id=number, push=True, seen_at=given.at)
    ha1 = secret.seal(given.ha1, HA1) if given.ha1 else None
    contact = given.upper_contact
    return {
        "users": (
            *(number, given.username, given.domain.lower(), given.upper, given.realm or "", given.auth_username or ""),
            *(ha1, given.user_agent, given.at, given.at),
        ),
        "bindings": tuple(getattr(device, name) for name in BINDING),
        "push_tokens": (
            *(number, number, number, token.provider, token.param, secret.seal(token.prid, PRID)),
            *(prid_hash(token.prid), token.environment, token.kind, given.purr, given.at),
        ),
        "upper_registrations": (
            *(number, number, given.held_by or given.upper, contact, contact_user(contact), given.upper_call_id, 1),
            *(200, "OK", given.upper_expires_at, given.next_at, given.node),
            *(given.service_route, given.associated, given.gruus, given.contact_params),
        ),
    }
