"""What the API answers, and that neither a value nor a name can be more than it is."""

import ast
from pathlib import Path

from sqlalchemy import event
from twisted.internet.defer import succeed
from twisted.trial.unittest import TestCase

import sbc.admin
from sbc.admin.api import api_routes
from sbc.admin.ports import PushRequest
from sbc.admin.queries import stored_keys
from sbc.admin.routes import Refused
from sbc.observe import kinds
from sbc.store import tables
from tests.unit.admin.browser import READER, WRITER, Browser
from tests.unit.admin.nodes import a_node

SECRET = "0123456789abcdef0123456789abcdef"
AT = 1_700_000_000.0


def a_user(number=1, **more):
    return {
        "id": number, "username": f"user{number}", "domain": "pbx.example.com", "upper": "pbx", "ha1": SECRET.encode(),
        "created_at": AT, "last_seen_at": 0.0,
    } | more  # fmt: skip


class Reads(TestCase):
    def setUp(self):
        self.node = a_node()
        self.database = self.node.store
        self.browser = Browser(api_routes(self.node, "0.1.0"))

    def get(self, path):
        page = self.browser.get(f"/api/v1{path}")
        self.assertEqual(page.status, 200, page.text)
        return page.json

    def test_users_by_pages(self):
        self.database.insert(tables.users, *(a_user(number) for number in range(1, 26)))
        seen = []
        after = ""
        while True:
            answer = self.get(f"/users?limit=10{after}")
            seen += [user["username"] for user in answer["items"]]
            if answer["next"] is None:
                break
            after = f"&after={answer['next']}"
        self.assertEqual(seen, [f"user{number}" for number in range(1, 26)])

    def test_a_user_shows_no_secret(self):
        self.database.insert(tables.users, a_user(), a_user(2, ha1=None))
        first, second = self.get("/users")["items"]
        self.assertEqual(first["has_ha1"], True)
        self.assertEqual(second["has_ha1"], False)
        self.assertNotIn("ha1", first)
        self.assertEqual(first["created_at"], "2023-11-14T22:13:20.000Z")
        self.assertIsNone(first["last_seen_at"])
        self.assertEqual([user["id"] for user in self.get("/users?username=user2")["items"]], [2])

    def test_a_user_with_all_that_is_its_own(self):
        self.database.insert(tables.users, a_user(), a_user(2))
        contact = f"<sip:user1@127.0.0.2;pn-provider=fcm;pn-prid={SECRET}>"
        self.database.insert(
            tables.bindings,
            {"id": 5, "user_id": 1, "identity": "a", "contact": contact, "push": True},
            {"id": 6, "user_id": 2, "identity": "b", "contact": "<sip:user2@127.0.0.2>", "push": False},
        )
        self.database.insert(
            tables.push_tokens,
            {
                "user_id": 1,
                "binding_id": 5,
                "provider": "fcm",
                "param": "app",
                "prid": SECRET.encode(),
                "prid_hash": "ab12",
            },
        )
        self.database.insert(tables.upper_registrations, {"user_id": 1, "upper": "pbx", "contact": "sip:x@sbc"})
        user = self.get("/users/1")
        self.assertEqual([binding["id"] for binding in user["bindings"]], [5])
        self.assertEqual(user["bindings"][0]["user"], "user1@pbx.example.com")
        self.assertEqual(user["tokens"][0]["provider"], "fcm")
        self.assertEqual(user["registrations"][0]["state"], "registered")
        for path in ("/users/1", "/bindings", "/tokens", "/registrations", "/users"):
            text = str(self.get(path))
            self.assertNotIn(SECRET, text)
            self.assertNotIn("ab12", text)
        self.assertEqual(
            self.get("/registrations/summary")["items"], [{"upper": "pbx", "state": "registered", "count": 1}]
        )

    def test_what_is_not_there(self):
        for path in ("/users/1", "/users/x", "/users/99999999999999999999", "/users/-1", "/nothing"):
            self.assertEqual(self.browser.get(f"/api/v1{path}").status, 404)

    def test_cdrs_newest_first_and_between_times(self):
        rows = [
            {
                "call_id": f"c{number}",
                "caller": "a",
                "callee": "b",
                "started_at": AT + number,
                "code": 200,
                "pushed": True,
            }
            for number in range(5)
        ]
        self.database.insert(tables.cdrs, *rows)
        self.assertEqual([cdr["call_id"] for cdr in self.get("/cdrs?limit=2")["items"]], ["c4", "c3"])
        self.assertEqual([cdr["call_id"] for cdr in self.get("/cdrs?limit=2&after=4")["items"]], ["c2", "c1"])
        between = self.get(f"/cdrs?since={AT + 1}&until={AT + 3}")["items"]
        self.assertEqual([cdr["call_id"] for cdr in between], ["c2", "c1"])

    def test_live_calls_and_a_timeline_half_written(self):
        log = self.node.call_log
        log.start("c/1", "sip:bob@pbx", "sip:alice@pbx", "pbx", AT)
        log.event("c/1", kinds.PUSH_SENT, "apns", AT + 0.25)
        stored = {"call_id": "c/1", "at": AT - 1, "kind": "register", "detail": "earlier"}
        self.database.insert(tables.call_events, stored, {"call_id": "c2", "at": AT, "kind": "invite", "detail": ""})
        (call,) = self.get("/calls")["items"]
        self.assertEqual((call["caller"], call["pushed"], call["answered_at"]), ("sip:bob@pbx", True, None))
        lines = self.get("/calls/c%2F1/events")["items"]
        self.assertEqual([line["kind"] for line in lines], ["register", "invite", "push_sent"])
        self.assertEqual(lines[2]["at"], "2023-11-14T22:13:20.250Z")

    def test_the_trace_is_masked(self):
        trace = self.node.trace
        trace.start()
        trace.record(
            AT,
            "in",
            "udp:a:1",
            "udp:b:2",
            f"REGISTER sip:x SIP/2.0\r\nCall-ID: c1\r\nX-PIID: {SECRET}\r\n\r\n".encode(),
        )
        for path in ("/trace", "/trace?call_id=c1", "/calls/c1/trace"):
            (entry,) = self.get(path)["items"]
            self.assertEqual(entry["summary"], "REGISTER sip:x")
            self.assertNotIn(SECRET, str(entry))
        self.assertEqual(self.get("/trace?call_id=c2")["items"], [])

    def test_status_uppers_and_settings(self):
        self.assertEqual(self.get("/status")["node"], "edge-1")
        self.assertEqual(self.get("/uppers")["items"][0]["state"], "up")
        settings = {one["name"]: one for one in self.get("/settings")["items"]}
        self.assertEqual(settings["log.level"]["value"], "debug")
        self.assertEqual(settings["admin.listen"]["value"], "127.0.0.1:8080")

    def test_a_dry_run(self):
        found = self.get("/routing/dry-run?called=0049&caller=alice&when=fri%2023:15")
        self.assertEqual(found["outcome"]["called"], "0049")
        self.assertTrue(found["rules"][0]["decides"])
        for query in ("", "?called=1&direction=up", "?called=1&when=never"):
            self.assertEqual(self.browser.ask("GET", f"/api/v1/routing/dry-run{query}").status, 400)

    def test_other_lists(self):
        self.database.insert(tables.bans, {"source": "192.0.2.66", "reason": "scanner", "automatic": True})
        push = {"type": "call", "provider": "apns", "app": "x", "sent_at": AT, "status": 410, "outcome": "dead_token"}
        self.database.insert(tables.pushes, push)
        self.database.insert(tables.api_keys, {"name": "ops", "hash": SECRET, "role": "write"})
        self.assertEqual(self.get("/bans")["items"][0]["source"], "192.0.2.66")
        self.assertEqual(self.get("/pushes?outcome=dead_token")["items"][0]["status"], 410)
        self.assertNotIn(SECRET, str(self.get("/keys")))

    def test_a_value_stays_a_value(self):
        self.database.insert(tables.users, a_user())
        statements = []
        event.listen(
            self.database.engine,
            "before_cursor_execute",
            lambda connection, cursor, statement, parameters, context, many: statements.append((statement, parameters)),
        )
        hostile = "x' OR '1'='1'; DROP TABLE users; --"
        from urllib.parse import quote

        self.assertEqual(self.get(f"/users?username={quote(hostile)}")["items"], [])
        self.assertEqual(self.get(f"/calls/{quote(hostile, safe='')}/events")["items"], [])
        self.assertEqual(len(self.get("/users")["items"]), 1)
        for statement, _ in statements:
            self.assertNotIn("DROP", statement)
        self.assertEqual(sum(hostile in parameters for _, parameters in statements), 2)
        self.assertEqual(self.browser.get("/api/v1/users?limit=1%20UNION").status, 400)
        self.assertEqual(self.browser.get("/api/v1/users?limit=100000").status, 400)
        self.assertEqual(self.browser.get("/api/v1/users?order=id").status, 400)

    def test_what_no_database_holds_is_refused_before_it_is_asked(self):
        for path in (
            "/bindings?user_id=99999999999999999999",
            "/users?after=99999999999999999999",
            "/cdrs?since=nan",
            "/users?username=%00",
            "/calls/%00/events",
        ):
            self.assertEqual(self.browser.get(f"/api/v1{path}").status, 400, path)
        raw = b'{"type": "call", "to_user": "\\ud800"}'
        headers = {"Content-Type": "application/json"}
        self.assertEqual(self.browser.post("/api/v1/pushes", raw=raw, headers=headers, key=WRITER).status, 400)
        self.assertEqual(self.get("/users?username=%ff%f0"), {"items": [], "next": None})

    def test_off_loopback_every_route_wants_a_key(self):
        for route in api_routes(self.node, "0.1.0"):
            path = route.path.replace("{", "").replace("}", "")
            self.assertEqual(self.browser.ask(route.method, path, peer="192.0.2.7").status, 401, route.path)


class Description(TestCase):
    def test_every_route_is_described_as_it_is(self):
        routes = api_routes(a_node(), "0.1.0")
        document = Browser(routes).get("/api/v1/openapi.json").json
        self.assertEqual(document["openapi"], "3.1.0")
        described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
        self.assertEqual(described, {(route.path, route.method) for route in routes})
        names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
        self.assertEqual(len(names), len(set(names)))
        push = document["paths"]["/api/v1/pushes"]["post"]
        schema = push["requestBody"]["content"]["application/json"]["schema"]
        self.assertEqual(schema["required"], ["type"])
        self.assertEqual(push["security"], [{"key": []}])
        self.assertIn({}, document["paths"]["/api/v1/users"]["get"]["security"])
        for route in routes:
            self.assertTrue(route.doc, route.path)


class Acts(TestCase):
    def setUp(self):
        self.node = a_node()
        self.actions = self.node.actions
        self.browser = Browser(api_routes(self.node, "0.1.0"))

    def ask(self, method, path, body=None, key=WRITER):
        return self.browser.ask(method, f"/api/v1{path}", body=body, key=key)

    def test_only_a_writer_acts(self):
        for route in api_routes(self.node, "0.1.0"):
            if route.method != "GET":
                path = route.path.removeprefix("/api/v1")
                self.assertEqual(route.need, "write")
                self.assertEqual(self.ask(route.method, path, key=None).status, 401)
                self.assertEqual(self.ask(route.method, path, key=READER).status, 403)
        self.assertEqual(self.actions.asked, [])

    def test_reload(self):
        self.assertEqual(self.ask("POST", "/reload").json, {"lines": ["log.level: info -> debug"]})
        self.assertEqual(self.actions.asked, [("reload", "ops")])

    def test_push(self):
        answer = self.ask("POST", "/pushes", {"type": "call", "to_user": "alice", "from_user": "bob"})
        self.assertEqual(answer.json["items"][0]["outcome"], "accepted")
        request = PushRequest(type="call", to_user="alice", from_user="bob")
        self.assertEqual(self.actions.asked, [("push", request, "ops")])
        self.assertEqual(self.ask("POST", "/pushes", {"type": "call"}).status, 400)
        self.assertEqual(self.ask("POST", "/pushes", {"type": "fax", "to_user": "alice"}).status, 400)
        self.actions.pushed = []
        self.assertEqual(self.ask("POST", "/pushes", {"type": "call", "to_user": "alice"}).status, 404)

    def test_a_refusal_of_the_node_is_told(self):
        self.actions.error = Refused(409, "push is off")
        answer = self.ask("POST", "/pushes", {"type": "call", "to_user": "alice"})
        self.assertEqual((answer.status, answer.json), (409, {"error": "push is off"}))

    def test_hang_up_and_unban(self):
        self.assertEqual(self.ask("DELETE", "/calls/c1").json, {"ended": 1})
        self.assertEqual(self.ask("DELETE", "/calls/c2").status, 404)
        self.assertEqual(self.ask("DELETE", "/bans/192.0.2.66").json, {"lifted": True})
        self.assertEqual(self.ask("DELETE", "/bans/192.0.2.67").status, 404)

    def test_trace(self):
        self.assertEqual(self.ask("PUT", "/trace", {"on": True, "call_id": "c1"}).json, {"trace": True})
        self.node.trace.record(AT, "in", "", "", b"x\r\ni: c2\r\n\r\n")
        self.node.trace.record(AT, "in", "", "", b"x\r\ni: c1\r\n\r\n")
        self.assertEqual(len(self.node.trace.read()), 1)
        self.assertEqual(self.ask("PUT", "/trace", {"on": False, "clear": True}).json, {"trace": False})
        self.assertEqual(self.node.trace.read(), [])

    def test_keys_are_shown_once_and_work(self):
        kept = []

        def add_key(key, by):
            kept.append(key)
            row = {"name": key.name, "hash": key.digest, "role": key.role, "expires_at": key.expires_at}
            self.node.store.insert(tables.api_keys, row)
            return succeed(None)

        self.actions.add_key = add_key
        made = self.ask("POST", "/keys", {"name": "grafana"}).json
        self.assertEqual(made["role"], "read")
        self.assertNotIn(made["key"], str(kept))
        (known,) = self.successResultOf(self.node.store.report(stored_keys))
        self.assertEqual(known, kept[0])
        self.browser.access.keyring = type(self.browser.access.keyring)([known])
        self.assertEqual(self.browser.get("/api/v1/status", key=made["key"], peer="192.0.2.7").status, 200)

    def test_a_revoked_key_is_not_known(self):
        row = {"name": "old", "hash": SECRET, "role": "write", "revoked_at": AT}
        self.node.store.insert(
            tables.api_keys, row, row | {"name": "new", "hash": "x", "role": "??", "revoked_at": None}
        )
        (known,) = self.successResultOf(self.node.store.report(stored_keys))
        self.assertEqual((known.name, known.role), ("new", "read"))


def test_no_statement_is_made_of_text():
    for path in Path(sbc.admin.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
                assert not {name.name for name in node.names} & {"text", "literal_column", "TextClause"}, path
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"exec_driver_sql", "literal_column", "op"}, path
