"""Every table and column. The shipped migrations build exactly this (a test compares); `docs/database.rst` explains it.

Times are UTC epoch seconds in double precision. Encrypted columns (`users.ha1`, `users.more_ha1`, `push_tokens.prid`)
hold what `Secret.seal` gives.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Key = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself only in a column called INTEGER


def _id() -> Column[int]:
    return Column("id", Key, primary_key=True, autoincrement=True)


def _text(name: str, *, default: str | None = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def _number(name: str, kind: type[TypeEngine[int]] = Integer, default: int = 0) -> Column[int]:
    return Column(name, kind, nullable=False, server_default=text(str(default)))


def _time(name: str) -> Column[float]:
    return Column(name, Double, nullable=False, server_default=text("0"))


def _maybe(name: str) -> Column[float]:
    return Column(name, Double)


def _media(party: str) -> tuple[Column[Any], ...]:
    counts = (Column(f"{party}_{name}", BigInteger) for name in ("packets", "lost"))
    return (*counts, _maybe(f"{party}_jitter"))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


def _of(table: str, column: str, *, nullable: bool = False) -> Column[int]:
    return Column(column, Key, ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=nullable)


users = Table(
    "users",
    metadata,
    _id(),
    _text("username", default=None),
    _text("domain", default=None),
    _text("upper", default=None),
    _text("realm"),
    _text("auth_username"),
    Column("ha1", LargeBinary),
    Column("more_ha1", LargeBinary),
    _text("state", default="active"),
    _text("user_agent"),
    _time("created_at"),
    _time("last_seen_at"),
    UniqueConstraint("username", "domain", "upper"),
    # Those that an operator barred: few.
    Index(
        "ix_users_state", "state", sqlite_where=text("state <> 'active'"), postgresql_where=text("state <> 'active'")
    ),
)

bindings = Table(
    "bindings",
    metadata,
    _id(),
    _of("users", "user_id"),
    _text("identity", default=None),
    _text("contact", default=None),
    _text("instance"),
    Column("reg_id", Integer),
    _text("transport"),
    _text("source"),
    _text("flow"),
    _text("node"),
    _text("user_agent"),
    _time("expires_at"),
    _text("call_id"),
    _number("cseq", BigInteger),
    _flag("push"),
    _text("path"),
    _text("state", default="live"),
    _time("seen_at"),
    Column("q", Double, nullable=False, server_default=text("1")),
    UniqueConstraint("user_id", "identity"),
    # Only bindings without push end by time: the others, most of all, pay nothing for this index.
    Index(
        "ix_bindings_expires_at", "expires_at", sqlite_where=text("NOT push"), postgresql_where=text("NOT push")
    ),
)  # fmt: skip

push_tokens = Table(
    "push_tokens",
    metadata,
    _id(),
    _of("users", "user_id"),
    _of("bindings", "binding_id"),
    _text("provider", default=None),
    _text("param", default=None),
    Column("prid", LargeBinary, nullable=False),
    _text("prid_hash", default=None),
    _text("environment"),
    _text("kind"),
    _text("purr"),
    _text("state", default="live"),
    _time("registered_at"),
    _maybe("pushed_at"),
    _maybe("woke_at"),
    _number("failures"),
    _text("last_error"),
    _text("wakes"),
    UniqueConstraint("provider", "param", "prid_hash"),
    Index(None, "user_id"),
    Index(None, "binding_id"),
)

upper_servers = Table(
    "upper_servers",
    metadata,
    _id(),
    _text("name", default=None),
    _text("uri", default=None),
    _text("domain"),
    _number("priority"),
    _number("weight", default=1),
    _text("trust"),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    _time("changed_at"),
    UniqueConstraint("name"),
)

upper_registrations = Table(
    "upper_registrations",
    metadata,
    _id(),
    _of("users", "user_id"),
    _of("bindings", "binding_id", nullable=True),
    _text("upper", default=None),
    _text("contact", default=None),
    _text("contact_user"),
    _text("state", default="registered"),
    _text("call_id"),
    _number("cseq", BigInteger),
    _number("last_code"),
    _text("last_reason"),
    _maybe("expires_at"),
    _maybe("next_at"),
    _number("failures"),
    _text("node"),
    _text("service_route"),
    _text("nonce"),
    _text("contact_params"),
    _text("associated"),
    _text("gruus"),
    UniqueConstraint("user_id", "contact"),
    Index(None, "binding_id"),
    Index(None, "contact_user"),
    Index(None, "next_at"),
)

routes = Table(
    "routes",
    metadata,
    _id(),
    _text("name", default=None),
    _number("position"),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    _text("direction"),
    _text("method"),
    _text("caller"),
    _text("called"),
    _text("domain"),
    _text("source"),
    _text("days"),
    _text("hours"),
    _text("upper"),
    _text("rewrite"),
    _text("rewrite_caller"),
    _number("reject"),
    _text("reason"),
    _time("changed_at"),
)

dialogs = Table(
    "dialogs",
    metadata,
    Column("id", Text, primary_key=True),
    _text("call_id"),
    _text("node"),
    _text("caller"),
    _text("callee"),
    _text("upper"),
    _time("started_at"),
    _time("changed_at"),
    _text("body"),
    Index(None, "node"),
)

cdrs = Table(
    "cdrs",
    metadata,
    _id(),
    _text("call_id", default=None),
    _text("caller"),
    _text("callee"),
    _text("upper"),
    _time("started_at"),
    _maybe("ringing_at"),
    _maybe("answered_at"),
    _maybe("ended_at"),
    Column("code", Integer),
    _text("reason"),
    _text("ended_by"),
    _flag("pushed"),
    _maybe("woke_after"),
    _text("node"),
    *(column for party in ("caller", "callee") for column in _media(party)),
    Index(None, "call_id"),
    Index(None, "started_at"),
)

call_events = Table(
    "call_events",
    metadata,
    _id(),
    _text("call_id", default=None),
    _time("at"),
    _text("kind"),
    _text("detail"),
    Index(None, "call_id"),
    Index(None, "at"),
)

pushes = Table(
    "pushes",
    metadata,
    _id(),
    _text("call_id"),
    _text("type"),
    _text("provider"),
    _text("app"),
    Column("user_id", Key),  # no foreign key: the record of a push outlives its user
    _time("sent_at"),
    _number("status"),
    _text("reason"),
    _text("outcome"),
    _maybe("latency"),
    _maybe("woke_after"),
    Index(None, "call_id"),
    Index(None, "sent_at"),
)

messages = Table(
    "messages",
    metadata,
    _id(),
    _of("users", "user_id"),
    _text("call_id"),
    _text("from_uri"),
    _text("to_uri"),
    _text("content_type"),
    Column("body", LargeBinary, nullable=False),
    _text("headers"),
    _time("received_at"),
    _maybe("expires_at"),
    _maybe("delivered_at"),
    _text("state", default="waiting"),
    _number("tries"),
    Index(None, "user_id", "state"),
    Index(None, "received_at"),
)

bans = Table(
    "bans",
    metadata,
    _id(),
    _text("source", default=None),
    _text("reason"),
    _flag("automatic"),
    _time("created_at"),
    _maybe("expires_at"),
    _text("created_by"),
    UniqueConstraint("source"),
)

settings = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    _text("value"),
    _time("changed_at"),
    _text("changed_by"),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    _text("name", default=None),
    _text("hash", default=None),
    _text("role"),
    _time("created_at"),
    _text("created_by"),
    _maybe("expires_at"),
    _maybe("last_used_at"),
    _maybe("revoked_at"),
    UniqueConstraint("name"),
    UniqueConstraint("hash"),
)

audit = Table(
    "audit",
    metadata,
    _id(),
    _time("at"),
    _text("who"),
    _text("source"),
    _text("action"),
    _text("subject"),
    _text("detail"),
    Index(None, "at"),
)

nodes = Table(
    "nodes",
    metadata,
    _id(),
    _text("name", default=None),
    _text("address"),
    _text("state"),
    _time("started_at"),
    _time("seen_at"),
    _number("load"),
    UniqueConstraint("name"),
)
