"""Whose a push token is, and what becomes of its device when it goes."""

from __future__ import annotations

import pytest

from sbc.store import queries
from sbc.store.dead import RemoveDeadDevice, StopKeeping
from sbc.store.operations import MarkToken, RemoveToken, TouchToken

from .conftest import Database
from .registering import Given, alice, register


def test_a_new_token_replaces_the_old_one_of_the_device(database: Database) -> None:
    database.write(register(tokens=(Given("old"),)))
    database.write(register(tokens=(Given("new"),), at=101.0))
    assert [token.prid for token in alice(database).targets[0].tokens] == ["new"]


def test_a_register_without_token_keeps_push_and_a_null_token_ends_it(database: Database) -> None:
    database.write(register(tokens=(Given("T"),)))
    database.write(register(at=101.0))
    assert alice(database).targets[0].binding.push is True
    assert len(alice(database).targets[0].tokens) == 1
    database.write(register(at=102.0, unbind_tokens=True))
    assert alice(database).targets[0].binding.push is False
    assert alice(database).targets[0].tokens == ()


def test_a_token_that_moves_leaves_its_old_user(database: Database) -> None:
    database.write(register("alice", tokens=(Given("T"),)))
    database.write(register("bob", tokens=(Given("T"),), at=101.0))
    (left,) = alice(database).targets
    assert (left.tokens, left.binding.push) == ((), False)
    (came,) = database.read(queries.subscriber, "bob", "pbx.example.com").targets
    assert (came.tokens[0].prid, came.binding.push) == ("T", True)


def test_a_device_that_keeps_another_token_stays_a_push_device(database: Database) -> None:
    database.write(register("alice", tokens=(Given("T"), Given("U", provider="fcm"))))
    database.write(register("bob", tokens=(Given("T"),), at=101.0))
    assert alice(database).targets[0].binding.push is True


def test_a_user_without_push_is_not_kept(database: Database) -> None:
    user = {"username": "alice", "domain": "pbx.example.com", "upper": "pbx"}
    database.write(register("alice", tokens=(Given("T"),)))
    database.write(StopKeeping(**user))
    assert database.read(queries.next_due_at) is not None, "there is a token"
    database.write(register("alice", unbind_tokens=True))
    database.write(StopKeeping(**user))
    assert database.read(queries.next_due_at) is None


def test_a_device_goes_with_its_last_token(database: Database) -> None:
    database.write(register("alice", tokens=(Given("T"), Given("U", provider="fcm"))))
    for provider, prid, left in (("apns", "T", 1), ("fcm", "U", 0)):
        dead = {"provider": provider, "param": "com.example.phone", "prid": prid}
        database.write(MarkToken(**dead, at=1e9, dead=True))
        database.write(RemoveDeadDevice(**dead))
        assert len(alice(database).targets) == left
    assert database.read(queries.next_due_at) is None


@pytest.mark.parametrize("accepted", [True, False])
def test_how_a_push_ended_is_kept_with_its_token(database: Database, accepted: bool) -> None:
    database.write(register(tokens=(Given("T"),)))
    token = {"provider": "apns", "param": "com.example.phone", "prid": "T"}
    database.write(MarkToken(**token, at=110.0, error="x" * 9999))
    database.write(
        MarkToken(**token, at=120.0, accepted=accepted, environment="sandbox", error="Unregistered", dead=not accepted)
    )
    found = database.read(queries.token, "apns", "com.example.phone", "T")
    if accepted:
        assert (found.state, found.failures, found.last_error, found.environment) == ("live", 0, "", "sandbox")
        return
    assert (found.state, found.failures, found.last_error, found.pushed_at) == ("dead", 2, "Unregistered", 120.0)
    assert alice(database).targets[0].binding.push is False
    assert alice(database).targets[0].tokens == ()
    assert [each.state for each in database.read(queries.tokens, 1)] == ["dead"]
    database.write(register(tokens=(Given("T"),), at=130.0))
    assert alice(database).targets[0].binding.push is True
    assert alice(database).targets[0].tokens[0].state == "live"
    # News about a push from before that REGISTER come too late.
    database.write(MarkToken(**token, at=125.0, dead=True))
    assert alice(database).targets[0].tokens[0].state == "live"


def test_a_device_with_a_second_token_stays_a_push_device(database: Database) -> None:
    database.write(register(tokens=(Given("T1"), Given("T2", kind="remote"))))
    database.write(RemoveToken("apns", "com.example.phone", "T1"))
    assert alice(database).targets[0].binding.push is True
    database.write(RemoveToken("apns", "com.example.phone", "T2"))
    assert alice(database).targets[0].binding.push is False


def test_waking_up_is_noted(database: Database) -> None:
    database.write(register(tokens=(Given("T"),)))
    database.write(TouchToken(binding_id=1, at=140.0, call_id="c", after=2.5))
    assert alice(database).targets[0].tokens[0].woke_at == 140.0


def test_a_token_given_twice_is_one(database: Database) -> None:
    database.write(register(tokens=(Given("T"), Given("T"))))
    database.write(register(tokens=(Given("T"), Given("T")), at=101.0))
    assert len(alice(database).targets[0].tokens) == 1
