"""The laboratory's phone and upper server talk to each other directly, without anything between them."""

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase

from sbc.lab.phone import Manners, Phone
from sbc.lab.received import Inbox, ReceivedPush
from sbc.lab.rtp import media_address
from sbc.lab.speech import DeviceToken
from sbc.lab.upper import Reply, Upper
from tests.waiting import until

USERS = {"alice": "secret-alice", "bob": "secret-bob"}
TOKEN = DeviceToken(provider="apns", app="com.example.phone", prid="ab" * 32)


class Registering(TestCase):
    transport = "udp"

    @inlineCallbacks
    def setUp(self):
        self.upper = Upper(reactor, users=USERS)
        yield self.upper.start()
        self.phones = []

    @inlineCallbacks
    def tearDown(self):
        for phone in self.phones:
            yield phone.stop()
        yield self.upper.stop()

    def phone(self, username="bob", **more):
        more.setdefault("transport", self.transport)
        more.setdefault("password", USERS[username])
        phone = Phone(reactor, username=username, proxy=(self.upper.host, self.upper.port), token=TOKEN, **more)
        self.phones.append(phone)
        return phone

    @inlineCallbacks
    def test_a_challenge_is_answered_and_the_phone_can_be_found(self):
        phone = self.phone()
        response = yield phone.start()
        self.assertEqual(response.status, 200)
        self.assertEqual([seen.request.has(b"authorization") for seen in self.upper.saw("REGISTER")], [False, True])
        self.assertIn(b"X-MPUSH: i:com.example.phone:" + b"ab" * 32, self.upper.saw("REGISTER")[0].request.render())
        self.assertIn(b"127.0.0.3", self.upper.contact_of("bob").uri)

    @inlineCallbacks
    def test_a_wrong_password_is_refused(self):
        response = yield self.phone(password="wrong").start()
        self.assertEqual(response.status, 403)
        self.assertIsNone(self.upper.contact_of("bob"))

    @inlineCallbacks
    def test_stale_nonces_short_intervals_and_scripted_refusals(self):
        self.upper.rules.min_expires = 300
        self.upper.script.plan("REGISTER", Reply(), Reply(stale=True), Reply(), Reply(), Reply(status=503))
        phone = self.phone(expires=60)
        response = yield phone.start()
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.upper.saw("REGISTER")), 4)  # 401, stale 401, 423, 200
        response = yield phone.register()
        self.assertEqual(response.status, 503)

    @inlineCallbacks
    def test_a_remembered_nonce_saves_the_round_trip(self):
        phone = self.phone(manners=Manners(remembers_nonce=True))
        yield phone.start()
        yield phone.register()
        self.assertEqual(len(self.upper.saw("REGISTER")), 3)

    @inlineCallbacks
    def test_unregistering_takes_the_binding_away(self):
        phone = self.phone()
        yield phone.start()
        yield phone.register(expires=0)
        self.assertIsNone(self.upper.contact_of("bob"))
        self.assertRaises(LookupError, self.upper.place_call, "bob")

    @inlineCallbacks
    def test_a_call_rings_is_answered_talks_both_ways_and_ends(self):
        phone = self.phone()
        yield phone.start()
        call = self.upper.place_call("bob", display="The Boss")
        yield call.diary.when("provisional")
        final = yield call.diary.when("final")
        self.assertEqual(final.detail.status, 200)
        self.assertEqual(media_address(final.detail.body)[0], "127.0.0.3")
        heard = phone.calls[0].media
        yield until(lambda: heard.heard["caller"] > 8 and call.media.heard["bob"] > 8, "speech both ways")
        self.assertEqual((heard.lost, call.media.lost), (0, 0))
        bye = yield call.hang_up()
        self.assertEqual(bye.status, 200)
        self.assertEqual(phone.calls[0].diary.last("ended").detail, "remote")
        self.assertEqual([seen.method for seen in phone.seen], ["INVITE", "ACK", "BYE"])
        self.assertTrue(phone.seen[0].request.from_.name, "The Boss")

    @inlineCallbacks
    def test_the_callee_hangs_up(self):
        phone = self.phone()
        yield phone.start()
        call = self.upper.place_call("bob")
        yield call.diary.when("up")
        yield phone.calls[0].diary.when("ack")
        bye = yield phone.calls[0].hang_up()
        self.assertEqual(bye.status, 200)
        self.assertEqual(call.diary.last("ended").detail, "remote")

    @inlineCallbacks
    def test_a_call_given_up_while_it_rings(self):
        phone = self.phone(manners=Manners(answer_delay=None))
        yield phone.start()
        call = self.upper.place_call("bob")
        yield call.diary.when("provisional")
        call.cancel()
        final = yield call.diary.when("final")
        self.assertEqual(final.detail.status, 487)
        self.assertEqual([seen.method for seen in phone.seen], ["INVITE", "CANCEL"])
        self.assertEqual(phone.calls[0].diary.last("ended").detail, "cancel")

    @inlineCallbacks
    def test_a_busy_phone(self):
        phone = self.phone(manners=Manners(answer=486, answer_delay=0.0))
        yield phone.start()
        final = yield self.upper.place_call("bob").diary.when("final")
        self.assertEqual(final.detail.status, 486)

    @inlineCallbacks
    def test_messages_both_ways(self):
        bob, alice = self.phone(), self.phone("alice")
        yield bob.start()
        yield alice.start()
        response = yield self.upper.send_message("bob", "Grüße")
        self.assertEqual((response.status, bob.diary.last("message").detail), (200, "Grüße"))
        response = yield alice.send_message("bob", "hello")
        self.assertEqual((response.status, bob.diary.last("message").detail), (200, "hello"))

    @inlineCallbacks
    def test_one_phone_calls_another_through_the_server_with_a_challenge(self):
        self.upper.challenge_calls = True
        bob, alice = self.phone(), self.phone("alice")
        yield bob.start()
        yield alice.start()
        call = alice.call("bob")
        final = yield call.diary.when("final")
        self.assertEqual(final.detail.status, 200)
        yield bob.calls[0].diary.when("ack")
        yield call.hang_up()
        yield until(lambda: bob.calls[0].over, "the end on the other side")
        self.assertEqual(len(bob.saw("INVITE")), 1)

    @inlineCallbacks
    def test_all_devices_of_a_user_ring_and_the_first_answer_wins(self):
        slow, fast = self.phone(manners=Manners(answer_delay=None)), self.phone()
        alice = self.phone("alice")
        for phone in (slow, fast, alice):
            yield phone.start()
        call = alice.call("bob")
        yield call.diary.when("up")
        yield slow.diary.when("cancelled")
        self.assertFalse(fast.calls[0].over)
        yield call.hang_up()

    @inlineCallbacks
    def test_the_server_answers_for_somebody(self):
        self.upper.answering["echo"] = 0.05
        phone = self.phone()
        yield phone.start()
        call = phone.call("echo")
        yield call.diary.when("up")
        yield until(lambda: call.media.heard["echo"] > 2, "an echo")
        yield call.hang_up()
        refused = yield phone.call("nobody").diary.when("final")
        self.assertEqual(refused.detail.status, 404)

    @inlineCallbacks
    def test_sleep_is_really_gone_and_a_push_brings_it_back_on_another_port(self):
        inbox = Inbox()
        phone = self.phone(manners=Manners(wake_delay=0.05, lost_pushes=1))
        phone.listen(inbox)
        yield phone.start()
        before = self.upper.contact_of("bob").uri
        yield phone.sleep()
        push = ReceivedPush(
            provider="apns", at=0, arrived_at=0, token=TOKEN.prid, headers={}, body=b"", status=200, payload={}
        )
        inbox.record(push)
        yield phone.diary.when("lost push")
        self.assertFalse(phone.awake)
        inbox.record(push)
        yield phone.diary.when("registered", 2)
        after = self.upper.contact_of("bob").uri
        self.assertNotEqual(before, after)
        self.assertEqual((phone.wakes, phone.diary.count("lost push")), (2, 1))
        final = yield self.upper.place_call("bob").diary.when("final")
        self.assertEqual((final.detail.status, phone.seen[0].wake), (200, 2))


class RegisteringOverTcp(Registering):
    transport = "tcp"
