"""Both engines for every test: a SQLite file, and a private PostgreSQL server where its programs are installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, Text, text
from twisted.python.failure import Failure

from sbc.store import Execute, Operation, Secret
from sbc.store.engine import open_engine
from sbc.store.migrate import upgrade
from sbc.store.reader import Lookups
from sbc.store.tables import metadata
from sbc.store.writer import Commits
from tests.peers.postgres_server import postgres


class Database:
    """A store without threads: what the writer and the reader do, called straight."""

    def __init__(self, url: str, secret: Secret) -> None:
        self.url = url
        self.secret = secret
        self.engine: Engine = open_engine(url)
        self.slept: list[float] = []
        self.now = 1000.0
        self.commits = Commits(self.engine, secret, monotonic=lambda: self.now, sleep=self.sleep)
        self.lookups = Lookups(self.engine, secret)

    @property
    def is_postgresql(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def outcomes(self, *operations: Operation[Any]) -> Sequence[Any]:
        return self.commits.work(operations)

    def write(self, *operations: Operation[Any]) -> Any:
        """Commit in one batch; the last result."""
        outcomes = self.outcomes(*operations)
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                outcome.raiseException()
        return outcomes[-1]

    def read(self, query: Callable[..., Any], *arguments: object) -> Any:
        outcome = self.lookups.work([lambda connection: query(connection, *arguments)])[0]
        if isinstance(outcome, Failure):
            outcome.raiseException()
        return outcome

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        def query(connection: Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.execute(text(sql))]

        found: list[tuple[Any, ...]] = self.read(query)
        return found

    def close(self) -> None:
        self.commits.done()
        self.lookups.done()
        self.engine.dispose()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of an empty database."""
    with postgres(durable=False) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "sbc.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


def _numbered(table: Table) -> bool:
    return "id" in table.c and not isinstance(table.c.id.type, Text)


@pytest.fixture(scope="session")
def server_database(postgresql: str) -> Iterator[Database]:
    """One for all tests: connections to a server cost more than what most tests do with them."""
    made = Database(postgresql, Secret(b"k" * 32))
    upgrade(made.engine)
    yield made
    made.close()


def empty(database: Database) -> None:
    """Quicker than TRUNCATE, which makes new files for every table and index."""
    empty = [f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)]
    first = [f"setval('{name}_id_seq', 1, false)" for name, table in metadata.tables.items() if _numbered(table)]
    database.write(
        Execute(lambda connection: connection.exec_driver_sql("; ".join([*empty, f"SELECT {', '.join(first)}"])))
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "postgresql":
        made = request.getfixturevalue("server_database")
        empty(made)
        made.now, made.slept = 1000.0, []
        yield made
        return
    shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "sbc.db")
    made = Database(f"sqlite:///{tmp_path}/sbc.db", Secret(b"k" * 32))
    yield made
    made.close()
