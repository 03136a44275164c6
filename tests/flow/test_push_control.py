"""Operators steer push over HTTP: the old API, the JSON API, the doctor."""

from __future__ import annotations

import json
from pathlib import Path

import treq
from twisted.internet.defer import inlineCallbacks

from sbc.lab.script import Answer
from tests.flow.scene import FlowCase, until


class Control(FlowCase):
    @inlineCallbacks
    def old(self, query):
        response = yield treq.get(f"{self.world.border.web}/mvapireq/?{query}", persistent=False)
        text = yield treq.text_content(response)
        return text

    @inlineCallbacks
    def ask(self, method, path, body=None):
        key = Path(self.world.directory, "state", "admin.key").read_text().strip()
        response = yield treq.request(
            method,
            f"{self.world.border.web}/api/v1{path}",
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            data=None if body is None else json.dumps(body).encode(),
            persistent=False,
        )
        found = yield treq.json_content(response)
        return found

    @inlineCallbacks
    def ready(self, **more):
        yield self.begin(admin='api_key = "s3cret"', **more)
        phone = yield self.asleep(killed=True)
        return phone

    @inlineCallbacks
    def test_a_push_by_the_old_api_reaches_the_phone(self):
        phone = yield self.ready()
        text = yield self.old("apientry=sendpush&authkey=s3cret&type=1&from_user=alice&to_user=bob&message=hello")
        self.assertTrue(text.startswith("OK"), text)
        [push] = self.pushes(phone)
        self.assertIn("hello", str(push.payload))
        text = yield self.old("apientry=sendpush&authkey=wrong&type=1&to_user=bob&message=hello")
        self.assertTrue(text.startswith("ERROR, "), text)
        token = phone.token
        query = f"apientry=sendpush&authkey=s3cret&type=3&platform=i&package={token.app}&to_token={token.prid}&title=T"
        text = yield self.old(query)
        self.assertTrue(text.startswith("OK"), text)
        self.assertEqual(len(self.pushes(phone)), 2)

    @inlineCallbacks
    def test_the_load_and_the_status(self):
        yield self.ready()
        text = yield self.old("apientry=wsload&authkey=s3cret")
        self.assertRegex(text, r"^OK: WS Load: [0-4] type (low|medium|busy|high|extreme)\n$")
        text = yield self.old("apientry=pushstat")
        self.assertIn("apns com.example.phone", text)

    @inlineCallbacks
    def test_an_upper_registration_is_ended(self):
        yield self.ready()
        self.assertIsNotNone(self.upper.contact_of("bob"))
        text = yield self.old("apientry=upperunreg&authkey=s3cret&to_user=bob")
        self.assertEqual(text, "OK: 1 upper registrations ended\n")
        yield until(lambda: self.upper.contact_of("bob") is None, "the upper server has forgotten it")
        yield until(lambda: self.rows("select state from upper_registrations")[0]["state"] == "ended", "so have we")

    @inlineCallbacks
    def test_the_doctor_tries_the_credentials_by_a_push_to_nobody(self):
        yield self.ready()
        self.apns.script.always("0" * 64, Answer(status=410, reason="Unregistered", timestamp_at=4e9))
        found = yield self.ask("POST", "/push/doctor", {"subject": "bob"})
        told = [(item["level"], item["text"]) for item in found["items"]]
        self.assertTrue(any("token" in text and "live" in text for _, text in told), told)
        self.assertTrue(any(level == "good" and "accepts our credential" in text for level, text in told), told)
        found = yield self.ask("POST", "/push/doctor", {"subject": "com.example.phone"})
        self.assertTrue(any("credential from" in item["text"] for item in found["items"]), found)
        found = yield self.ask("POST", "/push/doctor", {"subject": "nobody"})
        self.assertEqual(found["items"][0]["level"], "bad")

    @inlineCallbacks
    def test_the_doctor_asks_the_service_of_a_subscription(self):
        yield self.begin(providers=("webpush",))
        yield self.awake(provider="webpush", dialect="rfc8599")
        found = yield self.ask("POST", "/push/doctor", {"subject": "bob"})
        told = [(item["level"], item["text"]) for item in found["items"]]
        self.assertTrue(any("webpush" in text and "accepts our credential (404" in text for _, text in told), told)
        yield until(lambda: self.rows("select * from pushes where type = 'custom'"), "the push is noted")
        self.assertEqual(
            len(self.rows("select * from push_tokens where state = 'live'")), 1, "the real one is untouched"
        )

    @inlineCallbacks
    def test_the_metrics_of_pushes(self):
        phone = yield self.ready()
        steps = [Answer(status=500, reason="InternalServerError")]
        self.apns.script.plan(phone.token.prid, *steps, Answer(status=410, reason="Unregistered", timestamp_at=4e9))
        yield self.old("apientry=sendpush&authkey=s3cret&type=0&to_user=bob")
        text = yield self.world.border.metrics()
        for line in (
            'sbc_pushes_total{provider="apns",result="dead_token",type="call"} 1',
            'sbc_push_failures_total{app="com.example.phone",provider="apns",reason="Unregistered"} 1',
            'sbc_push_retries_total{provider="apns"} 1',
            'sbc_push_dead_tokens_total{provider="apns"} 1',
        ):
            self.assertIn(line, text)

    @inlineCallbacks
    def test_a_token_of_google_s_is_pushed_for_the_platform_that_the_operator_names(self):
        yield self.begin(providers=("fcm",), admin='api_key = "s3cret"')
        phone = yield self.asleep(provider="fcm", killed=True)
        query = f"platform=j&package={phone.token.app}&to_token={phone.token.prid}&message=hi"
        text = yield self.old(f"apientry=sendpush&authkey=s3cret&type=1&{query}")
        self.assertTrue(text.startswith("OK"), text)
        [push] = self.world.inbox("fcm").of(phone.token.prid)
        self.assertIn("apns", push.payload)
        self.assertNotIn("android", push.payload)

    @inlineCallbacks
    def test_wakes_are_summed(self):
        yield self.begin()
        yield self.asleep()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        yield until(lambda: self.rows("select * from pushes where woke_after is not null"), "the wake is noted")
        found = yield self.ask("GET", "/push/wakes")
        [line] = found["items"]
        self.assertEqual((line["app"], line["woke"], line["share"]), ("com.example.phone", 1, 1.0))
