"""A phone that is later than usual is pushed once more; how late it usually is, is learned."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import inlineCallbacks

from sbc.lab.script import Answer
from sbc.push import habits
from tests.flow.scene import FlowCase, pause, until


class Late(FlowCase):
    def setUp(self):
        self.patch(habits, "USUAL", 1.0)
        self.patch(habits, "EARLIEST", 0.5)

    @inlineCallbacks
    def test_a_lost_push_is_followed_by_one_more_about_the_same_call(self):
        yield self.begin()
        phone = yield self.asleep(lost_pushes=1)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        first, second = self.pushes(phone)
        self.assertEqual(first.headers["apns-collapse-id"], second.headers["apns-collapse-id"])
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def test_no_third_push(self):
        yield self.begin(push='max_wait = "5s"')
        phone = yield self.asleep(killed=True)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, len(self.pushes(phone))), (480, 2))

    @inlineCallbacks
    def test_a_phone_in_time_gets_one(self):
        yield self.begin()
        phone = yield self.asleep()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        yield pause(1.3)
        self.assertEqual(len(self.pushes(phone)), 1)

    @inlineCallbacks
    def test_nobody_is_pushed_again_after_the_caller_has_gone(self):
        yield self.begin()
        phone = yield self.asleep(killed=True)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "push")
        call.cancel()
        yield self.final(call)
        yield pause(1.3)
        self.assertEqual(len(self.pushes(phone)), 1)

    @inlineCallbacks
    def test_a_refused_push_is_not_sent_again(self):
        yield self.begin()
        phone = yield self.asleep()
        self.apns.script.plan(phone.token.prid, Answer(status=400, reason="PayloadEmpty"))
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 480)
        yield pause(1.3)
        self.assertEqual(len(self.pushes(phone)), 1)

    def knows(self, count):
        """Whether so many wakes are remembered."""
        return len(self.rows("select wakes from push_tokens")[0]["wakes"]) == habits.DIGITS * count

    @inlineCallbacks
    def test_a_slow_phone_is_known_to_be_slow_and_left_its_time(self):
        yield self.begin()
        phone = yield self.asleep(wake_delay=1.3)
        for count in range(1, habits.ENOUGH + 1):
            status = yield self.final(self.upper.place_call("bob"))
            self.assertEqual(status, 200)
            yield until(partial(self.knows, count), "learned")
            yield pause(1.4)  # the second push has had its effect, which is none
            yield self.ringing(phone).hang_up()
            yield self.fall_asleep(phone)
        before = len(self.pushes(phone))
        self.assertEqual(before, 2 * habits.ENOUGH, "nobody knew it")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, len(self.pushes(phone)) - before), (200, 1))
