"""What people read and run: docs/database.rst names every column, sql/ answers on both engines."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text

from sbc.observe.calllog import Call, CallEvent
from sbc.store.housekeeping import LeaseRegistrations
from sbc.store.journal import SaveBan, SaveCalls, SaveMessage, SaveNode, SavePush
from sbc.store.operations import MarkToken, SaveRegistration, UpdateUpperRegistration
from sbc.store.queries import upper_registrations
from sbc.store.records import Ban, Binding, Message, Push
from sbc.store.tables import metadata

from .conftest import Database
from .registering import Given

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = sorted((ROOT / "sql").glob("*.sql"))
PAGE = (ROOT / "docs" / "database.rst").read_text()


def test_every_table_and_column_is_described_in_order() -> None:
    described: dict[str, list[str]] = {}
    for head, part in re.findall(r"^(\w+)\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", PAGE, re.MULTILINE | re.DOTALL):
        if head in metadata.tables:
            described[head] = re.findall(r"^\* ``(\w+)``", part, re.MULTILINE)
    assert described == {name: list(table.columns.keys()) for name, table in metadata.tables.items()}


def test_the_page_marks_what_is_encrypted() -> None:
    assert re.findall(r"^\* ``(\w+)`` \*encrypted\*", PAGE, re.MULTILINE) == ["ha1", "more_ha1", "prid"]


def test_every_script_says_what_it_does() -> None:
    assert len(SCRIPTS) > 20
    for script in SCRIPTS:
        content = script.read_text()
        changes = re.search(r"^(UPDATE|DELETE|INSERT)", content, re.MULTILINE) is not None
        assert content.startswith("-- CHANGES THE DATABASE. " if changes else "-- "), script.name


@pytest.fixture
def filled(database: Database) -> Database:
    now = time.time()

    def phone(name: str, **changes: Any) -> SaveRegistration:
        given: dict[str, Any] = {
            "binding": Binding(identity="i", contact="sip:x", user_agent="Phone/1"),
            "upper_contact": f"sip:op-{name}@h",
            "next_at": now + 7000,
        }
        return SaveRegistration(username=name, domain="x", upper="old", at=now - 50, **{**given, **changes})

    push: dict[str, Any] = {"type": "call", "provider": "apns", "app": "com.example.phone", "sent_at": now - 9}
    call: dict[str, Any] = {"caller": "sip:z@x", "upper": "old", "pushed": True}
    database.write(
        phone("alice", tokens=(Given("A"),), ha1="1" * 32),
        phone("bob", tokens=(Given("B"),)),
        phone("carol"),
        phone("dave"),
        SaveRegistration(username="dave", domain="x", upper="new", at=now),
        MarkToken(provider="apns", param="com.example.phone", prid="B", at=now, dead=True, error="Unregistered"),
        SavePush(Push(**push, call_id="c1", status=200, outcome="accepted", latency=0.02, woke_after=1.5)),
        SavePush(Push(**push, call_id="c2", status=410, outcome="dead_token", reason="Unregistered")),
        SaveCalls(
            [
                Call(
                    **call, call_id="c1", callee="sip:alice@x", started_at=now - 600, ringing_at=now - 598,
                    answered_at=now - 595, ended_at=now - 475, code=200, woke_after=1.5,
                    caller_packets=970, caller_lost=30, caller_jitter=0.004, callee_packets=1000, callee_lost=0,
                ),
                Call(**call, call_id="c2", callee="sip:bob@x", started_at=now - 8, ended_at=now, code=480),
            ],
            [CallEvent("CALL-ID", now, "invite", "x"), CallEvent("CALL-ID", now + 2, "wake", "")],
        ),
        SaveMessage(Message(user_id=1, from_uri="a", to_uri="b", received_at=now - 122)),
        SaveBan(Ban(source="192.0.2.1", expires_at=now + 600)),
        SaveNode(name="edge-1", address="h", state="running", started_at=now, seen_at=now),
    )  # fmt: skip
    failing = database.read(upper_registrations, 3)[0]

    database.write(
        UpdateUpperRegistration(replace(failing, state="failing", last_code=503, failures=2, next_at=now + 300))
    )
    return database


def run(database: Database, name: str) -> list[tuple[object, ...]]:
    """Every statement of a script, as the command-line programs run it; the rows of the last that had any."""
    found: list[tuple[object, ...]] = []
    content = re.sub(r"--[^\n]*", "", (ROOT / "sql" / name).read_text())
    with database.engine.connect() as connection:
        for statement in content.split(";"):
            if statement.strip():
                result = connection.execute(text(statement))
                found = [tuple(row) for row in result] if result.returns_rows else found
    return found


def test_every_script_runs(filled: Database) -> None:
    for script in SCRIPTS:
        run(filled, script.name)


def test_what_they_answer(filled: Database) -> None:
    assert [row[0] for row in run(filled, "users_with_push.sql")] == ["alice"]
    assert [row[0] for row in run(filled, "users_without_ha1.sql")] == ["bob", "carol", "dave", "dave"]
    assert [row[0] for row in run(filled, "users_at_several_servers.sql")] == ["dave"]
    assert run(filled, "upper_registrations_by_state.sql") == [("old", "failing", 1, 2), ("old", "registered", 3, 0)]
    assert [row[0] for row in run(filled, "upper_registrations_failing.sql")] == ["carol"]
    assert [(row[0], row[6]) for row in run(filled, "tokens_dead.sql")] == [("bob", "Unregistered")]
    assert run(filled, "wake_success_by_app.sql")[0][:5] == ("com.example.phone", "apns", 2, 1, 50)
    assert run(filled, "callers_busiest.sql") == [("sip:z@x", 2, 1, 2)]
    assert run(filled, "calls_nobody_woke.sql")[0][:2] == ("sip:bob@x", 1)
    assert run(filled, "calls_poor_media.sql")[0][:6] == ("c1", "sip:z@x", "sip:alice@x", ANY, 970, 30)
    assert run(filled, "upper_server_quality.sql")[0][:3] == ("old", 2, 50)
    assert [row[1] for row in run(filled, "call_timeline.sql")] == ["invite", "wake"]
    assert run(filled, "refreshes_due.sql") == [(0, 1), (1, 3)]
    assert run(filled, "messages_waiting.sql")[0][4] == 2


def test_moving_users_to_another_upper_server(filled: Database) -> None:
    run(filled, "move_users_to_upper_server.sql")
    assert filled.rows("SELECT username, upper FROM users ORDER BY username, upper") == [
        ("alice", "new"),
        ("bob", "new"),
        ("carol", "new"),
        ("dave", "new"),
        ("dave", "old"),
    ]
    later = time.time() + 601
    moved = filled.write(LeaseRegistrations(node="n", now_at=later, until_at=later + 60, limit=9))
    assert {(user.username, row.upper, row.state) for user, row in moved} == {
        ("alice", "new", "failing"),
        ("bob", "new", "failing"),
        ("carol", "new", "failing"),
    }


def test_dead_tokens_are_tried_again(filled: Database) -> None:
    run(filled, "revive_dead_tokens.sql")
    assert sorted(row[0] for row in run(filled, "users_with_push.sql")) == ["alice", "bob"]


def test_the_command_line_programs_run_them(filled: Database) -> None:
    script = ROOT / "sql" / "tokens_dead.sql"
    if filled.is_postgresql:
        place = parse_qs(urlsplit(filled.url).query)["host"][0]
        command = ["psql", "-X", "-h", place, "-U", "sbc", "-d", "postgres", "-f", str(script)]
    else:
        command = ["sqlite3", filled.url.removeprefix("sqlite:///"), f".read {script}"]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (make peers)")
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "Unregistered" in shown.stdout
    assert shown.stderr == ""
