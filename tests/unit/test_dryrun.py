"""What operators are told about a made-up request."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from sbc.admin.ports import Question
from sbc.admin.routes import Refused
from sbc.dryrun import dry_run
from sbc.upper.health import Health
from sbc.upper.quality import ENOUGH
from tests.unit.upper.test_router import PBX, router

QUESTION = Question(called="004930123456", caller="alice", source="192.0.2.7")


def watched(made):
    """The same, with real healths."""
    known = {}
    made.watch = SimpleNamespace(
        of=lambda server: known.setdefault(server.name, Health(0.0, 0.0)),
        down=lambda server: made.watch.of(server).down,
    )
    return made


def test_every_rule_and_every_server_with_its_reason():
    made = watched(
        router(
            {"name": "austria", "called": "0043*", "upper": "trunk"},
            {"name": "all", "called": "0049*", "upper": "trunk, pbx, old", "rewrite": "+49{1}", "rewrite_caller": "r"},
            {"name": "rest", "upper": "pbx"},
            quality=True,
        )
    )
    for _ in range(ENOUGH):
        made.ended(PBX, "+4930123456", 503, None)
    trunk = made.watch.of(made.servers["trunk"])
    for _ in range(2):
        trunk.silent("OPTIONS: 503", 0.0)
    told = dry_run(made, QUESTION)
    assert [(rule["name"], rule["fits"], rule["why"]) for rule in told["rules"]] == [
        ("austria", False, "called 004930123456"),
        ("all", True, "decides"),
        ("rest", True, "a rule before it decides"),
    ]
    assert told["rules"][1]["captures"] == ["30123456"]
    assert told["outcome"] == {
        "rule": "all", "reject": 0, "reason": "", "called": "+4930123456", "caller": "r", "sent_to": "pbx, trunk",
    }  # fmt: skip
    assert [(server["name"], server["why"]) for server in told["servers"]] == [
        ("pbx", "demoted: 100% of 20 calls failed"),
        ("trunk", "down: OPTIONS: 503"),
    ]
    assert told["missing"] == ["old"]


def test_a_refusal_at_another_time():
    made = watched(router({"name": "closed", "hours": "18:00-08:00", "reject": 480, "reason": "Closed"}))
    told = dry_run(made, QUESTION)
    assert (told["outcome"]["sent_to"], told["servers"][1]["why"][:11]) == ("pbx, spare", "priority 10")
    told = dry_run(made, replace(QUESTION, when="mon 22:00"))
    assert (told["outcome"]["reject"], told["outcome"]["sent_to"], told["servers"]) == (480, "", [])
    assert dry_run(made, replace(QUESTION, direction="in"))["outcome"]["sent_to"] == "a user here"
    assert dry_run(made, replace(QUESTION, method="register", called="bob"))["outcome"]["caller"] == "bob"


@pytest.mark.parametrize("change", [{"when": "soon"}, {"domain": "nowhere.example"}])
def test_what_cannot_be_asked(change):
    with pytest.raises(Refused):
        dry_run(router(), replace(QUESTION, **change))
