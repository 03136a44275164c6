"""What a REGISTER leaves behind, and who finds it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from sbc.store import queries
from sbc.store.housekeeping import ExpireBindings, LeaseRegistrations, RemoveGoneUsers
from sbc.store.operations import (
    Execute,
    ForgetHa1,
    GivenHa1s,
    RemoveBinding,
    RemoveUser,
    SaveHa1s,
    SaveRegistration,
    UpdateUpperRegistration,
)
from sbc.store.records import Binding

from .conftest import Database
from .registering import Given, alice, phone, register


def test_all_that_a_register_says_is_found_again(database: Database) -> None:
    device = phone(
        instance="<urn:uuid:1>",
        reg_id=1,
        transport="TLS",
        source="198.51.100.7:4001",
        flow="tls/7",
        node="edge-1",
        user_agent="Phone/1",
        call_id="c1",
        cseq=4_000_000_000,
        path="<sip:edge;lr>",
    )
    saved = database.write(
        register(
            realm="asterisk",
            auth_username="100",
            ha1="0" * 32,
            user_agent="Phone/1",
            binding=device,
            tokens=(Given("T1"), Given("T2", kind="remote")),
            purr="purr1",
            node="edge-1",
        )
    )
    assert saved == SaveRegistration.Result(1, 1, 1)
    found = alice(database)
    assert (found.user.id, found.user.realm, found.user.auth_username, found.user.ha1) == (
        1,
        "asterisk",
        "100",
        "0" * 32,
    )
    assert (found.user.created_at, found.user.last_seen_at, found.user.state) == (100.0, 100.0, "active")
    (target,) = found.targets
    assert target.binding == Binding(
        **{
            name: getattr(device, name) for name in device.__slots__ if name not in ("id", "user_id", "push", "seen_at")
        },
        id=1,
        user_id=1,
        push=True,
        seen_at=100.0,
    )
    assert sorted((token.prid, token.kind, token.purr, token.state) for token in target.tokens) == [
        ("T1", "voip", "purr1", "live"),
        ("T2", "remote", "purr1", "live"),
    ]
    (upper,) = database.read(queries.upper_registrations, 1)
    assert (upper.state, upper.call_id, upper.cseq, upper.last_code, upper.node) == (
        "registered",
        "first@sbc",
        1,
        200,
        "edge-1",
    )


def test_the_domain_is_found_in_any_case_the_username_only_as_it_is(database: Database) -> None:
    database.write(register("Alice", domain="PBX.Example.COM"))
    assert database.read(queries.subscriber, "Alice", "pbx.EXAMPLE.com") is not None
    assert database.read(queries.subscriber, "alice", "pbx.example.com") is None


def test_a_user_is_found_by_its_upper_contact(database: Database) -> None:
    database.write(register("alice"), register("bob"))
    assert database.read(queries.subscriber_by_contact, "op-bob").user.username == "bob"
    assert database.read(queries.subscriber_by_contact, "op-carol") is None
    assert database.read(queries.subscriber_by_id, 1).user.username == "alice"


def test_a_mirrored_contact_finds_only_its_device(database: Database) -> None:
    database.write(
        register(binding=phone("desk"), upper_contact="sip:d@h", mirror=True),
        register(binding=phone("cell"), upper_contact="sip:c@h", mirror=True),
    )
    assert len(alice(database).targets) == 2
    (only,) = database.read(queries.subscriber_by_contact, "c").targets
    assert only.binding.identity == "cell"
    database.write(RemoveBinding(username="alice", domain="pbx.example.com", upper="pbx", identity="cell"))
    assert database.read(queries.subscriber_by_contact, "c") is None


def test_a_refresh_changes_rows_and_makes_none(database: Database) -> None:
    database.write(register(realm="r", ha1="1" * 32, user_agent="Phone/1", tokens=(Given("T"),)))
    database.write(UpdateUpperRegistration(database.read(queries.upper_registrations, 1)[0]))
    again = register(at=200.0, tokens=(Given("T", environment=""),), upper_call_id="other", upper_expires_at=3800.0)
    assert database.write(again) == SaveRegistration.Result(1, 1, 1)
    for table in ("users", "bindings", "push_tokens", "upper_registrations"):
        assert database.rows(f"SELECT count(*) FROM {table}") == [(1,)]
    found = alice(database)
    assert (found.user.ha1, found.user.realm, found.user.user_agent) == ("1" * 32, "r", "Phone/1")
    assert (found.user.created_at, found.user.last_seen_at) == (100.0, 200.0)
    assert found.targets[0].tokens[0].environment == "production"
    (upper,) = database.read(queries.upper_registrations, 1)
    assert (upper.call_id, upper.expires_at) == ("first@sbc", 3800.0)


def test_order_holds_within_a_batch(database: Database) -> None:
    gone = RemoveBinding(username="alice", domain="pbx.example.com", upper="pbx", identity=None)
    outcomes = database.outcomes(register(), gone, register("bob"), register(binding=phone("new")), gone, register())
    assert [outcome if isinstance(outcome, int) else outcome.user_id for outcome in outcomes] == [1, 1, 2, 1, 1, 1]
    assert [target.binding.identity for target in alice(database).targets] == ["phone"]


def test_without_a_binding_only_the_user_and_its_upper_registration_change(database: Database) -> None:
    database.write(register(tokens=(Given("T"),)))
    saved = database.write(register(binding=None, at=150.0, next_at=None))
    assert saved == SaveRegistration.Result(1, None, 1)
    assert alice(database).user.last_seen_at == 150.0
    assert len(alice(database).targets[0].tokens) == 1
    assert database.read(queries.next_due_at) is not None, "who says nothing of refreshes leaves them as they are"


def test_a_device_goes_with_all_its_flows_or_with_one(database: Database) -> None:
    names = ("i:<a_b>", "i:<a_b>;reg-id=2", "i:<a_b>;reg-id=3", "i:<axb>;reg-id=2", "i:<a_b>c")
    database.write(*(register(binding=phone(name)) for name in names))

    def remove(identity: str, **more: Any) -> list[str]:
        database.write(
            RemoveBinding(username="alice", domain="pbx.example.com", upper="pbx", identity=identity, **more)
        )
        return [target.binding.identity for target in alice(database).targets]

    assert remove("i:<a_b>;reg-id=3") == [name for name in names if name != "i:<a_b>;reg-id=3"]
    assert remove("i:<a_b>", all_flows=True) == ["i:<axb>;reg-id=2", "i:<a_b>c"]


def test_with_the_last_device_the_upper_registration_ends(database: Database) -> None:
    database.write(register(binding=phone("a"), tokens=(Given("T"),)), register(binding=phone("b")))

    def remove(identity: str | None) -> Any:
        gone = database.write(RemoveBinding(username="alice", domain="pbx.example.com", upper="pbx", identity=identity))
        return gone, database.read(queries.upper_registrations, 1)[0].state

    assert remove("a") == (1, "registered")
    assert database.rows("SELECT count(*) FROM push_tokens") == [(0,)]
    assert remove("nobody's") == (0, "registered")
    assert remove(None) == (1, "ended")
    assert database.read(queries.next_due_at) is None
    assert alice(database).targets == ()
    assert database.write(RemoveUser(1)) is True
    assert database.write(RemoveUser(1)) is False
    assert database.rows("SELECT count(*) FROM upper_registrations") == [(0,)]


def test_secrets_are_not_in_the_rows(database: Database) -> None:
    database.write(register(ha1="deadbeef" * 4, tokens=(Given("TOKENTOKEN"),)))
    ((ha1,),) = database.rows("SELECT ha1 FROM users")
    ((prid, digest),) = database.rows("SELECT prid, prid_hash FROM push_tokens")
    assert b"deadbeef" not in bytes(ha1)
    assert b"TOKEN" not in bytes(prid)
    assert digest == hashlib.sha256(b"TOKENTOKEN").hexdigest()
    assert database.read(queries.token, "apns", "com.example.phone", "TOKENTOKEN").binding_id == 1
    database.write(ForgetHa1(1, "f" * 32))
    assert alice(database).user.ha1 == "deadbeef" * 4, "another than the one that is wrong"
    database.write(ForgetHa1(1, "deadbeef" * 4))
    assert alice(database).user.ha1 == ""


def test_an_app_that_says_one_ha1_keeps_the_others_until_it_says_another(database: Database) -> None:
    first, more = "1" * 32, "2" * 64
    database.write(register(ha1=f"{first},{more}"))
    assert alice(database).user.ha1 == f"{first},{more}"
    database.write(register(ha1=first))
    database.write(register())
    assert alice(database).user.ha1 == f"{first},{more}", "the same password"
    database.write(register(ha1=f"{first},{'3' * 64}"))
    assert alice(database).user.ha1 == f"{first},{'3' * 64}", "all that it says is taken"
    ((sealed,),) = database.rows("SELECT more_ha1 FROM users")
    assert b"333" not in bytes(sealed)
    database.write(register(ha1="4" * 32))
    assert alice(database).user.ha1 == "4" * 32, "another password"
    database.write(register(ha1=f"{first},{more}"))
    database.write(ForgetHa1(1, f"{'9' * 32},{more}"))
    assert alice(database).user.ha1 == f"{first},{more}", "others than those that are wrong"
    database.write(ForgetHa1(1, f"{first},{more}"))
    assert alice(database).user.ha1 == ""
    assert database.rows("SELECT more_ha1 FROM users") == [(None,)]


def test_ha1s_given_by_hand(database: Database) -> None:
    database.write(register(ha1="1" * 32, realm="old", tokens=(Given("T"),)))
    for state in ("rejected", "needs_wake"):
        query = text(f"UPDATE upper_registrations SET state = '{state}', next_at = NULL")
        database.write(Execute(lambda connection, query=query: connection.execute(query)))
        told = ("pbx.example.com", "pbx", "r", "100", f"{'5' * 32},{'6' * 64}")
        assert database.write(SaveHa1s((GivenHa1s("alice", *told), GivenHa1s("bob", *told)), 150.0)) == 2
        user = alice(database).user
        assert (user.id, user.realm, user.auth_username, user.ha1) == (1, "r", "100", f"{'5' * 32},{'6' * 64}")
        assert database.read(queries.next_due_at) == 150.0, "tried again with them"
    bob = database.read(queries.subscriber, "bob", "pbx.example.com")
    assert (bob.targets, bob.user.ha1) == ((), f"{'5' * 32},{'6' * 64}"), "who has not registered yet"


def test_due_registrations_are_leased_once(database: Database) -> None:
    database.write(*(register(f"user{n}", next_at=1000.0 + n) for n in range(5)), register("later", next_at=9000.0))
    assert [user.username for user, _ in database.read(queries.due_registrations, 1003.0, 2)] == ["user0", "user1"]
    lease = LeaseRegistrations(node="edge-2", now_at=1003.0, until_at=1063.0, limit=3)
    first = database.write(lease)
    assert [(user.username, row.node, row.next_at) for user, row in first] == [
        (f"user{n}", "edge-2", 1063.0) for n in range(3)
    ]
    assert [user.username for user, _ in database.write(lease)] == ["user3"]
    assert database.write(lease) == []
    assert database.read(queries.next_due_at) == 1004.0


def test_more_than_one_chunk_is_leased(database: Database) -> None:
    database.write(*(register(f"user{n:03}", next_at=1000.0) for n in range(150)))
    leased = database.write(LeaseRegistrations(node="n", now_at=1000.0, until_at=2000.0, limit=150))
    assert sorted(user.username for user, _ in leased) == [f"user{n:03}" for n in range(150)]


def test_nobody_refreshes_for_the_absent(database: Database) -> None:
    database.write(register("away", at=100.0), register("here", at=900.0))
    leased = database.write(LeaseRegistrations(node="n", now_at=5000.0, until_at=6000.0, limit=10, seen_after=500.0))
    assert [user.username for user, _ in leased] == ["here"]
    assert [(row.state, row.next_at) for row in database.read(queries.upper_registrations, 1)] == [("ended", None)]
    assert database.read(queries.next_due_at) == 6000.0
    assert database.write(RemoveGoneUsers(500.0)) == 0
    assert database.rows("SELECT username FROM users") == [("here",)]


def test_devices_without_push_end_by_time(database: Database) -> None:
    database.write(
        register("plain"),
        register("pushed", tokens=(Given("T"),)),
        register("two", binding=phone("a")),
        register("two", binding=phone("b", expires_at=9000.0)),
    )
    assert database.write(ExpireBindings(701.0, limit=1)) == 1
    assert database.write(ExpireBindings(701.0)) == 1
    assert database.write(ExpireBindings(701.0)) == 0
    assert database.rows(
        "SELECT username, r.state FROM upper_registrations r JOIN users u ON u.id = r.user_id ORDER BY 1"
    ) == [
        ("plain", "ended"),
        ("pushed", "registered"),
        ("two", "registered"),
    ]


def test_counts(database: Database) -> None:
    database.write(register("a"), register("b", tokens=(Given("T"),)))
    counts = database.read(queries.counts)
    assert (counts.users, counts.bindings) == (2, {"push": 1, "plain": 1})
    assert counts.registrations == {("pbx", "registered"): 2}


def test_of_two_accounts_of_one_name_the_one_seen_last_is_found(database: Database) -> None:
    database.write(register(upper="old", at=100.0), register(upper="new", at=200.0))
    assert alice(database).user.upper == "new"


def test_a_new_upper_contact_ends_the_former(database: Database) -> None:
    database.write(register(), register("bob"))
    database.write(register(at=200.0, upper_contact="sip:moved@203.0.113.9"))
    assert [(row.contact, row.state, row.next_at) for row in database.read(queries.upper_registrations, 1)] == [
        ("sip:op-alice@203.0.113.5:5060", "ended", None),
        ("sip:moved@203.0.113.9", "registered", 3400.0),
    ]
    assert database.read(queries.subscriber_by_contact, "op-alice").user.username == "alice"
    assert database.read(queries.upper_registrations, 2)[0].state == "registered"


def test_a_rejected_user_that_loses_its_devices_stays_rejected(database: Database) -> None:
    database.write(register())
    (row,) = database.read(queries.upper_registrations, 1)
    database.write(UpdateUpperRegistration(replace(row, state="rejected", last_code=403, next_at=None)))
    database.write(RemoveBinding(username="alice", domain="pbx.example.com", upper="pbx", identity=None))
    assert database.read(queries.upper_registrations, 1)[0].state == "rejected"


@pytest.mark.parametrize("tokens", [(), (Given("T"),), (Given("T1"), Given("T2"), Given("T3"), Given("T4"))])
@pytest.mark.parametrize(
    "more", [{}, {"mirror": True}, {"upper_contact": None}, {"binding": None}, {"unbind_tokens": True}]
)
def test_every_mixture_is_stored(database: Database, tokens: tuple[Given, ...], more: dict[str, Any]) -> None:
    for at in (100.0, 200.0):
        saved = database.write(register(tokens=tokens, at=at, **more))
        assert (saved.user_id, saved.binding_id, saved.registration_id) == (
            1,
            None if "binding" in more else 1,
            None if "upper_contact" in more else 1,
        )
    assert database.rows("SELECT count(*) FROM push_tokens") == [(0 if "binding" in more else len(tokens),)]


def test_how_a_device_is_reached_and_preferred_is_kept(database: Database) -> None:
    path = "<sip:token@edge.example.com;lr;ob>, <sip:core.example.com;lr>"
    routes = "<sip:orig@pbx.example.com;lr>"
    database.write(register(binding=phone(path=path, q=0.3), service_route=routes))
    found = alice(database)
    assert (found.targets[0].binding.path, found.targets[0].binding.q) == (path, 0.3)
    [registration] = database.read(queries.upper_registrations, found.user.id)
    assert registration.service_route == routes

    database.write(register(binding=phone()))
    found = alice(database)
    assert (found.targets[0].binding.path, found.targets[0].binding.q) == ("", 1.0), "as its last REGISTER says"
