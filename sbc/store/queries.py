"""Look-ups: functions of a SQLAlchemy connection, run by `Store.read` (calls wait for it) or `Store.report`.

Those that a call waits for speak to the driver directly: SQLAlchemy's own execution costs more than the look-up.
"""
# ruff: noqa: S608 -- SQL is put together from constants of this package alone

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from sbc.store import tables
from sbc.store.records import Ban, Dialog, Message, Subscriber, Token, UpperRegistration, User
from sbc.store.rows import BINDING, TOKEN, UPPER, USER, columns, subscriber_of, token_of, upper_of, user_of
from sbc.store.secret import Secret, prid_hash
from sbc.store.session import Statement

SECRET = "secret"  # noqa: S105 -- a name, not one
"""Under this name `Connection.info` holds the `Secret` of the store."""

_JOINED = f"""
    SELECT {columns(USER, "u")}, {columns(BINDING, "b")}, {columns(TOKEN, "t")}
    FROM {{}} u LEFT JOIN bindings b ON b.user_id = u.id
    LEFT JOIN push_tokens t ON t.binding_id = b.id AND t.state <> 'dead'
    """
_BY_NAME = Statement(
    _JOINED.replace(
        "{}",
        "(SELECT * FROM users WHERE username = ? AND domain = ? ORDER BY last_seen_at DESC, id LIMIT 1)",
    )
    + "ORDER BY b.id, t.id"
)
_BY_ID = Statement(_JOINED.replace("{}", "users") + "WHERE u.id = ? ORDER BY b.id, t.id")
_BY_CONTACT = Statement(
    _JOINED.replace("{}", "upper_registrations r JOIN users")
    .replace("users u LEFT", "users u ON u.id = r.user_id LEFT")
    .replace("b.user_id = u.id", "b.user_id = u.id AND (r.binding_id IS NULL OR r.binding_id = b.id)")
    + """
    WHERE r.id = (SELECT id FROM upper_registrations WHERE contact_user = ? ORDER BY state = 'ended', id DESC LIMIT 1)
    ORDER BY b.id, t.id
    """
)


def rows(connection: Connection, statement: Statement, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
    """The rows of a statement, straight from the driver."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(getattr(statement, connection.dialect.name), parameters)
        return cursor.fetchall()  # type: ignore[return-value]
    finally:
        cursor.close()


def secret_of(connection: Connection) -> Secret:
    """What opens the encrypted columns read through this connection."""
    secret: Secret = connection.info[SECRET]
    return secret


def subscriber(connection: Connection, username: str, domain: str) -> Subscriber | None:
    """A user with its devices and their usable tokens.

    The domain in any case of letters, the username exactly. Of accounts of one name at several upper servers the one
    seen last.
    """
    return subscriber_of(rows(connection, _BY_NAME, (username, domain.lower())), secret_of(connection))


def subscriber_by_id(connection: Connection, user_id: int) -> Subscriber | None:
    """The same by the user's id."""
    return subscriber_of(rows(connection, _BY_ID, (user_id,)), secret_of(connection))


def subscriber_by_contact(connection: Connection, upper_contact_user: str) -> Subscriber | None:
    """The same by the user part of a Contact shown to an upper server; of a mirrored one only that device."""
    return subscriber_of(rows(connection, _BY_CONTACT, (upper_contact_user,)), secret_of(connection))


def due_registrations(connection: Connection, now_at: float, limit: int) -> list[tuple[User, UpperRegistration]]:
    """Upper registrations whose `next_at` has passed, oldest first. Does not lease them: see `LeaseRegistrations`."""
    found = rows(connection, _DUE, (now_at, limit))
    secret = secret_of(connection)
    return [(user_of(row[: len(USER)], secret), upper_of(row[len(USER) :])) for row in found]


_DUE = Statement(
    f"""
    SELECT {columns(USER, "u")}, {columns(UPPER, "r")}
    FROM upper_registrations r JOIN users u ON u.id = r.user_id
    WHERE r.next_at <= ? ORDER BY r.next_at LIMIT ?
    """
)


def registered_elsewhere(
    connection: Connection, username: str, domain: str, upper: str
) -> list[tuple[User, UpperRegistration]]:
    """Of an active user whose HA1 is known, the registrations that the SBC keeps at other servers than this one."""
    found = rows(connection, _ELSEWHERE, (username, domain.lower(), upper))
    secret = secret_of(connection)
    return [(user_of(row[: len(USER)], secret), upper_of(row[len(USER) :])) for row in found]


_ELSEWHERE = Statement(
    f"""
    SELECT {columns(USER, "u")}, {columns(UPPER, "r")}
    FROM users u JOIN upper_registrations r ON r.user_id = u.id
    WHERE u.username = ? AND u.domain = ? AND u.state = 'active' AND u.ha1 IS NOT NULL
      AND r.upper <> ? AND r.next_at IS NOT NULL AND r.state IN ('registered', 'failing')
    """
)


def upper_registrations(connection: Connection, user_id: int) -> list[UpperRegistration]:
    """The upper registrations of a user."""
    return [upper_of(row) for row in rows(connection, _UPPER_OF, (user_id,))]


_UPPER_OF = Statement(f"SELECT {columns(UPPER, 'r')} FROM upper_registrations r WHERE r.user_id = ? ORDER BY r.id")


def next_due_at(connection: Connection) -> float | None:
    """When the next upper registration is due, or None."""
    found: float | None = rows(connection, _NEXT_DUE, ())[0][0]
    return found


_NEXT_DUE = Statement("SELECT min(next_at) FROM upper_registrations WHERE next_at IS NOT NULL")


def token(connection: Connection, provider: str, param: str, prid: str) -> Token | None:
    """One push token, dead or not."""
    found = rows(connection, _TOKEN, (provider, param, prid_hash(prid)))
    return token_of(found[0], secret_of(connection)) if found else None


_TOKEN = Statement(
    f"SELECT {columns(TOKEN, 't')} FROM push_tokens t WHERE t.provider = ? AND t.param = ? AND t.prid_hash = ?"
)


def tokens(connection: Connection, user_id: int) -> list[Token]:
    """Every push token of a user, dead ones too."""
    secret = secret_of(connection)
    return [token_of(row, secret) for row in rows(connection, _TOKENS, (user_id,))]


_TOKENS = Statement(f"SELECT {columns(TOKEN, 't')} FROM push_tokens t WHERE t.user_id = ? ORDER BY t.id")


def dialogs(connection: Connection, node: str) -> list[Dialog]:
    """The dialogs that a node left behind."""
    table = tables.dialogs
    found = connection.execute(select(table).where(table.c.node == node).order_by(table.c.started_at))
    return [Dialog(**row._mapping) for row in found]


def waiting_messages(connection: Connection, user_id: int, now_at: float, limit: int = 100) -> list[Message]:
    """Messages that wait for a user to wake, oldest first."""
    table = tables.messages
    found = connection.execute(
        select(table)
        .where(table.c.user_id == user_id, table.c.state == "waiting")
        .where(table.c.expires_at.is_(None) | (table.c.expires_at > now_at))
        .order_by(table.c.id)
        .limit(limit)
    )
    return [Message(**{**row._mapping, "body": bytes(row.body)}) for row in found]


def bans(connection: Connection, now_at: float) -> list[Ban]:
    """Bans in force."""
    table = tables.bans
    found = connection.execute(
        select(table).where(table.c.expires_at.is_(None) | (table.c.expires_at > now_at)).order_by(table.c.id)
    )
    return [Ban(**row._mapping) for row in found]


def routes(connection: Connection) -> list[dict[str, Any]]:
    """The routing rules that are in force, in order, by column."""
    table = tables.routes
    found = connection.execute(select(table).where(table.c.enabled).order_by(table.c.position, table.c.id))
    return [dict(row._mapping) for row in found]


def upper_servers(connection: Connection) -> list[dict[str, Any]]:
    """The upper servers that are in force, by column."""
    table = tables.upper_servers
    return [dict(row._mapping) for row in connection.execute(select(table).where(table.c.enabled).order_by(table.c.id))]


def chosen_uppers(connection: Connection, limit: int) -> list[tuple[str, str]]:
    """Upper servers (name, domain) that clients chose and that hold registrations. Reads a whole table."""
    registrations, users = tables.upper_registrations, tables.users
    joined = select(registrations.c.upper, users.c.domain).join(users, users.c.id == registrations.c.user_id)
    found = connection.execute(joined.where(registrations.c.upper.like("sip:%")).distinct().limit(limit))
    return [(row.upper, row.domain) for row in found]


def barred(connection: Connection, limit: int = 100_000) -> list[tuple[str, str]]:
    """Users (name, domain) that an operator has barred."""
    table = tables.users  # the first condition finds the index
    banned = select(table.c.username, table.c.domain).where(table.c.state != "active", table.c.state == "banned")
    found = connection.execute(banned.limit(limit))
    return [(row.username, row.domain) for row in found]


def settings(connection: Connection) -> list[tuple[str, str]]:
    """The rows (name, value) that are laid over the configuration file."""
    return [(row.name, row.value) for row in connection.execute(select(tables.settings))]


def counts(connection: Connection) -> Counts:
    """Numbers for the metrics; reads whole tables, so for `Store.report`, once a minute at most."""
    return Counts(
        users=rows(connection, _COUNT_USERS, ())[0][0],
        bindings=dict(rows(connection, _COUNT_BINDINGS, ())),
        registrations={(upper, state): count for upper, state, count in rows(connection, _COUNT_UPPER, ())},
    )


@dataclass(frozen=True, slots=True)
class Counts:
    """`bindings` by `push` and `plain`, `registrations` by (upper server, state)."""

    users: int
    bindings: dict[str, int]
    registrations: dict[tuple[str, str], int]


_COUNT_USERS = Statement("SELECT count(*) FROM users")
_COUNT_BINDINGS = Statement(
    "SELECT CASE WHEN push THEN 'push' ELSE 'plain' END AS kind, count(*) FROM bindings GROUP BY 1"
)
_COUNT_UPPER = Statement("SELECT upper, state, count(*) FROM upper_registrations GROUP BY upper, state")
