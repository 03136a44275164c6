"""The store as a service: one writing thread, one for look-ups that calls wait for, one for reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads

from sbc.store import reader, writer
from sbc.store.engine import open_engine
from sbc.store.migrate import require_key, upgrade
from sbc.store.operation import Operation
from sbc.store.secret import Secret
from sbc.store.worker import Worker

T = TypeVar("T")

WRITES_WAITING = 20_000
"""Operations queued at most, about 40 MB: some seconds of the highest load; beyond it 503 is the better answer."""
READS_WAITING = 20_000
"""Look-ups queued at most."""
REPORTS_WAITING = 100
"""Reports queued at most: they are people's, and take seconds."""


class Store(Service):
    """Writes with group commit, reads beside it.

    The schema is brought up to date when the service starts. Deferreds fire in the reactor thread, one call from the
    threads a batch. They fail with RemoteError 503 when the database is away or too much is queued, with StoreError
    when it refuses an operation.
    """

    def __init__(self, reactor: IReactorFromThreads, url: str, secret: Secret) -> None:
        self._engine: Engine = open_engine(url)
        self._secret = secret
        commits = writer.Commits(self._engine, secret)
        lookups, reports = reader.Lookups(self._engine, secret), reader.Lookups(self._engine, secret)
        hop = reactor.callFromThread
        self._writer: Worker[Operation[Any]] = Worker(
            "store-writer", commits.work, hop, batch=writer.BATCH, limit=WRITES_WAITING, gather=commits.gather,
            done=commits.done,
        )  # fmt: skip
        self._reader: Worker[reader.Query] = Worker(
            "store-reader", lookups.work, hop, batch=reader.BATCH, limit=READS_WAITING, done=lookups.done
        )
        self._reports: Worker[reader.Query] = Worker(
            "store-reports", reports.work, hop, batch=1, limit=REPORTS_WAITING, done=reports.done
        )
        self._stopping: Deferred[None] | None = None

    def startService(self) -> None:
        """Bring the schema up to date, then start the threads. Blocks; raises when the database cannot be used."""
        upgrade(self._engine)
        require_key(self._engine, self._secret)
        for worker in self._workers():
            worker.start()
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> Deferred[None]:
        """Commit everything queued, answer every look-up, then end the threads."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._stopping is None:
            stopped = gatherResults([worker.stop() for worker in self._workers()])
            self._stopping = stopped.addCallback(self._dispose)
        return self._stopping

    def write(self, operation: Operation[T]) -> Deferred[T]:
        """Fires with the operation's result after the commit that made it durable."""
        return self._writer.give(operation)

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        """Fires with what the query returns. For look-ups that take microseconds: everything else is a `report`."""
        return self._reader.give(query)

    def report(self, query: Callable[[Connection], T]) -> Deferred[T]:
        """The same for a query that may take long: no call waits behind it."""
        return self._reports.give(query)

    @property
    def waiting(self) -> tuple[int, int, int]:
        """Operations, look-ups and reports that are not answered yet."""
        return self._writer.waiting, self._reader.waiting, self._reports.waiting

    def _workers(self) -> tuple[Worker[Any], ...]:
        return self._writer, self._reader, self._reports

    def _dispose(self, _: object) -> None:
        self._engine.dispose()
