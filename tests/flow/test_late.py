"""A phone that is later than usual is pushed once more; how late it usually is, is learned."""

from __future__ import annotations

from functools import partial

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks

from sbc.lab.script import Answer
from sbc.proxy.calls import Calls
from sbc.push import habits
from tests.flow.scene import FlowCase, until


class Late(FlowCase):
    def late_after(self, usual):
        self.patch(habits, "USUAL", usual)
        self.patch(habits, "EARLIEST", usual / 2)

    @inlineCallbacks
    def called(self, **more):
        """A call for a sleeping phone, the attempt to deliver it, and what it has planned once the push is accepted."""
        yield self.begin()
        phone = yield self.asleep(**more)
        call, attempt = yield self.calls(phone)
        return phone, call, attempt

    @inlineCallbacks
    def calls(self, phone):
        attempts, begun = [], Calls.attempt
        self.patch(Calls, "attempt", lambda *given: attempts.append(begun(*given)) or attempts[-1])
        call = self.upper.place_call("bob")
        yield until(lambda: attempts, "the call")
        return call, attempts[0]

    def planned(self, attempt):
        """Pushes that are still to come."""
        return [again for again in attempt.summons._again if again.active()]

    @inlineCallbacks
    def test_a_lost_push_is_followed_by_one_more_about_the_same_call(self):
        self.late_after(1.0)
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
        self.late_after(1.0)
        phone, call, attempt = yield self.called(killed=True)
        yield until(lambda: len(self.rows("select * from pushes")) == 2, "the second push")
        self.assertEqual(self.planned(attempt), [])
        yield self.in_vain(2)
        status = yield self.final(call)
        self.assertEqual((status, len(self.pushes(phone))), (480, 2))

    @inlineCallbacks
    def test_a_phone_in_time_gets_one(self):
        self.late_after(20.0)
        phone, call, attempt = yield self.called(killed=True)
        yield until(lambda: self.planned(attempt), "a second push is planned")
        yield phone.wake()
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual((len(self.pushes(phone)), self.planned(attempt)), (1, []))

    @inlineCallbacks
    def test_nobody_is_pushed_again_after_the_caller_has_gone(self):
        self.late_after(20.0)
        phone, call, attempt = yield self.called(killed=True)
        yield until(lambda: self.planned(attempt), "a second push is planned")
        call.cancel()
        yield self.final(call)
        self.assertEqual((len(self.pushes(phone)), self.planned(attempt)), (1, []))

    @inlineCallbacks
    def test_a_refused_push_is_not_sent_again(self):
        self.late_after(1.0)
        yield self.begin()
        phone = yield self.asleep()
        self.apns.script.plan(phone.token.prid, Answer(status=400, reason="PayloadEmpty"))
        call, attempt = yield self.calls(phone)
        status = yield self.final(call)
        self.assertEqual(status, 480)
        self.assertEqual((len(self.pushes(phone)), self.planned(attempt)), (1, []))

    def knows(self, count):
        """Whether so many wakes are remembered."""
        return len(self.rows("select wakes from push_tokens")[0]["wakes"]) == habits.DIGITS * count

    @inlineCallbacks
    def test_a_slow_phone_is_known_to_be_slow_and_left_its_time(self):
        self.late_after(1.0)
        yield self.begin()
        phone = yield self.asleep(killed=True)
        for count in range(1, habits.ENOUGH + 1):
            call, called_at = self.upper.place_call("bob"), reactor.seconds()
            yield until(lambda count=count: len(self.pushes(phone)) == 2 * count, "the second push")
            yield until(lambda called_at=called_at: reactor.seconds() - called_at > 1.3, "it is slow")
            yield phone.wake()
            status = yield self.final(call)
            self.assertEqual(status, 200)
            yield until(partial(self.knows, count), "learned")
            yield self.ringing(phone).hang_up()
            yield self.fall_asleep(phone)
        before = len(self.pushes(phone))
        self.assertEqual(before, 2 * habits.ENOUGH, "nobody knew it")
        called_at = reactor.seconds()
        call, attempt = yield self.calls(phone)
        yield until(lambda: self.planned(attempt), "a second push is planned")
        [again] = self.planned(attempt)
        self.assertGreater(again.getTime() - called_at, 1.3, "later than the phone usually comes")
        yield phone.wake()
        status = yield self.final(call)
        self.assertEqual((status, len(self.pushes(phone)) - before), (200, 1))
