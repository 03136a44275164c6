"""Connections: how each engine is opened so that a commit is durable and nobody waits for ever."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from sbc.sip.errors import LocalError

BUSY_SECONDS = 5
"""How long SQLite waits for another process (an admin's sqlite3) that holds the write lock."""
CONNECT_SECONDS = 5
"""How long to wait for a PostgreSQL server to answer."""
CACHE_KIB = 2048
"""Pages that each SQLite connection keeps; the rest is the operating system's cache, which is not ours to count."""


def open_engine(url: str) -> Engine:
    """The engine of a database URL; makes the directory of a SQLite file. LocalError for a URL nobody can use."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise LocalError("database.url is not a database URL") from None
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed.database or "")
    if parsed.get_backend_name() != "postgresql":
        raise LocalError(f"database.url: {parsed.get_backend_name()} is not supported; use sqlite or postgresql")
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,  # errors are logged, parameters are people's
        connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": "sbc"},
    )


def _sqlite(path: str) -> Engine:
    if not path or path == ":memory:":
        raise LocalError("database.url must name a file: writer and readers are connections of their own")
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        # Users and their calls are nobody else's business; SQLite gives its other files the mode of this one.
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,  # errors are logged, parameters are people's
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, record: object) -> None:
    """WAL with synchronous=FULL: a commit is on disk when it returns, and readers never wait for the writer."""
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", f"cache_size = -{CACHE_KIB}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
