"""The emulated FCM and Web Push services, spoken to over TLS and HTTP/1.1 on the loopback."""

import json
import shutil
import tempfile
import time
from io import BytesIO
from pathlib import Path

import http_ece
import treq
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, FileBodyProducer, HTTPConnectionPool
from twisted.web.http_headers import Headers

from sbc.lab.authority import Authority
from sbc.lab.fcm import OAUTH, Fcm
from sbc.lab.fcm_rules import GRANT
from sbc.lab.script import Answer
from sbc.lab.webpush import WebPush
from tests.unit.lab.browser import es256, part, rs256, trusting
from tests.waiting import turns


class Web(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp())
        cls.authority = Authority(cls.directory, now_at=time.time())

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.directory)

    def setUp(self):
        self.pool = HTTPConnectionPool(reactor)
        self.agent = Agent(reactor, BrowserLikePolicyForHTTPS(trusting(self.authority)), pool=self.pool)

    @inlineCallbacks
    def tearDown(self):
        yield self.pool.closeCachedConnections()
        yield self.service.stop()
        yield turns()

    @inlineCallbacks
    def post(self, url, body, **headers):
        lines = Headers({name.replace("_", "-"): [value] for name, value in headers.items()})
        response = yield self.agent.request(b"POST", url.encode(), lines, FileBodyProducer(BytesIO(body)))
        content = yield treq.content(response)
        return response, content


class Google(Web):
    @inlineCallbacks
    def setUp(self):
        super().setUp()
        self.fcm = self.service = Fcm(reactor, self.authority)
        yield self.fcm.start()
        self.account = json.loads(self.authority.service_account(self.fcm.token_uri).read_text())

    @inlineCallbacks
    def grant(self, **changes):
        now = int(time.time())
        claims = {
            "iss": self.account["client_email"],
            "scope": "https://www.googleapis.com/auth/firebase.messaging",
            "aud": self.account["token_uri"],
            "iat": now,
            "exp": now + 3600,
            **changes,
        }
        assertion = rs256(self.account["private_key"], claims)
        form = f"grant_type={GRANT}&assertion={assertion}".encode()
        response, content = yield self.post(self.fcm.token_uri, form)
        return response.code, json.loads(content)

    @inlineCallbacks
    def send(self, message, token=None, project="example-phone"):
        if token is None:
            _, granted = yield self.grant()
            token = granted["access_token"]
        url = self.fcm.url.replace("PROJECTID", project)
        body = json.dumps({"message": message}).encode()
        response, content = yield self.post(url, body, authorization=f"Bearer {token}")
        return response, json.loads(content)

    @inlineCallbacks
    def test_a_message_is_accepted_and_recorded(self):
        message = {"token": "dev:1", "data": {"ntype": "0"}, "android": {"priority": "high", "ttl": "0s"}}
        response, said = yield self.send(message)
        self.assertEqual(response.code, 200)
        self.assertTrue(said["name"].startswith("projects/example-phone/messages/"))
        (push,) = self.fcm.inbox.of("dev:1")
        self.assertEqual(push.payload["data"], {"ntype": "0"})

    @inlineCallbacks
    def test_assertions_are_checked(self):
        now = int(time.time())
        for change in ({"iss": "x"}, {"aud": "x"}, {"exp": now - 1}, {"exp": now + 9999}, {"iat": now + 900}):
            code, said = yield self.grant(**change)
            self.assertEqual((code, said["error"]), (400, "invalid_grant"))
        code, said = yield self.grant(scope="email")
        self.assertEqual(said["error"], "invalid_scope")
        self.fcm.script.plan(OAUTH, Answer(status=503))
        code, _ = yield self.grant()
        self.assertEqual(code, 503)

    @inlineCallbacks
    def test_callers_and_messages_are_checked(self):
        response, said = yield self.send({"token": "x"}, token="ya29.none")
        self.assertEqual((response.code, said["error"]["status"]), (401, "UNAUTHENTICATED"))
        _, granted = yield self.grant()
        token = granted["access_token"]
        response, _ = yield self.send({"token": "x"}, token, project="other")
        self.assertEqual(response.code, 403)
        for bad in (
            {},
            {"token": "x", "data": {"n": 1}},
            {"token": "x", "priority": "high"},
            {"token": "x", "android": {"ttl": "30"}},
            {"token": "x", "data": {"from": "a"}},
        ):
            response, said = yield self.send(bad, token)
            self.assertEqual((response.code, said["error"]["details"][0]["errorCode"]), (400, "INVALID_ARGUMENT"))
        self.fcm.revoke()
        response, _ = yield self.send({"token": "x"}, token)
        self.assertEqual(response.code, 401)

    @inlineCallbacks
    def test_scripted_errors_look_like_googles(self):
        _, granted = yield self.grant()
        self.fcm.script.plan("x", Answer(status=404, reason="UNREGISTERED"))
        self.fcm.script.plan("x", Answer(status=429, reason="QUOTA_EXCEEDED", retry_after=7, delay=0.02))
        response, said = yield self.send({"token": "x"}, granted["access_token"])
        error = said["error"]
        self.assertEqual((error["code"], error["status"]), (404, "NOT_FOUND"))
        self.assertEqual(error["details"][0]["errorCode"], "UNREGISTERED")
        response, _ = yield self.send({"token": "x"}, granted["access_token"])
        self.assertEqual((response.code, response.headers.getRawHeaders("retry-after")), (429, ["7"]))
        self.assertEqual([push.reason for push in self.fcm.inbox.pushes], ["UNREGISTERED", "QUOTA_EXCEEDED"])


class Browsers(Web):
    @inlineCallbacks
    def setUp(self):
        super().setUp()
        self.web = self.service = WebPush(reactor, self.authority)
        yield self.web.start()
        self.subscription = self.web.subscribe(self.authority.vapid_public_key())

    def vapid(self, **changes):
        claims = {"aud": self.web.url, "exp": int(time.time()) + 3600, "sub": "mailto:ops@example.com", **changes}
        signed = es256(self.authority.vapid_key(), {"typ": "JWT"}, claims)
        return f"vapid t={signed}, k={part(self.authority.vapid_public_key())}"

    def push(self, body=b"", **headers):
        headers = {"authorization": self.vapid(), "ttl": "0", **headers}
        return self.post(self.subscription.endpoint, body, **{name: value for name, value in headers.items() if value})

    @inlineCallbacks
    def test_an_encrypted_message_is_read_as_the_browser_reads_it(self):
        body = http_ece.encrypt(
            b'{"ntype":"0"}',
            private_key=ec.generate_private_key(ec.SECP256R1()),
            dh=self.subscription.p256dh,
            auth_secret=self.subscription.auth,
            version="aes128gcm",
        )
        response, _ = yield self.push(body, content_encoding="aes128gcm", urgency="high", topic="abc")
        self.assertEqual(response.code, 201)
        self.assertTrue(response.headers.hasHeader("location"))
        (push,) = self.web.inbox.of(self.subscription.endpoint)
        self.assertEqual(push.payload, {"ntype": "0"})
        response, _ = yield self.push(body[:-1] + b"x", content_encoding="aes128gcm")
        self.assertEqual(response.code, 400)

    @inlineCallbacks
    def test_headers_and_vapid_are_checked(self):
        for code, headers in (
            (201, {}),
            (400, {"ttl": ""}),
            (400, {"urgency": "now"}),
            (400, {"topic": "x" * 33}),
            (403, {"authorization": ""}),
            (403, {"authorization": self.vapid(aud="https://other.example")}),
            (403, {"authorization": self.vapid(exp=int(time.time()) + 90_000)}),
            (403, {"authorization": self.vapid(sub="me")}),
        ):
            response, _ = yield self.push(**headers)
            self.assertEqual(response.code, code, headers)
        self.web.unsubscribe(self.subscription)
        response, _ = yield self.push()
        self.assertEqual(response.code, 410)


del Web
