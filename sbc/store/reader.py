"""Look-ups on a connection of their own: every statement sees what is committed when it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from sbc.sip.errors import LocalError, RemoteError
from sbc.store.operation import StoreError
from sbc.store.queries import SECRET
from sbc.store.secret import Secret
from sbc.store.worker import failed

Query = Callable[[Connection], Any]

BATCH = 64
"""Look-ups answered by one call into the reactor."""


class Lookups:
    """Runs queries one after the other. Lives in a reader's thread."""

    def __init__(self, engine: Engine, secret: Secret) -> None:
        self._engine = engine
        self._secret = secret
        self._connection: Connection | None = None

    def work(self, queries: Sequence[Query]) -> Sequence[Any]:
        """A result or a Failure for each query."""
        return [self._one(query) for query in queries]

    def done(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _one(self, query: Query) -> Any:
        fresh = self._connection is None
        try:
            return query(self._open())
        except (RemoteError, LocalError) as error:
            return failed(error)
        except Exception as error:  # noqa: BLE001 -- a query is anybody's code; its failure is its caller's
            if not self._broken(error):
                return failed(StoreError(f"a query failed: {type(error).__name__}: {error}"))
        # The server closed the connection since the last query, or was restarted: one more try on a new one.
        return failed(RemoteError(503, b"Database Unavailable")) if fresh else self._one(query)

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._connection.info[SECRET] = self._secret
            if self._engine.dialect.name == "sqlite":
                self._connection.exec_driver_sql("PRAGMA query_only = ON")
        return self._connection

    def _broken(self, error: Exception) -> bool:
        """Whether the connection is of no more use; it is then dropped."""
        connection = self._connection
        if connection is None:
            return True
        driver: Any = connection.connection.driver_connection if not connection.invalidated else None
        lost = connection.invalidated or bool(getattr(driver, "closed", False))
        if not lost and not (isinstance(error, DBAPIError) and error.connection_invalidated):
            return False
        connection.invalidate()
        connection.close()
        self._connection = None
        return True
