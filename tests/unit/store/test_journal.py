"""Dialogs, calls, pushes, messages, bans, settings, nodes; and what grows old."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from sbc.observe.calllog import Call, CallEvent
from sbc.push.tokens import PushToken
from sbc.store import DatabaseSettings, Execute, queries, tables
from sbc.store.housekeeping import Forget, outdated
from sbc.store.journal import (
    MarkMessage,
    RemoveBan,
    RemoveDialog,
    RemoveSetting,
    SaveAudit,
    SaveBan,
    SaveCalls,
    SaveDialog,
    SaveMessage,
    SaveNode,
    SavePush,
    SaveSetting,
)
from sbc.store.operations import MarkToken, SaveRegistration, TouchToken
from sbc.store.pushes import NotePush
from sbc.store.records import Ban, Binding, Dialog, Message, Push

from .conftest import Database


def test_dialogs_of_a_node_are_found_after_its_restart(database: Database) -> None:
    kept = Dialog(
        id="t1", call_id="c", node="edge-1", body='{"a": 1}', caller="sip:a@x", started_at=5.0, changed_at=5.0
    )
    database.write(SaveDialog(kept), SaveDialog(Dialog(id="t2", call_id="c", node="edge-2", body="")))
    changed = Dialog(id="t1", call_id="c", node="edge-1", body="{}", started_at=5.0, changed_at=9.0)
    database.write(SaveDialog(changed))
    assert database.read(queries.dialogs, "edge-1") == [changed]
    database.write(RemoveDialog("t1"), RemoveDialog("never there"))
    assert database.read(queries.dialogs, "edge-1") == []


def test_calls_and_their_timelines(database: Database) -> None:
    live = Call(
        "c1", "sip:a@x", "sip:b@x", "pbx", 10.0, answered_at=14.0, ended_at=20.0, code=200, pushed=True, woke_after=2.5
    )
    events = [CallEvent("c1", 10.0, "invite", "from pbx"), CallEvent("c1", 12.5, "wake", "")]
    database.write(SaveCalls([live], events, node="edge-1"))
    database.write(SaveCalls([Call("c2", "x", "y", "", 11.0)]), SaveCalls(events=events))
    assert database.rows("SELECT call_id, answered_at, code, pushed, woke_after, node FROM cdrs ORDER BY id") == [
        ("c1", 14.0, 200, True, 2.5, "edge-1"),
        ("c2", None, None, False, None, ""),
    ]
    assert database.rows("SELECT at, kind, detail FROM call_events ORDER BY id LIMIT 2") == [
        (10.0, "invite", "from pbx"),
        (12.5, "wake", ""),
    ]


def test_what_was_heard_of_the_parties_of_a_call(database: Database) -> None:
    call = Call("c1", "x", "y", "", 11.0)
    call.heard("caller", 500, 3, 0.002)
    call.heard("caller", 4_000_000_000, 1, 0.012)
    call.heard("callee", 480, 0, 0.0)
    database.write(SaveCalls([call, Call("c2", "x", "y", "", 11.0)]))
    caller, callee = ([f"{party}_{name}" for name in ("packets", "lost", "jitter")] for party in ("caller", "callee"))
    assert database.rows(f"SELECT {', '.join((*caller, *callee))} FROM cdrs ORDER BY id") == [
        (4_000_000_500, 4, 0.012, 480, 0, 0.0),
        (None,) * 6,
    ]


def test_the_push_of_a_call_learns_when_the_phone_woke(database: Database) -> None:
    user = database.write(
        SaveRegistration(username="a", domain="x", upper="p", at=1.0, binding=Binding(identity="i", contact=""))
    )
    push = Push(
        call_id="c", type="call", provider="apns", app="com.example", user_id=user.user_id, sent_at=2.0, status=200
    )
    database.write(SavePush(push), TouchToken(binding_id=1, at=4.0, call_id="c", after=2.0))
    assert database.rows("SELECT status, woke_after FROM pushes") == [(200, 2.0)]


def test_a_push_and_what_it_says_of_its_token_are_one_operation(database: Database) -> None:
    token = PushToken("apns", "com.example", "ab" * 32)
    database.write(
        SaveRegistration(
            username="a", domain="x", upper="p", at=1.0, binding=Binding(identity="i", contact=""), tokens=(token,)
        )
    )
    mark = MarkToken(
        provider="apns", param="com.example", prid="ab" * 32, at=2.0, accepted=True, environment="sandbox", kind="voip"
    )
    push = Push(call_id="c", type="call", provider="apns", app="com.example", sent_at=2.0, outcome="accepted")
    database.write(NotePush(push, mark))
    assert database.rows("SELECT state, environment, kind FROM push_tokens") == [("live", "sandbox", "voip")]
    database.write(
        SaveRegistration(
            username="a", domain="x", upper="p", at=3.0, binding=Binding(identity="i", contact=""), tokens=(token,)
        )
    )
    assert database.rows("SELECT environment, kind FROM push_tokens") == [("sandbox", "voip")], "learned and kept"
    database.write(NotePush(push))
    dead = MarkToken(provider="apns", param="com.example", prid="ab" * 32, at=4.0, dead=True, error="Unregistered")
    database.write(NotePush(push, dead))
    assert database.rows("SELECT count(*) FROM pushes") == [(3,)]
    assert database.rows("SELECT count(*) FROM bindings") == [(0,)], "the device goes with its token"


def test_a_message_waits_until_it_is_delivered(database: Database) -> None:
    database.write(SaveRegistration(username="a", domain="x", upper="p", at=1.0))
    message = Message(
        user_id=1, from_uri="sip:b@x", to_uri="sip:a@x", body=b"\xff\x00hello", received_at=5.0, expires_at=60.0
    )
    assert database.write(SaveMessage(message)) == 1
    (waiting,) = database.read(queries.waiting_messages, 1, 10.0)
    assert (waiting.body, waiting.state, waiting.tries) == (b"\xff\x00hello", "waiting", 0)
    assert database.read(queries.waiting_messages, 1, 60.0) == []
    database.write(MarkMessage(1, "waiting", 11.0), MarkMessage(1, "delivered", 12.0))
    assert database.read(queries.waiting_messages, 1, 13.0) == []
    assert database.rows("SELECT state, tries, delivered_at FROM messages") == [("delivered", 2, 12.0)]


def test_bans(database: Database) -> None:
    database.write(SaveBan(Ban(source="198.51.100.7", reason="scanner", created_at=1.0, expires_at=10.0)))
    database.write(SaveBan(Ban(source="198.51.100.7", reason="again", created_at=2.0, expires_at=20.0)))
    database.write(SaveBan(Ban(source="192.0.2.0/24", automatic=False, created_by="admin")))
    assert [(ban.source, ban.reason, ban.automatic) for ban in database.read(queries.bans, 15.0)] == [
        ("198.51.100.7", "again", True),
        ("192.0.2.0/24", "", False),
    ]
    assert len(database.read(queries.bans, 20.0)) == 1
    assert database.write(RemoveBan("192.0.2.0/24")) is True
    assert database.write(RemoveBan("192.0.2.0/24")) is False


def test_settings(database: Database) -> None:
    for value in ("1m", "2m"):
        database.write(SaveSetting(name="push.ttl", value=value, changed_at=1.0, changed_by="admin"))
    assert database.read(queries.settings) == [("push.ttl", "2m")]
    assert database.write(RemoveSetting("push.ttl")) is True
    assert database.read(queries.settings) == []


def test_nodes_and_audit(database: Database) -> None:
    for seen in (1.0, 2.0):
        database.write(
            SaveNode(name="edge-1", address="203.0.113.5", state="running", started_at=1.0, seen_at=seen, load=1)
        )
    database.write(SaveAudit(at=1.0, who="admin", source="127.0.0.1", action="ban", subject="192.0.2.1"))
    assert database.rows("SELECT name, seen_at, load FROM nodes") == [("edge-1", 2.0, 1)]
    assert database.rows("SELECT who, action, detail FROM audit") == [("admin", "ban", "")]


def test_any_other_change_is_a_function(database: Database) -> None:
    def add(connection: Connection) -> int:
        row = connection.execute(insert(tables.routes).values(name="night", upper="pbx").returning(tables.routes.c.id))
        return int(row.scalar_one())

    audit = SaveAudit(at=1.0, who="a", source="", action="route")
    assert database.outcomes(audit, Execute(add), audit) == [None, 1, None]
    assert database.read(lambda connection: connection.execute(select(tables.routes.c.enabled)).scalar()) is True
    assert database.rows("SELECT count(*) FROM audit") == [(2,)]


def test_what_is_too_old_goes_a_chunk_at_a_time(database: Database) -> None:
    day = 86400.0
    database.write(SaveCalls(events=[CallEvent("c", day * n, "k", "") for n in range(10)]))
    database.write(SaveBan(Ban(source="a", expires_at=5.0)), SaveBan(Ban(source="b")))
    settings = DatabaseSettings(keep_events=2 * day, keep_calls=0.0)
    due = {each.table: each for each in outdated(settings, 9 * day)}
    assert set(due) == {"call_events", "pushes", "messages", "bans"}
    assert database.write(Forget("call_events", due["call_events"].before, limit=4)) == 4
    assert database.write(due["call_events"]) == 3
    assert [database.write(each) for each in due.values()] == [0, 0, 0, 1]
    assert database.rows("SELECT min(at) FROM call_events") == [(7 * day,)]
