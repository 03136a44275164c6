"""A node for tests: an SQLite database in memory, and actions that are only noted."""

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed

from sbc.admin.ports import Finding, Node, PushAnswer, UpperView
from sbc.admin.routes import Refused
from sbc.admin.settings import AdminSettings
from sbc.observe.calllog import CallLog
from sbc.observe.exposition import Exposition
from sbc.observe.metrics import Metrics
from sbc.observe.settings import LogSettings
from sbc.observe.trace import TraceRing
from sbc.settings import load
from sbc.store import tables


class Database:
    """The reading side of a store, without threads."""

    def __init__(self):
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        tables.metadata.create_all(self.engine)

    def report(self, query) -> Deferred:
        def run():
            with self.engine.connect() as connection:
                return query(connection)

        return maybeDeferred(run)

    def insert(self, table, *rows):
        with self.engine.begin() as connection:
            connection.execute(table.insert(), list(rows))


class Noted:
    """Actions that say what was asked of them."""

    def __init__(self):
        self.asked = []
        self.pushed = [
            PushAnswer(outcome="accepted", status=200, provider="apns", app="com.example.phone", seconds=0.1)
        ]
        self.error = None
        self.serving = ["apns"]

    def _note(self, answer, *asked):
        self.asked.append(asked)
        return fail(self.error) if self.error else succeed(answer)

    def reload(self, by):
        return self._note(["log.level: info -> debug"], "reload", by)

    def send_push(self, request, by):
        return self._note(self.pushed, "push", request, by)

    def reload_push(self, by, anew=()):
        return self._note([], "reload push", by, tuple(anew))

    def push_status(self):
        return {"providers": self.serving, "suspended": [], "connections": [{"server": "apns.example.test"}]}

    def examine(self, subject, by):
        findings = [Finding("good", "all is well"), Finding("bad", "the key is gone", "make another")]
        return self._note(findings, "examine", subject, by)

    def unregister_upper(self, user, by):
        return self._note(1 if user == "bob" else 0, "unregister", user, by)

    def load(self):
        return 2

    def end_call(self, call_id, by):
        return self._note(1 if call_id == "c1" else 0, "end", call_id, by)

    def save_ha1s(self, accounts, by):
        return self._note(len(accounts), "save ha1s", accounts, by)

    def lift_ban(self, source, by):
        return self._note(source == "192.0.2.66", "unban", source, by)


def asked(question):
    """A dry run that says what was asked."""
    if question.when == "never":
        raise Refused(400, "when: 'never' is no time")
    return {
        "rules": [{"name": "abroad", "fits": True, "why": "decides", "decides": True, "does": "carrier"}],
        "outcome": {"rule": "abroad", "called": question.called, "caller": question.caller, "sent_to": "carrier"},
        "servers": [{"place": 1, "name": "carrier", "why": "priority 0, lot 0.500", "state": "up", "calls": 0}],
        "missing": [question.domain] if question.domain else [],
    }


def a_node(**changes):
    given = {
        "name": "edge-1",
        "missing": list,
        "metrics_text": Exposition(Metrics(), lambda name, error: None).text,
        "store": Database(),
        "call_log": CallLog(lambda batch: None),
        "trace": TraceRing(),
        "actions": Noted(),
        "configuration": lambda: load('[log]\nlevel = "debug"\n', [LogSettings, AdminSettings], path="sbc.toml"),
        "uppers": lambda: [
            UpperView(name="pbx", uri="sip:pbx.example.com", domain="pbx.example.com", priority=0, weight=1, state="up")
        ],
        "dry_run": asked,
        "started_at": 1_699_999_000.0,
        "bindings": lambda: {("push",): 3, ("plain",): 1},
        "registrations": lambda: {("pbx", "registered"): 4},
    }
    return Node(**(given | changes))
