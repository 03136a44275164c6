"""Refreshes that cannot wait, without all of them at once."""

from __future__ import annotations

from sbc.store import Execute, queries
from sbc.store.housekeeping import RemoveGoneUsers
from sbc.store.operations import SaveRegistration, UpdateUpperRegistration
from sbc.store.pacing import BringForward, EndKeeping

from .conftest import Database


def register(database: Database, count: int, upper: str = "pbx", next_at: float | None = 3400.0) -> None:
    database.write(
        *(
            SaveRegistration(
                username=f"user{number}",
                domain="pbx.example.com",
                upper=upper,
                at=100.0,
                upper_contact=f"sip:{upper}{number}@203.0.113.5:5060",
                upper_expires_at=3700.0,
                next_at=next_at,
            )
            for number in range(count)
        )
    )


def due(database: Database) -> list[float]:
    return sorted(row.next_at for _, row in database.read(queries.due_registrations, 1e9, 10_000) if row.next_at)


def test_they_are_spread_over_the_time(database: Database) -> None:
    register(database, 50)
    assert database.write(BringForward(upper="pbx", at=1000.0, over=997.0)) == 0, "no more of them"
    assert due(database) == [1001.0 + number for number in range(50)]


def test_none_is_put_off_and_none_is_refreshed_that_is_not_kept(database: Database) -> None:
    register(database, 3, next_at=1010.0)
    register(database, 2, "other")
    register(database, 4, "third", next_at=None)
    database.write(BringForward(upper="pbx", at=1000.0, over=30.0))
    database.write(BringForward(upper="third", at=1000.0, over=30.0))
    assert due(database) == [1010.0] * 3 + [3400.0] * 2


def test_piece_by_piece(database: Database) -> None:
    register(database, 5)
    after, left = 0, []
    while True:
        after = database.write(BringForward(upper="pbx", at=1000.0, over=30.0, after=after, span=2))
        left.append(due(database).count(3400.0))
        if not after:
            break
    assert left == [3, 1, 0]


def test_only_those_that_failed(database: Database) -> None:
    register(database, 3)
    [row] = database.read(queries.upper_registrations, 2)
    changed = {name: getattr(row, name) for name in row.__slots__} | {"state": "failing"}
    database.write(UpdateUpperRegistration(type(row)(**changed)))
    database.write(BringForward(upper="pbx", at=1000.0, over=30.0, failing=True))
    assert [next_at < 1031.0 for next_at in due(database)] == [True, False, False]


def test_what_is_not_resumed_at_a_start(database: Database) -> None:
    register(database, 3)
    database.write(EndKeeping(node="", seen_before=100.0))
    assert len(due(database)) == 3, "all were seen at 100"
    assert [database.write(EndKeeping(node="", seen_before=float("inf"), limit=2)) for _ in range(3)] == [2, 1, 0]
    assert due(database) == []


def test_another_nodes_registrations_go_on(database: Database) -> None:
    register(database, 2)
    assert database.write(EndKeeping(node="edge-2", seen_before=float("inf"))) == 0


def test_the_absent_are_looked_for_a_span_of_users_at_a_time(database: Database) -> None:
    register(database, 10)
    database.write(
        Execute(
            lambda connection: connection.exec_driver_sql(
                "UPDATE users SET last_seen_at = 900 WHERE id - id / 2 * 2 = 0"
            )
        )
    )
    after, looked = 0, 0
    while looked == 0 or after:
        after = database.write(RemoveGoneUsers(500.0, after=after, limit=2, span=4))
        looked += 1
        assert looked < 20
    assert database.rows("SELECT count(*), min(last_seen_at) FROM users") == [(5, 900.0)]
    assert looked >= 4
