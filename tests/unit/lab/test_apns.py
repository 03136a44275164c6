"""The emulated APNs, spoken to over TLS and HTTP/2 on the loopback."""

import json
import shutil
import tempfile
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.trial.unittest import TestCase
from zope.interface import directlyProvides

from sbc.lab.apns import Apns
from sbc.lab.authority import Authority
from sbc.lab.script import ANY, Answer
from tests.unit.lab.browser import Http2Client, WithClientCertificate, es256, tls
from tests.waiting import turns, until

TOKEN = "0123abcd" * 8
VOIP = {"apns-push-type": "voip", "apns-topic": "com.example.phone.voip", "apns-priority": "10", "apns-expiration": "0"}


class Pushing(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp())
        cls.authority = Authority(cls.directory, now_at=time.time())

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.directory)

    @inlineCallbacks
    def setUp(self):
        self.apns = Apns(reactor, self.authority)
        self.clients = []
        yield self.apns.start()

    @inlineCallbacks
    def tearDown(self):
        yield self.apns.stop()
        for client in self.clients:
            if not client.lost:
                client.transport.abortConnection()
        yield turns()

    @inlineCallbacks
    def client(self, options=None):
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.apns.port)
        wrapped = wrapClientTLS(options or tls(self.authority, [b"h2"]), endpoint)
        client = yield connectProtocol(wrapped, Http2Client())
        self.clients.append(client)
        return client

    def bearer(self, age=5.0, **claims):
        made = {"iss": self.authority.team_id, "iat": int(time.time() - age), **claims}
        return "bearer " + es256(self.authority.apns_key(), {"kid": self.authority.key_id}, made)

    def post(self, client, token=TOKEN, body=b'{"aps":{}}', **headers):
        sent = {**VOIP, "authorization": self.bearer(), **{name.replace("_", "-"): v for name, v in headers.items()}}
        sent = {name: value for name, value in sent.items() if value}
        return client.post(f"/3/device/{token}", sent, body)

    @inlineCallbacks
    def test_an_accepted_push_is_recorded_and_wakes_the_listener(self):
        woken = []
        self.apns.inbox.listen(TOKEN, woken.append)
        client = yield self.client()
        ours = "12345678-1234-1234-1234-123456789ABC"
        status, headers, _ = yield self.post(client, body=json.dumps({"aps": {}, "x": 1}).encode(), apns_id=ours)
        self.assertEqual((status, headers["apns-id"]), (200, ours))
        (push,) = woken
        self.assertEqual((push.payload["x"], push.headers["apns-priority"], push.connection), (1, "10", 1))

    @inlineCallbacks
    def test_who_may_push(self):
        client = yield self.client()
        for bearer, reason in (
            ("", "MissingProviderToken"),
            ("bearer a.b.c", "InvalidProviderToken"),
            (self.bearer(iss="SOMEBODYEL"), "InvalidProviderToken"),
            (self.bearer(age=3700), "ExpiredProviderToken"),
            (self.bearer(age=-900), "ExpiredProviderToken"),
            (self.bearer(exp=time.time() - 1), "ExpiredProviderToken"),
        ):
            status, _, body = yield self.post(client, authorization=bearer)
            self.assertEqual((status, body["reason"]), (403, reason))
        self.assertEqual(self.apns.inbox.accepted(), [])

    @inlineCallbacks
    def test_another_token_too_soon_on_one_connection(self):
        client = yield self.client()
        yield self.post(client, authorization=self.bearer(age=10))
        status, _, body = yield self.post(client, authorization=self.bearer(age=5))
        self.assertEqual((status, body["reason"]), (429, "TooManyProviderTokenUpdates"))
        other = yield self.client()
        status, _, _ = yield self.post(other, authorization=self.bearer(age=5))
        self.assertEqual(status, 200)

    @inlineCallbacks
    def test_one_stream_until_the_token_proves_good_then_many(self):
        client = yield self.client()
        bearer = self.bearer()
        yield self.post(client, authorization=bearer)
        yield until(lambda: client.h2.remote_settings.max_concurrent_streams == 1000, "leave for many")
        answers = yield gatherResults([self.post(client, authorization=bearer) for _ in range(20)])
        self.assertEqual({status for status, _, _ in answers}, {200})
        fresh = yield self.client()
        yield until(lambda: fresh.h2.remote_settings.max_concurrent_streams < 1000, "the first settings")
        self.assertEqual(fresh.h2.remote_settings.max_concurrent_streams, 1)

    @inlineCallbacks
    def test_a_client_certificate_needs_no_token_and_says_the_topics(self):
        options = WithClientCertificate(self.authority, self.authority.apns_certificate()[1])
        directlyProvides(options, IOpenSSLClientConnectionCreator)
        client = yield self.client(options)
        status, _, _ = yield self.post(client, authorization="")
        self.assertEqual(status, 200)
        status, _, body = yield self.post(client, authorization="", apns_topic="com.example.other")
        self.assertEqual((status, body["reason"]), (400, "TopicDisallowed"))

    @inlineCallbacks
    def test_scripted_answers(self):
        client, bearer = (yield self.client()), self.bearer()
        self.apns.script.plan(TOKEN, Answer(status=410, reason="Unregistered", timestamp_at=1_600_000_000.5))
        self.apns.script.plan(ANY, Answer(status=500, reason="InternalServerError", delay=0.05))
        status, _, body = yield self.post(client, authorization=bearer)
        self.assertEqual((status, body), (410, {"reason": "Unregistered", "timestamp": 1_600_000_000_500}))
        status, _, _ = yield self.post(client, token="ff" * 32, authorization=bearer)
        self.assertEqual(status, 500)
        status, _, _ = yield self.post(client, authorization=bearer)
        self.assertEqual(status, 200)
        self.apns.tokens = {"ff" * 32}
        _, _, body = yield self.post(client, authorization=bearer)
        self.assertEqual(body["reason"], "BadDeviceToken")

    @inlineCallbacks
    def test_goaway_leaves_the_newer_request_and_answers_the_older(self):
        client, bearer = (yield self.client()), self.bearer()
        yield self.post(client, authorization=bearer)
        self.apns.script.plan("aa" * 32, Answer(delay=0.1))
        self.apns.script.plan("bb" * 32, Answer(act="goaway"))
        older = self.post(client, token="aa" * 32, authorization=bearer)
        newer = self.post(client, token="bb" * 32, authorization=bearer)
        status, _, _ = yield older
        self.assertEqual(status, 200)
        yield until(lambda: client.goaway == 3, "word that the newer one was not looked at")
        self.assertFalse(newer.called)

    @inlineCallbacks
    def test_refused_streams_silence_and_cut_connections(self):
        client, bearer = (yield self.client()), self.bearer()
        self.apns.script.plan(TOKEN, Answer(act="refuse"), Answer(act="silence"), Answer(act="close"))
        self.assertIn("reset", (yield self.post(client, authorization=bearer)))
        silent = self.post(client, authorization=bearer)
        self.assertEqual((yield self.post(client, authorization=bearer)), "lost")
        self.assertEqual((yield silent), "lost")
        self.assertEqual([push.reason for push in self.apns.inbox.pushes], ["refuse", "silence", "close"])
