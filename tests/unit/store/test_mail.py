"""Messages that wait, and what is remembered of wakes."""

from __future__ import annotations

from sbc.store import queries
from sbc.store.journal import SaveMessage, SavePush
from sbc.store.mail import ExpireMessages, users_with_mail
from sbc.store.operations import SaveRegistration, TouchToken
from sbc.store.records import Binding, Message, Push
from sbc.store.wakes import last_pushes, wakes
from tests.unit.store.conftest import Database
from tests.unit.store.registering import Given


def registered(database: Database, username: str = "alice") -> None:
    binding = Binding(identity="t", contact="sip:a@198.51.100.7", expires_at=700.0)
    database.write(
        SaveRegistration(
            username=username, domain="x", upper="pbx", at=5.0, user_agent="Phone/1", binding=binding,
            tokens=(Given(f"T-{username}"),), node="edge-1",
        )
    )  # fmt: skip


def message(user_id: int, **changes: object) -> SaveMessage:
    given = {"user_id": user_id, "from_uri": "<sip:b@x>", "to_uri": "<sip:a@x>", "body": b"hi", "received_at": 5.0}
    return SaveMessage(Message(**{**given, **changes}))


def test_who_has_mail(database: Database) -> None:
    registered(database)
    registered(database, "bob")
    database.write(message(1), message(1), message(2, expires_at=50.0))
    assert sorted(database.read(users_with_mail, 10.0, 100)) == [1, 2]
    assert database.read(users_with_mail, 60.0, 100) == [1]
    assert len(database.read(users_with_mail, 10.0, 1)) == 1


def test_messages_expire_once(database: Database) -> None:
    registered(database)
    database.write(message(1), message(1, expires_at=50.0))
    assert database.write(ExpireMessages(49.0)) == 0
    assert database.write(ExpireMessages(50.0)) == 1
    assert database.write(ExpireMessages(50.0)) == 0
    assert database.rows("SELECT state FROM messages ORDER BY id") == [("waiting",), ("expired",)]


def test_the_last_sixteen_wakes_are_kept_and_a_new_register_does_not_lose_them(database: Database) -> None:
    registered(database)
    for number in range(20):
        database.write(TouchToken(binding_id=1, at=10.0 + number, after=number / 10))
    database.write(TouchToken(binding_id=1, at=99.0))
    registered(database)
    found = database.read(queries.subscriber, "alice", "x")
    kept = found.targets[0].tokens[0].wakes
    assert [int(kept[at : at + 5]) for at in range(0, len(kept), 5)] == [number * 100 for number in range(4, 20)]


def test_what_pushes_were_worth(database: Database) -> None:
    registered(database)
    call = {"provider": "apns", "app": "com.example", "user_id": 1, "outcome": "accepted"}
    database.write(
        SavePush(Push(type="call", sent_at=10.0, woke_after=1.5, **call)),
        SavePush(Push(type="refresh", sent_at=11.0, **call)),
        SavePush(Push(type="chat", sent_at=3.0, **call)),
        SavePush(Push(type="chat", sent_at=12.0, **{**call, "user_id": 77})),
    )
    found = database.read(wakes(5.0))
    assert found == [
        ("com.example", "apns", "", "accepted", None),
        ("com.example", "apns", "Phone/1", "accepted", 1.5),
    ]
    assert [push.type for push in database.read(last_pushes(1, 5.0, 5))] == ["refresh", "call"]
