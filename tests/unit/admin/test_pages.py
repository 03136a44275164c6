"""The pages show what there is, and nothing that a phone says becomes more than text."""

from html.parser import HTMLParser

from twisted.trial.unittest import TestCase

from sbc.admin.ladder import LABEL_LIMIT, from_events, from_trace
from sbc.admin.pages import LISTS, page_routes
from sbc.observe import kinds
from sbc.observe.trace import TraceEntry
from sbc.store import tables
from tests.unit.admin.browser import Browser
from tests.unit.admin.nodes import a_node

AT = 1_700_000_000.0
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}&lt;"


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.words = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)


class Pages(TestCase):
    def setUp(self):
        self.node = a_node()
        self.browser = Browser(page_routes(self.node, "0.1.0"))
        call = self.node.call_log.start(f"id-{EVIL}", f"sip:{EVIL}@a", f"sip:{EVIL}@b", EVIL, AT)
        self.node.call_log.event(call, kinds.PUSH_SENT, EVIL, AT + 1)
        store = self.node.store
        store.insert(tables.users, {"id": 1, "username": EVIL, "domain": EVIL, "upper": EVIL, "user_agent": EVIL})
        store.insert(
            tables.bindings, {"user_id": 1, "identity": EVIL, "contact": EVIL, "user_agent": EVIL, "call_id": EVIL}
        )
        store.insert(
            tables.push_tokens,
            {
                "user_id": 1,
                "binding_id": 1,
                "provider": EVIL,
                "param": EVIL,
                "prid": b"",
                "prid_hash": "h",
                "last_error": EVIL,
            },
        )
        store.insert(tables.upper_registrations, {"user_id": 1, "upper": EVIL, "contact": EVIL, "last_reason": EVIL})
        store.insert(
            tables.cdrs,
            {
                "id": 1,
                "call_id": EVIL,
                "caller": EVIL,
                "callee": EVIL,
                "started_at": AT,
                "reason": EVIL,
                "woke_after": 2.0,
            },
        )
        store.insert(tables.call_events, {"call_id": EVIL, "at": AT, "kind": "invite", "detail": EVIL})
        store.insert(tables.pushes, {"type": "call", "provider": EVIL, "app": EVIL, "sent_at": AT, "reason": EVIL})
        store.insert(tables.bans, {"source": EVIL, "reason": EVIL})
        self.node.trace.start()
        message = f"INVITE sip:{EVIL} SIP/2.0\r\nFrom: {EVIL}\r\nCall-ID: id-{EVIL}\r\n\r\n".encode()
        self.node.trace.record(AT, "in", "udp:a:1", EVIL, message)

    def paths(self):
        from urllib.parse import quote

        yield from ("/", "/calls", "/users/1", "/cdrs/1")
        yield from (f"/{name}" for name in LISTS)
        yield f"/calls/{quote('id-' + EVIL, safe='')}"
        yield f"/calls/{quote(EVIL, safe='')}"
        yield f"/users?username={quote(EVIL)}&domain=&limit="

    def test_what_a_phone_says_is_inert_everywhere(self):
        shown = 0
        for path in self.paths():
            page = self.browser.get(path)
            self.assertEqual(page.status, 200, (path, page.text[:300]))
            self.assertTrue(page.headers["content-type"].startswith("text/html"))
            elements = Elements(page.text)
            tags = {tag for tag, _ in elements.found}
            self.assertEqual(tags & {"script", "img", "iframe", "object", "style"}, set(), path)
            for _, attributes in elements.found:
                self.assertEqual([name for name in attributes if name.startswith("on") or name == "style"], [], path)
                self.assertFalse((attributes.get("href") or "/").lower().startswith("javascript"))
            self.assertNotIn("49", page.text)
            shown += "<script>alert(1)</script>" in "".join(elements.words)
        self.assertGreater(shown, 10)

    def test_the_dashboard_counts_what_is_registered(self):
        words = [word.strip() for word in Elements(self.browser.get("/").text).words if word.strip()]
        self.assertEqual(words[words.index("pbx registered") + 1], "4")
        self.assertEqual(words[words.index("push") + 1], "3")

    def test_links_lead_to_pages(self):
        seen = {}
        waiting = ["/"]
        while waiting:
            path = waiting.pop()
            if path in seen or path == "/api/v1/openapi.json":
                continue
            page = self.browser.get(path)
            seen[path] = page.status
            if page.headers["content-type"].startswith("text/html"):
                waiting += [
                    attributes["href"]
                    for _, attributes in Elements(page.text).found
                    if (attributes.get("href") or "").startswith("/")
                ]
        self.assertEqual(set(seen.values()), {200}, seen)
        self.assertGreater(len(seen), 10)

    def test_a_list_goes_on(self):
        rows = [{"call_id": f"c{number}", "started_at": AT, "upper": "pbx"} for number in range(150)]
        self.node.store.insert(tables.cdrs, *rows)
        page = self.browser.get("/cdrs?upper=pbx")
        self.assertIn(">c149<", page.text)
        more = [a["href"] for tag, a in Elements(page.text).found if tag == "a" and "after=" in a["href"]]
        following = self.browser.get(more[0])
        self.assertIn(">c0<", following.text)
        self.assertNotIn(">c149<", following.text)

    def test_a_bad_parameter_is_refused(self):
        self.assertEqual(self.browser.get("/cdrs?since=yesterday").status, 400)
        self.assertEqual(self.browser.get("/cdrs?nonsense=1").status, 400)
        self.assertEqual(self.browser.get("/cdrs/77").status, 404)

    def test_off_the_host_a_page_asks_for_a_key(self):
        for path in self.paths():
            self.assertEqual(self.browser.get(path, peer="192.0.2.7").status, 401)


def test_the_ladder_of_a_woken_call():
    told = [
        ("invite", 0),
        ("asleep", 0.01),
        ("push_sent", 0.02),
        ("push_accepted", 0.2),
        ("woken", 2),
        ("delivered", 2.1),
    ]
    ladder = from_events([{"at": AT + at, "kind": kind, "detail": ""} for kind, at in told])
    assert [lane.name for lane in ladder.lanes] == ["caller", "SBC", "push service", "callee"]
    caller, sbc, push, callee = (lane.x for lane in ladder.lanes)
    assert [(step.x1, step.x2) for step in ladder.steps] == [
        (caller, sbc), (sbc, sbc), (sbc, push), (push, sbc), (callee, sbc), (sbc, callee),
    ]  # fmt: skip
    assert [step.y for step in ladder.steps] == sorted({step.y for step in ladder.steps})
    assert ladder.steps[4].offset == "2.000"
    assert ladder.steps[1].head == ""
    assert ladder.steps[0].head
    assert ladder.height > ladder.steps[-1].y
    assert from_events([]).steps == ()


def test_the_ladder_of_a_trace():
    def entry(at, direction, peer, line):
        return TraceEntry(AT + at, direction, b"c1", "udp:sbc", peer, line + b"\r\n\r\n")

    ladder = from_trace(
        [
            entry(0, "in", "udp:pbx", b"INVITE sip:alice@sbc SIP/2.0"),
            entry(0.001, "out", "udp:pbx", b"SIP/2.0 100 Trying"),
            entry(0.5, "out", "wss:phone", b"INVITE sip:" + b"a" * 100 + b" SIP/2.0"),
        ]
    )
    assert [lane.name for lane in ladder.lanes] == ["udp:pbx", "SBC", "wss:phone"]
    pbx, sbc, phone = (lane.x for lane in ladder.lanes)
    assert [(step.x1, step.x2) for step in ladder.steps] == [(pbx, sbc), (sbc, pbx), (sbc, phone)]
    assert ladder.steps[1].label == "100 Trying"
    assert len(ladder.steps[2].label) == LABEL_LIMIT
