"""What the upper server's 2xx to a REGISTER says of later requests: Service-Route, P-Associated-URI, GRUUs."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from sbc.lab.party import new_branch, new_tag
from sbc.lab.upper import Reply
from sbc.sip.build import make_request
from tests.flow.scene import FlowCase, until

INSTANCE = "urn:uuid:00000000-0000-1000-8000-000a95a0e1%02d"
SOON = (b"expires", b"2")
"""What makes the SBC refresh at once."""
GRUU = [(b"supported", b"gruu")]


class Routes(FlowCase):
    """RFC 3608."""

    @inlineCallbacks
    def registered(self, **more):
        yield self.begin(**more)
        self.upper.answering["echo"] = 0.05
        self.route = [b"<sip:in@%b:%d;lr>" % (self.upper.host.encode(), self.upper.port), b"<sip:orig@core.example;lr>"]
        told = (
            (b"service-route", b", ".join(self.route)),
            (b"p-associated-uri", b"<sip:bob@pbx.example.com>, <tel:+49301>"),
        )
        self.upper.script.always("REGISTER", Reply(status=200, headers=told))
        phone = yield self.awake()
        return phone

    @inlineCallbacks
    def test_requests_of_the_user_take_it_and_the_phone_hears_nothing_of_it(self):
        phone = yield self.registered()
        accepted = phone.diary.all("registered")[-1].detail
        self.assertFalse(accepted.has(b"service-route"))
        self.assertEqual(accepted.each(b"p-associated-uri"), [b"<sip:bob@pbx.example.com>", b"<tel:+49301>"])
        status = yield self.final(phone.call("echo"))
        self.assertEqual(status, 200)
        came = [heard.message for heard in self.upper._party.heard if heard.what == "INVITE"]
        self.assertEqual([each.lines(b"route") for each in came], [self.route[1:]], "the server took its own")

    @inlineCallbacks
    def test_it_is_kept(self):
        yield self.registered()
        [row] = self.rows("select service_route from upper_registrations")
        self.assertEqual(row["service_route"], b", ".join(self.route).decode())

    @inlineCallbacks
    def test_what_a_refresh_brings_counts_from_then_on(self):
        yield self.begin()
        self.upper.answering["echo"] = 0.05
        own = b"<sip:in@%b:%d;lr>" % (self.upper.host.encode(), self.upper.port)
        old, new = [[own, b"<sip:%b.core.example;lr>" % name] for name in (b"old", b"new")]
        self.upper.script.plan("REGISTER", Reply(status=200, headers=((b"service-route", b", ".join(old)), SOON)))
        self.upper.script.always("REGISTER", Reply(status=200, headers=((b"service-route", b", ".join(new)),)))
        phone = yield self.awake()
        [flow], live, clock = self.flows(phone), self.sbc.registrar.live, self.sbc.driver.clock
        yield until(lambda: live.resident(flow.token, clock(), "bob", "").service_route == tuple(new), "refreshed")
        [row] = self.rows("select service_route from upper_registrations")
        self.assertEqual(row["service_route"], b", ".join(new).decode())
        status = yield self.final(phone.call("echo"))
        self.assertEqual(status, 200)
        came = [heard.message for heard in self.upper._party.heard if heard.what == "INVITE"]
        self.assertEqual([each.lines(b"route") for each in came], [new[1:]])

    @inlineCallbacks
    def test_a_phone_that_is_answered_here_hears_what_the_server_last_said(self):
        yield self.begin(registrar="answer_locally = true")
        told = ((b"p-associated-uri", b"<tel:+49301>"), (b"expires", b"600"))
        self.upper.script.plan("REGISTER", Reply(), Reply(status=200, headers=told))
        phone = yield self.awake()
        before = len(self.upper.saw("REGISTER"))
        accepted = yield phone.register()
        self.assertEqual(accepted.status, 200)
        self.assertEqual(accepted.lines(b"p-associated-uri"), [b"<tel:+49301>"])
        self.assertEqual(len(self.upper.saw("REGISTER")), before)

    @inlineCallbacks
    def test_others_do_not_take_it(self):
        yield self.registered()
        self.upper.script.always("REGISTER", Reply(status=200))
        alice = yield self.awake("alice", host="127.0.0.5")
        yield self.final(alice.call("echo"))
        came = [heard.message for heard in self.upper._party.heard if heard.what == "INVITE"]
        self.assertEqual([each.lines(b"route") for each in came], [[]])


class Gruus(FlowCase):
    """RFC 5627: they are made by the upper server, which must know the devices one by one."""

    @inlineCallbacks
    def two_devices(self):
        yield self.begin(registrar='mode = "mirror"')
        self.upper.rules.gruu = True
        devices = []
        for number in (1, 2):
            phone = yield self.awake(host=f"127.0.0.{3 + number}", instance=INSTANCE % number, headers=GRUU)
            devices.append(phone)
        return devices

    def given(self, phone, name=b"pub-gruu"):
        return phone.diary.all("registered")[-1].detail.contacts[0].params[name].strip(b'"').decode()

    @inlineCallbacks
    def test_each_device_hears_its_own(self):
        devices = yield self.two_devices()
        for number, phone in enumerate(devices, 1):
            self.assertEqual(self.given(phone), f"sip:bob@pbx.example.com;gr={INSTANCE % number}")
            self.assertTrue(self.given(phone, b"temp-gruu").startswith("sip:tgruu."))

    @inlineCallbacks
    def test_they_outlive_a_refresh_of_ours(self):
        yield self.begin(registrar='mode = "mirror"\nanswer_locally = true')
        self.upper.rules.gruu, self.upper.rules.expires, self.upper.rules.min_expires = True, 2, 1
        phone = yield self.awake(instance=INSTANCE % 1, headers=GRUU)
        came = len(self.upper.saw("REGISTER"))
        self.upper.rules.expires = 600
        refreshed = "select gruus from upper_registrations where cseq > 1"
        yield until(lambda: self.rows(refreshed), "refreshed", 10)
        sent = self.upper.saw("REGISTER")[came].request
        self.assertEqual(sent.contacts[0].params[b"+sip.instance"], b'"<%b>"' % (INSTANCE % 1).encode())
        self.assertIn(b"gruu", sent.each(b"supported"))
        came = len(self.upper.saw("REGISTER"))
        yield phone.register()
        self.assertEqual(len(self.upper.saw("REGISTER")), came, "answered here")
        self.assertEqual(self.given(phone), f"sip:bob@pbx.example.com;gr={INSTANCE % 1}")
        self.assertIn(self.given(phone, b"temp-gruu").partition("@")[0], self.rows(refreshed)[0]["gruus"])

        alice = yield self.awake("alice", host="127.0.0.7")
        response = yield alice.party.ask(self.message(alice, self.given(phone)), alice.wire)
        self.assertEqual((response.status, len(phone.saw("MESSAGE"))), (200, 1))

    @inlineCallbacks
    def test_a_call_to_one_reaches_that_device_alone(self):
        first, second = yield self.two_devices()
        alice = yield self.awake("alice", host="127.0.0.7")
        response = yield alice.party.ask(self.message(alice, self.given(first)), alice.wire)
        self.assertEqual(response.status, 200)
        self.assertEqual((len(first.saw("MESSAGE")), len(second.saw("MESSAGE"))), (1, 0))
        [seen] = self.upper.saw("MESSAGE")
        self.assertIn(b";gr=", seen.request.uri, "it is the upper server's to resolve, also for a user of this SBC")

    def message(self, phone, uri):
        return make_request(
            b"MESSAGE",
            uri.encode(),
            via=phone.wire.via(new_branch()),
            from_=b"<sip:alice@pbx.example.com>;tag=" + new_tag(),
            to=b"<%b>" % uri.encode(),
            call_id=new_tag(),
            cseq=1,
            body=b"hello",
        )
