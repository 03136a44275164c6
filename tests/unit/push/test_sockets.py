"""Over real sockets and TLS: HTTP/2 to Apple's, HTTP/1.1 to Google's and a Web Push service's emulation."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.trial.unittest import TestCase

from sbc.lab.apns import Apns
from sbc.lab.authority import P12_PASSWORD, Authority
from sbc.lab.fcm import Fcm
from sbc.lab.script import Answer
from sbc.lab.webpush import WebPush
from sbc.push.orders import Outcome, PushOrder, PushType
from sbc.push.ports import PushConfiguration
from sbc.push.service import PushService
from sbc.push.settings import ApnsSettings, AppSettings, FcmSettings, PushSettings, WebPushSettings
from sbc.push.tokens import PushToken
from tests.unit.push.doubles import Notes
from tests.waiting import turns

DEVICES = [f"{number:02x}" * 32 for number in range(40)]
BUNDLE = "com.example.phone"


@cache
def one_authority() -> Authority:
    """Keys take their time to make, so all tests share them (trial knows no setUpClass)."""
    directory = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, directory)
    return Authority(directory, now_at=time.time())


class Sockets(TestCase):
    """A service of each provider on the loopback, and a push service that knows their keys."""

    @inlineCallbacks
    def setUp(self) -> Any:
        self.authority = one_authority()
        self.directory = self.authority.directory
        self.apns = Apns(reactor, self.authority)
        self.sandbox = Apns(reactor, self.authority, host="127.0.0.2")
        self.fcm = Fcm(reactor, self.authority)
        self.web = WebPush(reactor, self.authority)
        for server in (self.apns, self.sandbox, self.fcm, self.web):
            yield server.start()
        self.notes = Notes()
        self.service: PushService | None = None

    @inlineCallbacks
    def tearDown(self) -> Any:
        if self.service is not None:
            self.service.stopService()
        yield turns()
        for server in (self.apns, self.sandbox, self.fcm, self.web):
            yield server.stop()
        yield turns()

    def run_service(self, *, ca: bool = True, allow: tuple[str, ...] = ("127.0.0.1",), **changes: Any) -> PushService:
        ca_file = str(self.authority.ca_file) if ca else ""
        own = changes.pop("own", ())
        key = self.authority.apns_key()
        apps = (
            changes.pop("apple", None)
            or AppSettings(id=BUNDLE, provider="apns", key=str(key), team_id=self.authority.team_id),
            AppSettings(id=BUNDLE, provider="fcm", key=str(self.authority.service_account(self.fcm.token_uri))),
            AppSettings(id="web", provider="webpush", key=str(self.authority.vapid_key())),
        )
        self.service = PushService(
            reactor,
            PushConfiguration(
                push=PushSettings(credentials=str(self.directory / "none"), webpush="on"),
                apps=apps,
                apns=ApnsSettings(
                    url=changes.pop("apns_url", self.apns.url), sandbox_url=self.sandbox.url, ca_file=ca_file
                ),
                fcm=FcmSettings(url=self.fcm.url, ca_file=ca_file),
                webpush=WebPushSettings(subject="mailto:ops@example.com", ca_file=ca_file, allow=allow),
            ),
            recorder=self.notes,
            meter=self.notes,
            own_addresses=own,
        )
        self.assertEqual(self.service.problems, ())
        self.service.startService()
        return self.service

    def push(self, token: PushToken, kind: PushType = PushType.CALL, **more: Any) -> Deferred[Any]:
        assert self.service is not None
        order = PushOrder(type=kind, tokens=(token,), call_id="c1@h", from_user="bob", from_display="Bób", **more)
        return self.service.send(order)

    @inlineCallbacks
    def test_apple_by_key(self) -> Any:
        self.run_service()
        results = yield gatherResults([self.push(PushToken("apns", BUNDLE, device)) for device in DEVICES])
        self.assertEqual({result.outcome for result in results}, {Outcome.ACCEPTED})
        self.assertEqual(self.apns.connections, 1)
        chat = yield self.push(PushToken("apns", BUNDLE, DEVICES[0]), PushType.CHAT, message="hello")
        self.assertEqual(chat.outcome, Outcome.ACCEPTED)

    @inlineCallbacks
    def test_apple_by_certificate(self) -> Any:
        bundled, _ = self.authority.apns_certificate()
        self.run_service(apple=AppSettings(id=BUNDLE, provider="apns", certificate=str(bundled), password=P12_PASSWORD))
        result = yield self.push(PushToken("apns", BUNDLE, DEVICES[0]))
        self.assertEqual((result.outcome, result.reason), (Outcome.ACCEPTED, ""))

    @inlineCallbacks
    def test_apple_misbehaves(self) -> Any:
        self.run_service()
        plans = {
            0: [Answer(act="goaway")],
            1: [Answer(act="refuse")],
            2: [Answer(act="close")],
            3: [Answer(status=503, reason="ServiceUnavailable")],
            4: [Answer(act="answer+goaway")],
        }
        for number, steps in plans.items():
            self.apns.script.plan(DEVICES[number], *steps)
        for number in plans:
            result = yield self.push(PushToken("apns", BUNDLE, DEVICES[number]))
            self.assertEqual((number, result.outcome), (number, Outcome.ACCEPTED))

    @inlineCallbacks
    def test_apple_knows_the_token_only_in_the_sandbox(self) -> Any:
        self.apns.tokens = set()
        self.run_service()
        result = yield self.push(PushToken("apns", BUNDLE, DEVICES[0]))
        self.assertEqual(result.outcome, Outcome.ACCEPTED)
        self.assertEqual(self.notes.tokens[0][0].environment, "sandbox")

    @inlineCallbacks
    def test_a_server_that_nobody_vouches_for(self) -> Any:
        self.run_service(ca=False)
        result = yield self.push(PushToken("apns", BUNDLE, DEVICES[0]), deadline=time.time() + 5.0)
        self.assertEqual(result.outcome, Outcome.RETRY)
        self.assertIn("certificate verify failed", result.reason)
        self.assertEqual(list(self.apns.inbox.pushes), [])

    @inlineCallbacks
    def test_a_server_of_another_name(self) -> Any:
        stranger = Apns(reactor, self.authority, host="127.0.0.20")
        yield stranger.start()
        self.addCleanup(stranger.stop)
        self.run_service(apns_url=stranger.url)
        result = yield self.push(PushToken("apns", BUNDLE, DEVICES[0]), deadline=time.time() + 5.0)
        self.assertEqual(result.outcome, Outcome.RETRY)
        self.assertEqual(result.reason, "TLS: the certificate is for another name")
        self.assertEqual(list(stranger.inbox.pushes), [])

    @inlineCallbacks
    def test_google_over_http_1(self) -> Any:
        self.run_service()
        results = yield gatherResults([self.push(PushToken("fcm", BUNDLE, f"t{n}", "", "android")) for n in range(15)])
        self.assertEqual({(result.outcome, result.reason) for result in results}, {(Outcome.ACCEPTED, "")})
        self.assertEqual(self.fcm.grants, 1)

    @inlineCallbacks
    def test_google_misbehaves(self) -> Any:
        self.run_service()
        self.fcm.script.plan("gone", Answer(status=404, reason="UNREGISTERED"))
        gone = yield self.push(PushToken("fcm", BUNDLE, "gone"))
        self.assertEqual(gone.outcome, Outcome.DEAD_TOKEN)
        self.fcm.script.plan("cut", Answer(act="close"))
        cut = yield self.push(PushToken("fcm", BUNDLE, "cut"))
        self.assertEqual((cut.outcome, cut.tries), (Outcome.ACCEPTED, 2))
        self.fcm.revoke()
        renewed = yield self.push(PushToken("fcm", BUNDLE, "t1"))
        self.assertEqual(renewed.outcome, Outcome.ACCEPTED)
        self.fcm.script.plan("mute", *[Answer(act="silence")] * 3)
        mute = yield self.push(PushToken("fcm", BUNDLE, "mute"), deadline=time.time() + 0.5)
        self.assertEqual(mute.outcome, Outcome.RETRY)

    @inlineCallbacks
    def test_a_browser_gets_an_encrypted_message(self) -> Any:
        self.run_service()
        subscription = self.web.subscribe(self.authority.vapid_public_key())
        token = PushToken("webpush", "web", subscription.prid)
        result = yield self.push(token)
        self.assertEqual((result.outcome, result.reason), (Outcome.ACCEPTED, ""))
        bare = yield self.push(PushToken("webpush", "web", subscription.endpoint))
        self.assertEqual((bare.outcome, bare.reason), (Outcome.ACCEPTED, ""))
        self.web.unsubscribe(subscription)
        gone = yield self.push(token)
        self.assertEqual(gone.outcome, Outcome.DEAD_TOKEN)

    @inlineCallbacks
    def test_a_subscription_must_not_lead_to_ourselves(self) -> Any:
        self.run_service(allow=(), own=("9.9.9.9",))
        result = yield self.push(PushToken("webpush", "web", "https://9.9.9.9/push/x"))
        self.assertEqual(result.outcome, Outcome.REFUSED)
        self.assertIn("9.9.9.9 is not on the public Internet", result.reason)

    @inlineCallbacks
    def test_a_subscription_must_not_lead_to_private_addresses(self) -> Any:
        self.run_service(allow=())
        subscription = self.web.subscribe(self.authority.vapid_public_key())
        for address in (subscription.prid, subscription.prid.replace("127.0.0.1", "localhost")):
            result = yield self.push(PushToken("webpush", "web", address))
            self.assertEqual(result.outcome, Outcome.REFUSED)
            self.assertIn("not on the public Internet", result.reason)
        plain = yield self.push(PushToken("webpush", "web", "http://push.example/x"))
        self.assertEqual(plain.reason, "the subscription's address is not https")
