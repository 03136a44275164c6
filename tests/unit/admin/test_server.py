"""The HTTP edge: what comes in malformed, too large, too early; what every answer carries."""

import json
from pathlib import Path

from twisted.internet import defer
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from sbc.admin.health import health_routes
from sbc.admin.keyfile import read_key
from sbc.admin.keys import ApiKey, digest
from sbc.admin.routes import Answer, Field, Refused, Route, Router, as_json
from sbc.admin.server import BODY_LIMIT, CONNECTIONS, FLOOD_LIMIT, KEYS_INTERVAL, AdminService
from sbc.admin.settings import AdminSettings
from sbc.settings import Address, load
from sbc.sip.errors import RemoteError
from tests.unit.admin.browser import READER, WRITER, Browser, read_page
from tests.unit.admin.nodes import a_node


def echo(ask):
    return as_json({"by": ask.caller.name, "path": dict(ask.path), "query": dict(ask.query), "body": dict(ask.body)})


class Talks(TestCase):
    def setUp(self):
        self.later = Deferred()

        def refuse(ask):
            raise Refused(409, "not now")

        def fail(ask):
            raise KeyError("secret detail")

        self.browser = Browser(
            (
                Route("GET", "/things/{name}", "thing", "", echo, query=(Field("limit", "integer", "", most=9),)),
                Route("POST", "/things", "make", "", echo, need="write", body=(Field("size", "integer", "", True),)),
                Route("GET", "/later", "later", "", lambda ask: self.later),
                Route("GET", "/refuse", "refuse", "", refuse),
                Route("GET", "/fail", "fail", "", fail),
                Route("GET", "/away", "away", "", lambda ask: defer.fail(RemoteError(503, b"Database Unavailable"))),
            )
        )

    def test_an_answer_and_what_protects_it(self):
        page = self.browser.get("/things/a%2Fb?limit=7")
        self.assertEqual(page.status, 200)
        self.assertEqual(page.json, {"by": "local", "path": {"name": "a/b"}, "query": {"limit": 7}, "body": {}})
        self.assertEqual(page.headers["x-content-type-options"], "nosniff")
        self.assertEqual(page.headers["x-frame-options"], "deny")
        self.assertIn("default-src 'none'", page.headers["content-security-policy"])
        self.assertEqual(page.headers["cache-control"], "no-store")
        self.assertEqual(page.headers["server"], "sbc")

    def test_head_has_no_body(self):
        page = self.browser.ask("HEAD", "/things/a")
        self.assertEqual((page.status, page.body), (200, b""))

    def test_nothing_there(self):
        self.assertEqual(self.browser.get("/nothing").status, 404)
        self.assertEqual(self.browser.post("/things/a", {}, key=WRITER).status, 405)
        self.assertEqual(self.browser.get("/things/a/b").status, 404)

    def test_parameters_are_checked(self):
        self.assertIn("at most 9", self.browser.get("/things/a?limit=10").json["error"])
        self.assertIn("no parameter 'x'", self.browser.get("/things/a?x=1").json["error"])
        self.assertIn("twice", self.browser.get("/things/a?limit=1&limit=2").json["error"])
        self.assertEqual(self.browser.get("/things/a?limit=1%3Bdrop").status, 400)

    def test_bodies_are_checked(self):
        post = self.browser.post
        self.assertEqual(post("/things", {"size": 3}, key=WRITER).json["body"], {"size": 3})
        self.assertEqual(post("/things", {"size": 3}).status, 401)
        self.assertEqual(post("/things", {"size": 3}, key=READER).status, 403)
        self.assertEqual(post("/things", {}, key=WRITER).json["error"], "missing: size")
        self.assertEqual(post("/things", {"size": "x"}, key=WRITER).status, 400)
        self.assertEqual(post("/things", {"size": 3, "more": 1}, key=WRITER).status, 400)
        self.assertEqual(post("/things", [1], key=WRITER).status, 400)
        json_type = {"Content-Type": "application/json"}
        self.assertEqual(post("/things", raw=b"{", headers=json_type, key=WRITER).status, 400)
        self.assertEqual(post("/things", raw=b"[" * 100_000, headers=json_type, key=WRITER).status, 400)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self.assertIn(post("/things", raw=b"size=3", headers=form, key=WRITER).status, (400, 415))
        self.assertEqual(
            post("/things", raw=b'{"size":3}', headers={"Content-Type": "text/plain"}, key=WRITER).status, 415
        )

    def test_a_large_body_is_refused_and_a_flood_is_cut(self):
        page = self.browser.post("/things", raw=b" " * (BODY_LIMIT + 1), key=WRITER)
        self.assertEqual(page.status, 413)
        head = b"POST /things HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        transport, channel = self.browser.send(head)
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(FLOOD_LIMIT // 0x10000 + 1):
            channel.dataReceived(chunk)
        self.assertTrue(transport.disconnecting or transport.disconnected)

    def test_errors(self):
        self.assertEqual(self.browser.get("/refuse").json, {"error": "not now"})
        page = self.browser.get("/fail")
        self.assertEqual(page.status, 500)
        self.assertNotIn("secret", page.text)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(self.browser.get("/away").status, 503)

    def test_an_answer_that_takes_time(self):
        transport, _ = self.browser.send(b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(transport.value(), b"")
        self.later.callback(Answer(b"done", "text/plain"))
        self.assertEqual(read_page(transport.value()).body, b"done")

    def test_a_caller_who_left_is_not_answered(self):
        transport, channel = self.browser.send(b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n")
        channel.connectionLost(Failure(ConnectionDone()))
        self.later.callback(Answer(b"done", "text/plain"))
        self.assertEqual(transport.value(), b"")

    def test_connections_are_limited(self):
        channels = [self.browser.send(b"")[1] for _ in range(CONNECTIONS)]
        self.assertIsNone(self.browser.site.buildProtocol(None))
        channels[0].connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(self.browser.site.buildProtocol(None))

    def test_from_the_network_a_browser_is_asked_for_a_key(self):
        page = self.browser.get("/things/a", peer="192.0.2.7")
        self.assertEqual(page.status, 401)
        self.assertIn("basic", page.headers["www-authenticate"])


class Health(TestCase):
    def test_ready_only_when_nothing_is_missing(self):
        missing = ["no listener on udp:0.0.0.0:5060"]
        browser = Browser(health_routes(a_node(missing=lambda: missing)))
        page = browser.get("/healthz")
        self.assertEqual(page.status, 503)
        self.assertEqual(page.json, {"status": "not ready", "node": "edge-1", "missing": missing})
        missing.clear()
        page = browser.get("/healthz")
        self.assertEqual((page.status, page.json["status"]), (200, "ready"))

    def test_metrics(self):
        browser = Browser(health_routes(a_node()))
        page = browser.get("/metrics")
        self.assertTrue(page.headers["content-type"].startswith("text/plain; version=0.0.4"))
        self.assertIn("# TYPE sbc_sip_messages_total counter", page.text)
        self.assertEqual(browser.get("/metrics", peer="192.0.2.7").status, 401)
        self.assertEqual(browser.get("/metrics", peer="192.0.2.7", key=READER).status, 200)


class Serves(TestCase):
    def service(self, settings):
        self.stored = succeed(())
        reactor = MemoryReactorClock()
        self.state = Path(self.mktemp())
        clock = Clock()
        service = AdminService(
            reactor,
            settings,
            Router(()),
            self.state,
            monotonic=clock.seconds,
            utc=clock.seconds,
            stored_keys=lambda: self.stored,
            random=lambda count: b"k" * count,
        )
        service.startService()
        return reactor, service

    def test_listens_and_makes_the_key_of_this_host(self):
        reactor, service = self.service(AdminSettings(listen=Address("127.0.0.1", 8081)))
        ((port, site, _, interface),) = reactor.tcpServers
        self.assertEqual((port, interface), (8081, "127.0.0.1"))
        self.assertIs(site, service.site)
        key = read_key(self.state / "admin.key")
        self.assertEqual(service.access.keyring.recognise(key, 0).role, "write")
        service.stopService()

    def test_keys_in_the_database_are_known_soon_and_stay_while_it_is_away(self):
        reactor, service = self.service(AdminSettings())
        self.stored = succeed((ApiKey("ops", digest(WRITER), "write"),))
        reactor.advance(KEYS_INTERVAL)
        self.assertEqual(service.access.keyring.recognise(WRITER, 0).name, "ops")
        self.stored = fail(OSError("database away"))
        reactor.advance(KEYS_INTERVAL)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertEqual(service.access.keyring.recognise(WRITER, 0).name, "ops")
        self.stored = succeed(())
        reactor.advance(KEYS_INTERVAL)
        self.assertIsNone(service.access.keyring.recognise(WRITER, 0))
        self.assertEqual(service.access.keyring.recognise(read_key(self.state / "admin.key"), 0).name, "host")
        service.stopService()
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_settings_that_would_be_dangerous(self):
        def mistakes(text):
            try:
                load(text, [AdminSettings], path="sbc.toml")
            except Exception as error:
                return str(error)
            return ""

        self.assertIn("loopback", mistakes('[admin]\nlisten = "0.0.0.0:8080"\n'))
        self.assertEqual("", mistakes('[admin]\nlisten = "0.0.0.0:8080"\nplain = "on"\n'))
        self.assertEqual("", mistakes('[admin]\nlisten = "0.0.0.0:8080"\ncertificate = "a.pem"\nkey = "b.pem"\n'))
        self.assertEqual("", mistakes('[admin]\nlisten = "[::1]:8080"\n'))
        self.assertIn("belong together", mistakes('[admin]\ncertificate = "a.pem"\n'))


def test_json_is_compact():
    assert json.loads(as_json({"a": 1}).body) == {"a": 1}
