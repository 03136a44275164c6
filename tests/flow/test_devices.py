"""Several devices of one user, and messages for them."""

from __future__ import annotations

from twisted.internet.defer import gatherResults, inlineCallbacks

from tests.flow.scene import FlowCase, until


class Messages(FlowCase):
    @inlineCallbacks
    def test_a_message_wakes_the_phone_by_a_chat_push(self):
        yield self.begin()
        phone = yield self.asleep(transport="udp")
        response = yield self.upper.send_message("bob", "good morning")
        self.assertIn(response.status, (200, 202))
        text = yield self.happened(phone.diary, "message")
        self.assertEqual(text, "good morning")
        [push] = self.pushes(phone)
        self.assertEqual(push.headers["apns-push-type"], "alert")
        self.assertIn("good morning", str(push.payload))
        self.assertEqual(len(phone.saw("MESSAGE")), 1)

    @inlineCallbacks
    def test_an_awake_phone_gets_the_message_without_a_push(self):
        yield self.begin()
        phone = yield self.awake()
        response = yield self.upper.send_message("bob", "hello")
        self.assertEqual(response.status, 200)
        self.assertEqual(self.pushes(phone), [])

    @inlineCallbacks
    def test_a_message_that_nobody_wakes_for(self):
        yield self.begin()
        phone = yield self.asleep(killed=True)
        sent = self.upper.send_message("bob", "anybody?")
        yield self.in_vain()
        response = yield sent
        self.assertEqual(response.status, 202)
        self.assertEqual(len(self.pushes(phone)), 1)

    @inlineCallbacks
    def test_two_messages_for_a_sleeping_phone_both_arrive(self):
        yield self.begin()
        phone = yield self.asleep(wake_delay=0.3)
        sent = [self.upper.send_message("bob", text) for text in ("one", "two")]
        responses = yield gatherResults(sent)
        self.assertEqual([response.status for response in responses], [200, 200])
        self.assertEqual({entry.detail for entry in phone.diary.all("message")}, {"one", "two"})

    @inlineCallbacks
    def test_a_message_between_two_users_of_the_sbc(self):
        yield self.begin()
        alice = yield self.awake("alice")
        bob = yield self.asleep("bob")
        response = yield alice.send_message("bob", "wake up")
        self.assertEqual(response.status, 200)
        text = yield self.happened(bob.diary, "message")
        self.assertEqual(text, "wake up")


class SeveralDevices(FlowCase):
    @inlineCallbacks
    def test_the_first_answer_wins_and_the_other_is_cancelled(self):
        yield self.begin()
        fast = yield self.awake(host="127.0.0.4", answer_delay=0.2)
        slow = yield self.awake(transport="udp", answer_delay=None)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(slow.diary, "cancelled")
        [cancel] = [heard.message for heard in slow.party.heard if heard.what == "CANCEL"]
        self.assertIn(b"cause=200", cancel.first(b"reason"))
        self.assertTrue(self.ringing(fast).up)
        yield call.hang_up()
        [cdr], told = yield self.record(call)
        self.assertEqual(cdr["code"], 200)
        self.assertEqual(told.count("answered"), 1)

    @inlineCallbacks
    def test_one_sleeps_and_one_is_awake_and_both_ring(self):
        yield self.begin()
        awake = yield self.awake(host="127.0.0.4", answer_delay=None)
        sleeping = yield self.asleep(transport="udp", answer_delay=0.3)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(awake.diary, "cancelled")
        self.assertEqual((len(awake.saw("INVITE")), len(sleeping.saw("INVITE"))), (1, 1))

    @inlineCallbacks
    def test_a_device_that_registers_while_another_rings_joins(self):
        yield self.begin()
        first = yield self.awake(host="127.0.0.4", answer_delay=None)
        second = self.phone(answer_delay=0.1)
        call = self.upper.place_call("bob")
        yield self.happened(first.diary, "invite")
        yield second.start()
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(first.diary, "cancelled")
        self.assertEqual(len(second.saw("INVITE")), 1)

    @inlineCallbacks
    def test_one_refuses_and_the_other_answers(self):
        yield self.begin()
        busy = yield self.awake(host="127.0.0.4", answer=486, answer_delay=0.05)
        free = yield self.awake(answer_delay=0.3)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertTrue(self.ringing(free).up)
        self.assertEqual(len(busy.saw("INVITE")), 1)

    @inlineCallbacks
    def test_one_declines_for_all(self):
        yield self.begin()
        yield self.awake(host="127.0.0.4", answer=603, answer_delay=0.1)
        other = yield self.awake(answer_delay=None)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 603)
        yield self.happened(other.diary, "cancelled")

    @inlineCallbacks
    def test_both_answer_at_once_and_one_call_remains(self):
        yield self.begin()
        phones = []
        for host in ("127.0.0.4", "127.0.0.5"):
            phones.append((yield self.awake(host=host, ring_delay=0.0, answer_delay=0.0)))
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield until(lambda: all(phone.saw("INVITE") for phone in phones), "both have got it")
        yield until(lambda: sum(self.ringing(phone).over for phone in phones) == 1, "one of them is over")
        up = [phone for phone in phones if self.ringing(phone).up]
        self.assertEqual(len(up), 1)
        yield call.hang_up()
        yield self.happened(self.ringing(up[0]).diary, "ended")
