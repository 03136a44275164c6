"""A writing connection of either engine behind three calls: begin, execute, commit.

On SQLite a statement is over when `execute` returns. On PostgreSQL statements go out in a pipeline and their rows come
in when the batch is committed, so a batch costs a few round trips however many statements it has. Operations therefore
do not look at a result while they run (but where `pipelined` is false): they return a function that does, called after
the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy import Connection, Engine


class Statement:
    """SQL that both engines understand, with `?` for each parameter; no other question mark or percent sign in it."""

    __slots__ = ("postgresql", "sqlite")

    def __init__(self, text: str, *, postgresql: str = "") -> None:
        """`postgresql` is put at the `{}` of the text, which is empty for SQLite."""
        text = " ".join(text.split())
        self.sqlite = text.replace("{}", "")
        self.postgresql = text.replace("{}", postgresql).replace("?", "%s")


Rows = Callable[[], Sequence[tuple[Any, ...]]]
"""The rows of a statement; to be called after the commit."""


class Session(Protocol):
    """The writer's connection. `pipelined`: rows come with the commit, so that no statement can use another's."""

    pipelined: bool

    def begin(self) -> None:
        """Start a transaction that may write."""

    def execute(self, statement: Statement, parameters: tuple[object, ...]) -> Rows:
        """Run a statement that returns rows."""

    def run(self, statement: Statement, parameters: tuple[object, ...]) -> None:
        """Run a statement whose outcome nobody reads."""

    def run_all(self, statement: Statement, rows: Sequence[tuple[object, ...]]) -> None:
        """The same for each of these parameters."""

    def connection(self) -> Connection:
        """The SQLAlchemy connection, in this transaction and with everything before it done."""

    def savepoint(self) -> None:
        """From here on, `undo` takes back what came since."""

    def undo(self) -> None:
        """Take back everything since the savepoint; the transaction goes on."""

    def commit(self) -> None:
        """Make it durable. When this returns, a power failure loses nothing of it."""

    def rollback(self) -> None:
        """Leave the transaction, whatever its state."""

    def lost(self, error: BaseException) -> bool:
        """Whether this error says that the database is away or busy, so that the same may work a little later."""

    def close(self) -> None:
        """Give the connection back."""


def open_session(engine: Engine) -> Session:
    """A session on a connection of its own. Raises what the driver raises when the database is away."""
    return SqliteSession(engine) if engine.dialect.name == "sqlite" else PostgresqlSession(engine)


class SqliteSession:
    """Statements run at once; the commit is one fsync of the write-ahead log."""

    pipelined = False

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.connect()
        driver: Any = self._connection.connection.driver_connection
        self._cursor = driver.cursor()

    def begin(self) -> None:
        self._cursor.execute("BEGIN IMMEDIATE")

    def execute(self, statement: Statement, parameters: tuple[object, ...]) -> Rows:
        # All rows now: a statement with rows left would keep the transaction from being committed.
        rows: list[tuple[Any, ...]] = self._cursor.execute(statement.sqlite, parameters).fetchall()
        return lambda: rows

    def run(self, statement: Statement, parameters: tuple[object, ...]) -> None:
        self._cursor.execute(statement.sqlite, parameters)

    def run_all(self, statement: Statement, rows: Sequence[tuple[object, ...]]) -> None:
        self._cursor.executemany(statement.sqlite, rows)

    def connection(self) -> Connection:
        return self._connection

    def savepoint(self) -> None:
        self._cursor.execute("SAVEPOINT one")

    def undo(self) -> None:
        self._cursor.execute("ROLLBACK TO one")

    def commit(self) -> None:
        self._cursor.execute("COMMIT")

    def rollback(self) -> None:
        if self._cursor.connection.in_transaction:
            self._cursor.execute("ROLLBACK")

    def lost(self, error: BaseException) -> bool:
        code = getattr(error, "sqlite_errorcode", None)
        # The low byte is the primary result code: BUSY 5, LOCKED 6, IOERR 10, FULL 13, CANTOPEN 14, PROTOCOL 15.
        return code is not None and code & 0xFF in (5, 6, 10, 13, 14, 15)

    def close(self) -> None:
        self._connection.close()


_PASSING = ("40", "53", "57P", "58", "25006", "55P03")
"""SQLSTATEs that say nothing against the statement: deadlock with another node or serialization (40), no disk, memory
or connections (53), shutdown (57P), I/O error (58), a server that became a replica (25006), a lock not had (55P03)."""


class PostgresqlSession:
    """Statements travel in a pipeline that ends at the commit."""

    pipelined = True

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.connect()
        driver: Any = self._connection.connection.driver_connection
        self._driver = driver
        self._scratch = self._driver.cursor()
        self._pipeline: AbstractContextManager[Any] | None = None

    def _enter(self) -> None:
        if self._pipeline is None:
            self._pipeline = self._driver.pipeline()
            self._pipeline.__enter__()

    def _leave(self) -> None:
        """End the pipeline: waits for everything in it and raises the first error."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.__exit__(None, None, None)

    def begin(self) -> None:
        self._enter()
        self._scratch.execute("BEGIN")

    def execute(self, statement: Statement, parameters: tuple[object, ...]) -> Rows:
        self._enter()
        cursor = self._driver.cursor()
        cursor.execute(statement.postgresql, parameters)
        return cursor.fetchall  # type: ignore[no-any-return]

    def run(self, statement: Statement, parameters: tuple[object, ...]) -> None:
        self._enter()
        self._scratch.execute(statement.postgresql, parameters)

    def run_all(self, statement: Statement, rows: Sequence[tuple[object, ...]]) -> None:
        self._enter()
        self._scratch.executemany(statement.postgresql, rows)

    def connection(self) -> Connection:
        self._leave()
        return self._connection

    def savepoint(self) -> None:
        self._leave()
        self._scratch.execute("SAVEPOINT one")

    def undo(self) -> None:
        self._abandon()
        self._scratch.execute("ROLLBACK TO one")

    def commit(self) -> None:
        # Only after everything before it was seen to work: the COMMIT of a failed transaction is a silent ROLLBACK.
        self._leave()
        self._scratch.execute("COMMIT")

    def rollback(self) -> None:
        self._abandon()
        self._scratch.execute("ROLLBACK")

    def _abandon(self) -> None:
        try:
            self._leave()
        except self._driver.Error:
            return  # the error that is being answered by this very call

    def lost(self, error: BaseException) -> bool:
        state = getattr(error, "sqlstate", None) or ""
        return bool(self._driver.closed) or bool(self._driver.broken) or state.startswith(_PASSING)

    def close(self) -> None:
        if self._driver.closed or self._driver.broken:
            self._connection.invalidate()
        self._connection.close()
