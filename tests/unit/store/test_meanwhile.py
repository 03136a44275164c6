"""A refresh takes its time: what a REGISTER or an operator has changed in between is not undone by its outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sbc.store import queries
from sbc.store.dead import StopKeeping
from sbc.store.housekeeping import LeaseRegistrations
from sbc.store.operations import RemoveBinding, UpdateUpperRegistration
from sbc.store.pacing import BringForward
from sbc.store.records import UpperRegistration, User

from .conftest import Database
from .registering import Given, alice, register

USER = {"username": "alice", "domain": "pbx.example.com", "upper": "pbx"}


def leased(database: Database) -> tuple[User, UpperRegistration]:
    """What the refresher gets at 3,500 of a registration that was made at 100."""
    database.write(register(ha1="a" * 32, tokens=(Given("T"),)))
    [found] = database.write(LeaseRegistrations(node="n", now_at=3500.0, until_at=3560.0, limit=9))
    return found  # type: ignore[no-any-return]


def now(database: Database) -> UpperRegistration:
    [row] = database.read(queries.upper_registrations, 1)
    return row  # type: ignore[no-any-return]


def outcome(row: UpperRegistration, **changes: Any) -> UpdateUpperRegistration:
    stands = {"state": "failing", "cseq": row.cseq + 2, "last_code": 503, "expires_at": None, "next_at": 3530.0}
    return UpdateUpperRegistration(replace(row, **{**stands, **changes}), row)


def test_what_nobody_has_changed_is_written(database: Database) -> None:
    _, row = leased(database)
    assert database.write(outcome(row)) is True
    assert (now(database).state, now(database).cseq, now(database).next_at) == ("failing", 3, 3530.0)
    [(_, again)] = database.write(LeaseRegistrations(node="n", now_at=3540.0, until_at=3600.0, limit=9))
    fresh = {"state": "registered", "last_code": 200, "expires_at": 7000.0, "next_at": 6000.0}
    assert database.write(outcome(again, **fresh)) is True
    assert (now(database).state, now(database).cseq) == ("registered", 5)


@pytest.mark.parametrize("state", ["failing", "rejected", "registered"])
def test_a_register_in_between_counts(database: Database, state: str) -> None:
    _, row = leased(database)
    database.write(register(at=3510.0, upper_expires_at=7110.0, next_at=6800.0))
    assert database.write(outcome(row, state=state, expires_at=5000.0, next_at=None)) is False
    found = now(database)
    assert (found.state, found.expires_at, found.next_at) == ("registered", 7110.0, 6800.0)
    assert found.cseq == row.cseq + 2, "the upper server has seen that number in this call"


@pytest.mark.parametrize(
    "ended",
    [lambda: RemoveBinding(**USER, identity=None), lambda: register(at=3510.0, upper_contact="sip:other@203.0.113.5")],
)
def test_an_end_in_between_is_the_end(database: Database, ended: Callable[[], Any]) -> None:
    _, row = leased(database)
    database.write(ended())
    assert database.write(outcome(row)) is False
    found = database.read(queries.upper_registrations, 1)[0]
    assert (found.state, found.next_at) == ("ended", None)


def test_a_user_without_push_is_not_refreshed_again(database: Database) -> None:
    _, row = leased(database)
    database.write(register(at=3510.0, upper_contact=None, unbind_tokens=True), StopKeeping(**USER))
    assert database.write(outcome(row)) is False
    assert now(database).next_at is None


def test_one_that_was_to_be_refreshed_sooner_is_refreshed(database: Database) -> None:
    _, row = leased(database)
    database.write(BringForward(upper="pbx", at=3501.0, over=30.0))
    assert database.write(outcome(row)) is True


def test_one_that_is_not_kept_can_be_ended(database: Database) -> None:
    database.write(register(next_at=None))
    row = now(database)
    assert database.write(outcome(row, state="ended", next_at=None)) is True


def test_the_devices_of_a_user_that_came_back_stay(database: Database) -> None:
    user, _ = leased(database)
    database.write(register(at=3510.0))
    assert database.write(RemoveBinding(**USER, identity=None, unseen_since=user.last_seen_at)) == 0
    assert len(alice(database).targets) == 1
    assert now(database).state == "registered"
    assert database.write(RemoveBinding(**USER, identity=None, unseen_since=3510.0)) == 1
