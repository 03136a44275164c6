"""Nobody wakes, the caller gives up, the push fails: the caller hears so, and nobody rings afterwards."""

from __future__ import annotations

import time

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks

from sbc.lab.script import Answer
from sbc.push import sender
from tests.flow.scene import FlowCase, pause, until


class GivingUp(FlowCase):
    @inlineCallbacks
    def test_an_upper_server_that_cannot_be_reached(self):
        yield self.begin(changes={";transport=udp": ";transport=tcp"})
        yield self.upper.stop()
        response = yield self.phone().start()
        self.assertEqual(response.status, 503)
        self.assertEqual(self.rows("select * from users"), [])

    @inlineCallbacks
    def test_the_caller_gives_up_while_the_phone_sleeps(self):
        yield self.begin()
        phone = yield self.asleep(killed=True)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "push")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        phone.manners.killed = False
        yield phone.wake()
        yield pause(0.3)
        self.assertEqual(phone.saw("INVITE"), [], "nobody rings afterwards")
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["ended_by"]), (487, "caller"))
        self.in_order(told, "waiting", "cancel", "cancelled", "ended")

    @inlineCallbacks
    def test_nobody_wakes(self):
        yield self.begin(push='max_wait = "1s"')
        phone = yield self.asleep(killed=True)
        started = time.monotonic()
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 480)
        self.assertGreater(time.monotonic() - started, 0.8)
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["pushed"], cdr["woke_after"]), (480, 1, None))
        self.in_order(told, "push_sent", "rejected", "ended")
        phone.manners.killed = False
        yield phone.wake()
        yield pause(0.2)
        self.assertEqual(phone.saw("INVITE"), [], "too late")

    @inlineCallbacks
    def test_the_answer_to_nobody_can_be_chosen(self):
        yield self.begin(routing="no_wake_code = 404")
        yield self.asleep(killed=True)
        call = self.upper.place_call("bob")
        yield self.in_vain()
        status = yield self.final(call)
        self.assertEqual(status, 404)
        _, told = yield self.record(call)
        self.in_order(told, "push_accepted", "rejected", "ended")

    @inlineCallbacks
    def test_a_dead_token_is_told_at_once_and_goes(self):
        yield self.begin()
        phone = yield self.asleep()
        dead = Answer(status=410, reason="Unregistered", timestamp_at=time.time() + 1)
        self.apns.script.plan(phone.token.prid, dead)
        call = self.upper.place_call("bob")
        status = yield self.final(call)  # much sooner than at the end of the wait
        self.assertEqual(status, 480)
        yield until(lambda: not self.rows("select * from push_tokens where state <> 'dead'"), "the token is gone")
        [cdr], told = yield self.record(call)
        self.assertEqual(cdr["code"], 480)
        self.in_order(told, "push_sent", "push_failed", "rejected")
        again = self.upper.place_call("bob")
        status = yield self.final(again)
        self.assertIn(status, (404, 480))
        self.assertEqual(len(self.pushes(phone)), 1, "a dead token is never pushed again")
        yield phone.wake()
        yield self.fall_asleep(phone)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200, "the next REGISTER brings it back")

    @inlineCallbacks
    def test_a_provider_in_trouble_is_asked_again(self):
        yield self.begin()
        phone = yield self.asleep()
        self.apns.script.plan(phone.token.prid, Answer(status=500, reason="InternalServerError"))
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual([push.status for push in self.pushes(phone)], [500, 200])

    @inlineCallbacks
    def test_a_silent_provider_does_not_hold_the_caller_longer_than_the_wait(self):
        self.patch(sender, "PRESSING", sender.Pace(0.4, 0.9, 0.3))
        yield self.begin()
        phone = yield self.asleep()
        self.apns.script.always(phone.token.prid, Answer(act="silence"))
        call = self.upper.place_call("bob")
        yield self.in_vain()
        status = yield self.final(call)
        self.assertEqual(status, 480)
        _, told = yield self.record(call)
        self.in_order(told, "push_sent", "push_failed", "rejected")

    @inlineCallbacks
    def test_a_provider_that_passes_the_push_on_and_forgets_to_say_so(self):
        self.patch(sender, "PRESSING", sender.Pace(0.2, 0.5, 0.1))
        yield self.begin()
        phone = yield self.asleep()
        self.apns.script.always(phone.token.prid, Answer(act="silence"))
        call = self.upper.place_call("bob")
        yield until(lambda: self.rows("select * from pushes"), "the push is given up")
        yield phone.wake()
        status = yield self.final(call)
        self.assertEqual((status, len(phone.saw("INVITE"))), (200, 1))

    def tried_later(self):
        """Second tries of pushes wait here until `not_wanted` runs them."""
        self.patch(sender, "PRESSING", sender.Pace(20.0, 60.0, 0.3))
        tries = []

        class Held:
            seconds = staticmethod(reactor.seconds)

            def callLater(self, delay, call):
                tries.append(call)

        self.patch(self.sbc.push._around, "clock", Held())
        return tries

    @inlineCallbacks
    def not_wanted(self, tries):
        """The time of the second try has come, and none is made."""
        for each in tries:
            each()
        yield until(lambda: self.rows("select * from pushes"), "the push is over")
        [row] = self.rows("select * from pushes")
        self.assertEqual((row["outcome"], row["reason"]), ("deadline", "not wanted any more"))

    @inlineCallbacks
    def test_a_phone_that_registers_by_itself_although_the_push_failed(self):
        yield self.begin()
        tries = self.tried_later()
        phone = yield self.asleep()
        self.apns.script.always(phone.token.prid, Answer(status=500, reason="InternalServerError"))
        call = self.upper.place_call("bob")
        yield until(lambda: tries, "the next try")
        yield phone.wake()
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.not_wanted(tries)
        self.assertEqual(len(self.pushes(phone)), 1, "no second push for a phone that is awake")

    @inlineCallbacks
    def test_no_push_is_tried_again_for_a_caller_who_has_gone(self):
        yield self.begin()
        tries = self.tried_later()
        phone = yield self.asleep()
        self.apns.script.plan(phone.token.prid, Answer(status=500, reason="InternalServerError"))
        call = self.upper.place_call("bob")
        yield until(lambda: tries, "the next try")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        yield self.not_wanted(tries)
        self.assertEqual(len(self.pushes(phone)), 1)
        self.assertEqual(phone.wakes, 1)

    @inlineCallbacks
    def test_a_woken_phone_that_keeps_silent_gets_so_many_invites_and_no_more(self):
        yield self.begin(push="max_invites = 3")
        phone = yield self.asleep(transport="udp", silent=True)
        call = self.upper.place_call("bob")

        def invites():
            return len([heard for heard in phone.party.heard if heard.what == "INVITE"])

        yield until(lambda: invites() >= 3, "three")
        self.sbc.driver.clock = lambda: time.monotonic() + 100
        status = yield self.final(call)
        self.assertEqual(status, 408)
        self.assertEqual((invites(), len(phone.saw("INVITE"))), (3, 1))
        [cdr], _ = yield self.record(call)
        self.assertEqual(cdr["code"], 408)

    @inlineCallbacks
    def test_a_caller_who_gives_up_at_once(self):
        yield self.begin()
        phone = yield self.asleep(wake_delay=0.2)
        call = self.upper.place_call("bob")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        yield pause(0.5)
        self.assertEqual(phone.saw("INVITE"), [])
        cdrs, _ = yield self.record(call)
        self.assertEqual([cdr["code"] for cdr in cdrs], [487])

    @inlineCallbacks
    def test_the_caller_gives_up_just_when_the_phone_has_got_the_invite(self):
        yield self.begin()
        phone = yield self.asleep(transport="udp", ring_delay=0.3, answer_delay=None)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "invite")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        yield self.happened(phone.diary, "cancelled")

    @inlineCallbacks
    def test_the_phone_answers_although_the_caller_has_just_gone(self):
        yield self.begin()
        phone = yield self.asleep(transport="udp", ring_delay=9.0, answer_delay=0.3)
        call = self.upper.place_call("bob")
        ringing = yield self.happened(phone.diary, "invite")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        why = yield self.happened(ringing.diary, "ended")
        self.assertEqual(why, "remote", "acknowledged, and ended by a BYE")
        self.assertEqual(ringing.diary.count("ack"), 1)
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["code"], told.count("answered")), (487, 0))

    @inlineCallbacks
    def test_a_push_when_the_caller_gives_up(self):
        yield self.begin(push='cancel = "on"')
        phone = yield self.asleep(killed=True)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "push")
        call.cancel()
        yield self.final(call)
        yield self.happened(phone.diary, "push", 2)
        self.assertEqual([push.payload["ntype"] for push in self.pushes(phone)], ["0", "2"])

    @inlineCallbacks
    def test_a_user_without_a_sign_of_life_is_not_pushed(self):
        yield self.begin(push='client_max_offline_days = "1s"')
        phone = yield self.asleep()
        yield pause(1.1)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 480)
        self.assertEqual(self.pushes(phone), [])

    @inlineCallbacks
    def test_nothing_is_left_in_memory(self):
        yield self.begin()
        phone = yield self.asleep(transport="udp")
        answered = self.upper.place_call("bob")
        yield self.final(answered)
        yield answered.hang_up()
        phone.manners.answer = 486
        yield self.final(self.upper.place_call("bob"))
        phone.manners.answer_delay = None
        cancelled = self.upper.place_call("bob")
        yield until(lambda: 180 in self.heard(cancelled), "it rings")
        cancelled.cancel()
        yield self.final(cancelled)
        phone.manners.killed = True
        yield self.fall_asleep(phone)
        missed = self.upper.place_call("bob")
        gone = self.upper.place_call("bob")
        yield until(lambda: self.heard(gone), "a waiting answer")
        gone.cancel()
        yield self.final(gone)
        yield self.in_vain(2)
        yield self.final(missed)
        sent = self.upper.send_message("bob", "hello")
        yield self.in_vain(3)
        yield sent
        calls = self.sbc.calls
        left = {
            "open": len(calls.open), "dialogs": len(calls.dialogs), "waiting": len(calls.waiting),
            "streams": self.sbc.engine.streams, "calls": len(self.sbc.call_log),
        }  # fmt: skip
        self.assertEqual(left, dict.fromkeys(left, 0))

    @inlineCallbacks
    def test_setting_off_pushes_nobody(self):
        yield self.begin(push='enabled = "off"')
        phone = yield self.asleep()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 480)
        self.assertEqual(self.pushes(phone), [])
