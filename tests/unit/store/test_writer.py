"""Group commit when all is well and when it is not."""

from __future__ import annotations

import sqlite3
import threading
import time

from sqlalchemy import Connection, text
from twisted.python.failure import Failure

from sbc.sip.errors import RemoteError
from sbc.store import Execute, Secret, StoreError, queries
from sbc.store.journal import SaveSetting
from sbc.store.operations import RemoveUser, SaveRegistration
from sbc.store.records import Binding
from sbc.store.writer import AT_ONCE, BATCH, PATIENCE, SPACING, Commits

from .conftest import Database

OTHERS_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'sbc'"


def setting(name: str) -> SaveSetting:
    return SaveSetting(name=name, value="v", changed_at=1.0, changed_by="")


def bad() -> SaveSetting:
    return SaveSetting(name=None, value="v", changed_at=1.0, changed_by="")  # type: ignore[arg-type]


def refuse(connection: Connection) -> None:
    connection.execute(text("INSERT INTO settings (name) VALUES ('half done')"))
    raise RemoteError(409, b"No")


def test_one_bad_operation_fails_alone_with_its_own_error(database: Database) -> None:
    outcomes = database.outcomes(setting("a"), bad(), setting("b"), Execute(refuse), setting("c"))
    assert [type(outcome.value) if isinstance(outcome, Failure) else outcome for outcome in outcomes] == [
        None,
        StoreError,
        None,
        RemoteError,
        None,
    ]
    assert "SaveSetting" in str(outcomes[1].value)
    assert outcomes[1].value.__cause__ is not None
    assert outcomes[3].value.status == 409
    assert sorted(database.read(queries.settings)) == [("a", "v"), ("b", "v"), ("c", "v")]


def test_the_writer_goes_on_after_a_failure(database: Database) -> None:
    for _ in range(3):
        assert isinstance(database.outcomes(bad())[0], Failure)
        assert database.outcomes(setting("a")) == [None]
    assert database.slept == []


def test_results_belong_to_their_operations_after_a_retry(database: Database) -> None:
    def save(name: str) -> SaveRegistration:
        return SaveRegistration(username=name, domain="x", upper="p", at=1.0, binding=Binding(identity="i", contact=""))

    outcomes = database.outcomes(save("a"), bad(), save("b"), RemoveUser(999))
    names = dict(database.rows("SELECT username, id FROM users"))
    assert (outcomes[0].user_id, outcomes[2].user_id, outcomes[3]) == (names["a"], names["b"], False)


def test_text_that_no_database_stores_fails_alone(database: Database) -> None:
    outcomes = database.outcomes(setting("ok"), setting("\udc80"))
    assert outcomes[0] is None
    assert isinstance(outcomes[1].value, StoreError)


def test_a_full_batch(database: Database) -> None:
    assert database.outcomes(*(setting(f"s{n}") for n in range(BATCH))) == [None] * BATCH
    assert len(database.read(queries.settings)) == BATCH


def test_the_first_commits_after_a_quiet_spell_do_not_wait_the_next_do(database: Database) -> None:
    database.now += 10.0
    for _ in range(AT_ONCE):
        database.commits.gather()
    assert database.slept == []
    for _ in range(3):
        database.commits.gather()
    assert [round(each, 6) for each in database.slept] == [SPACING] * 3
    database.now += 1.0
    database.slept.clear()
    database.commits.gather()
    assert database.slept == []


def test_a_lost_connection_is_opened_again_and_the_batch_repeated(database: Database) -> None:
    database.write(setting("before"))
    if database.is_postgresql:
        database.rows(OTHERS_END)
    else:
        database.commits.done()
    assert database.outcomes(setting("after")) == [None]
    assert len(database.read(queries.settings)) == 2
    assert len(database.slept) <= 1


def test_a_reader_survives_a_lost_connection(database: Database) -> None:
    database.read(queries.settings)
    if database.is_postgresql:
        with database.engine.connect() as connection:
            connection.execute(text(OTHERS_END))
    assert database.read(queries.settings) == []
    assert database.read(queries.subscriber, "a", "b") is None


def test_a_database_that_stays_away_fails_all_with_503() -> None:
    class Away:
        def connect(self) -> None:
            raise OSError("no route")

    slept: list[float] = []
    commits = Commits(Away(), Secret(b"k" * 32), monotonic=lambda: sum(slept), sleep=slept.append)  # type: ignore[arg-type]
    outcomes = commits.work([setting("a"), setting("b")])
    assert [outcome.value.status for outcome in outcomes] == [503, 503]
    assert PATIENCE <= sum(slept) <= PATIENCE + 1


def test_somebody_else_holds_the_lock_for_a_while(database: Database) -> None:
    if database.is_postgresql:
        return  # rows, not files, are locked there
    other = sqlite3.connect(database.url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    database.write(setting("opens the connection"))
    database.commits._open().connection().exec_driver_sql("PRAGMA busy_timeout = 1")
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.05, lambda: other.execute("COMMIT"))
    release.start()
    database.commits._sleep = lambda seconds: release.join()
    assert database.outcomes(setting("a")) == [None]
    other.close()


def test_a_deadlock_with_another_node_costs_a_second_try(database: Database) -> None:
    if not database.is_postgresql:
        return  # one writer at a time: there is nobody to lock each other out
    database.write(setting("a"), setting("b"))
    with database.engine.connect() as other, database.engine.connect() as watch:

        def change(name: str) -> None:
            other.execute(text("UPDATE settings SET value = 'theirs' WHERE name = :name"), {"name": name})

        def cross() -> None:
            """Wait for our "a", once we wait for their "b"."""
            while not watch.execute(blocked, {"pid": pid}).scalar():
                watch.rollback()
                time.sleep(0.01)
            change("a")

        def end(seconds: float) -> None:
            crossing.join()
            other.exec_driver_sql("COMMIT")

        pid = other.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        blocked = text("SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))")
        other.exec_driver_sql("BEGIN")
        other.exec_driver_sql("SET LOCAL deadlock_timeout = '1h'")  # who finds a deadlock is its victim: that is us
        change("b")
        crossing = threading.Thread(target=cross, daemon=True)
        sleep, database.commits._sleep = database.commits._sleep, end
        crossing.start()
        outcomes = database.outcomes(setting("a"), setting("b"))
        database.commits._sleep = sleep
    assert outcomes == [None, None]
    assert sorted(database.read(queries.settings)) == [("a", "v"), ("b", "v")]


def test_readers_cannot_write(database: Database) -> None:
    if database.is_postgresql:
        return  # roles and grants are the operator's there
    outcome = database.lookups.work([lambda connection: connection.execute(text("DELETE FROM settings"))])[0]
    assert "readonly" in str(outcome.value)
