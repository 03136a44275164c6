"""A call or a message for a sleeping phone: push, wait, deliver once; or not, and nobody is left hanging."""

from __future__ import annotations

import time

from twisted.internet import reactor
from twisted.internet.defer import gatherResults, inlineCallbacks

from sbc.lab.call import IncomingCall
from sbc.lab.script import Answer
from sbc.push import sender
from sbc.push.orders import PushType
from tests.flow.scene import FlowCase, pause, until


class Waking(FlowCase):
    @inlineCallbacks
    def wakes_one(self, transport):
        yield self.begin()
        phone = yield self.asleep(transport=transport)
        call = self.upper.place_call("bob", caller="alice", display="Alice")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        [push] = self.pushes(phone)
        self.assertEqual(push.headers["apns-push-type"], "voip")
        self.assertIn("alice", str(push.payload))
        [invite] = phone.saw("INVITE")
        self.assertEqual(invite.wake, 2)
        registered = phone.diary.all("registered")[1].at
        self.assertGreaterEqual(invite.at, registered - 0.001, "after the 2xx")
        yield self.happened(self.ringing(phone).diary, "ack")
        yield call.hang_up()
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["ended_by"], cdr["pushed"]), (200, "caller", 1))
        self.assertGreater(cdr["woke_after"], 0)
        self.in_order(
            told, "invite", "asleep", "push_sent", "waiting", "push_accepted", "woken", "delivered", "ringing",
            "answered", "bye", "ended",
        )  # fmt: skip
        self.assertEqual(len([heard for heard in phone.party.heard if heard.what == "INVITE"]), 1)

    def test_one_push_and_one_invite_over_udp(self):
        return self.wakes_one("udp")

    def test_one_push_and_one_invite_over_tcp(self):
        return self.wakes_one("tcp")

    @inlineCallbacks
    def test_an_upper_server_that_is_reached_by_tcp(self):
        yield self.begin(changes={";transport=udp": ";transport=tcp"})
        phone = yield self.asleep(transport="udp")
        self.assertEqual({seen.transport for seen in self.upper.saw("REGISTER")}, {b"TCP"})
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.ringing(phone).diary, "ack")
        response = yield self.ringing(phone).hang_up().addTimeout(4, reactor)
        self.assertEqual(response.status, 200)
        self.assertEqual({heard.transport for heard in self.upper.party.heard if heard.what == "BYE"}, {b"TCP"})
        back = phone.call("carol")
        status = yield self.final(back)
        self.assertEqual(status, 480, "nobody is registered there")

    @inlineCallbacks
    def test_an_upper_server_that_was_away(self):
        yield self.begin(changes={";transport=udp": ";transport=tcp"})
        phone = yield self.asleep()
        yield self.upper.stop()
        yield self.upper.start()
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(len(phone.saw("INVITE")), 1)
        response = yield self.ringing(phone).hang_up().addTimeout(4, reactor)
        self.assertEqual(response.status, 200)

    @inlineCallbacks
    def test_an_upper_server_that_cannot_be_reached(self):
        yield self.begin(changes={";transport=udp": ";transport=tcp"})
        yield self.upper.stop()
        response = yield self.phone().start().addTimeout(6, reactor)
        self.assertEqual(response.status, 503)
        self.assertEqual(self.rows("select * from users"), [])

    @inlineCallbacks
    def test_several_round_trips_until_registered(self):
        yield self.begin()
        phone = yield self.asleep(expires=60)
        self.upper.rules.min_expires = 300
        self.upper.location.forget_nonces()
        call = self.upper.place_call("bob")
        yield self.final(call)
        self.assertEqual(len(phone.saw("INVITE")), 1)
        self.assertGreaterEqual(phone.saw("INVITE")[0].at, phone.diary.all("registered")[1].at - 0.001)

    @inlineCallbacks
    def test_two_registers_of_the_waking_app_are_one_invite(self):
        yield self.begin()
        phone = yield self.asleep(transport="udp", extra_registers=2, answer_delay=0.4)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(phone.diary.count("registered"), 4)
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def hears(self, setting, *statuses):
        yield self.begin(routing=f'waiting_answer = "{setting}"')
        yield self.asleep(wake_delay=0.3)
        call = self.upper.place_call("bob")
        yield self.final(call)
        self.assertEqual(self.heard(call), [*statuses, 180])

    def test_the_caller_hears_nothing_but_100_meanwhile(self):
        return self.hears("none")

    def test_the_caller_hears_180_meanwhile(self):
        return self.hears("180", 180)

    def test_the_caller_hears_182_meanwhile(self):
        return self.hears("182", 182)

    def test_the_caller_hears_183_meanwhile(self):
        return self.hears("183", 183)

    @inlineCallbacks
    def test_the_caller_gives_up_while_the_phone_sleeps(self):
        yield self.begin()
        phone = yield self.asleep(wake_delay=0.6)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "push")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        self.assertFalse(phone.awake)
        yield self.happened(phone.diary, "registered", 2)
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
        self.assertTrue(0.8 < time.monotonic() - started < 1.8)
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["pushed"], cdr["woke_after"]), (480, 1, None))
        self.in_order(told, "push_accepted", "rejected", "ended")
        phone.manners.killed = False
        yield phone.wake()
        yield pause(0.2)
        self.assertEqual(phone.saw("INVITE"), [], "too late")

    @inlineCallbacks
    def test_the_answer_to_nobody_can_be_chosen(self):
        yield self.begin(push='max_wait = "1s"', routing="no_wake_code = 404")
        yield self.asleep(killed=True)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 404)

    @inlineCallbacks
    def test_a_dead_token_is_told_at_once_and_goes(self):
        yield self.begin()
        phone = yield self.asleep()
        dead = Answer(status=410, reason="Unregistered", timestamp_at=time.time() + 1)
        self.apns.script.plan(phone.token.prid, dead)
        started = time.monotonic()
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 480)
        self.assertLess(time.monotonic() - started, 2.0)
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
        self.patch(sender, "TRY_WITHIN", {PushType.CALL: 0.4})
        self.patch(sender, "ALL_WITHIN", {PushType.CALL: 0.9})
        yield self.begin(push='max_wait = "2s"')
        phone = yield self.asleep()
        self.apns.script.always(phone.token.prid, Answer(act="silence"))
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 480)
        _, told = yield self.record(call)
        self.in_order(told, "push_sent", "push_failed", "rejected")

    @inlineCallbacks
    def test_a_phone_that_registers_by_itself_although_the_push_failed(self):
        yield self.begin(push='max_wait = "3s"')
        phone = yield self.asleep()
        self.apns.script.always(phone.token.prid, Answer(status=500, reason="InternalServerError"))
        call = self.upper.place_call("bob")
        yield pause(0.1)
        yield phone.wake()
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield pause(0.8)
        self.assertEqual(len(self.pushes(phone)), 1, "no second push for a phone that is awake")

    @inlineCallbacks
    def test_no_push_is_tried_again_for_a_caller_who_has_gone(self):
        yield self.begin()
        phone = yield self.asleep()
        self.apns.script.plan(phone.token.prid, Answer(status=500, reason="InternalServerError"))
        call = self.upper.place_call("bob")
        yield until(lambda: self.pushes(phone), "the push that fails")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        yield pause(0.8)
        self.assertEqual(len(self.pushes(phone)), 1)
        self.assertEqual(phone.wakes, 1)

    @inlineCallbacks
    def test_a_woken_phone_that_keeps_silent_gets_so_many_invites_and_no_more(self):
        yield self.begin(push='max_invites = 3\nmax_wait = "3s"')
        phone = yield self.asleep(transport="udp", silent=True)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 408)
        invites = [heard for heard in phone.party.heard if heard.what == "INVITE"]
        self.assertEqual((len(invites), len(phone.saw("INVITE"))), (3, 1))
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
    def test_a_phone_with_an_instance_is_the_same_device_whatever_its_token(self):
        yield self.begin()
        phone = yield self.asleep(instance="urn:uuid:00000000-0000-1000-8000-000a95a0e128", dialect="rfc8599")
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "push")
        phone.change_token(self.world.token("apns"))
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(len(phone.saw("INVITE")), 1)
        yield self.record_of_one_device()

    @inlineCallbacks
    def record_of_one_device(self):
        """Only the new token is left."""
        yield until(lambda: len(self.rows("select * from push_tokens")) == 1, "one token")
        self.assertEqual(len(self.rows("select * from bindings")), 1)

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
        yield self.begin(push='max_wait = "1s"')
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
        yield self.final(missed)
        yield self.upper.send_message("bob", "hello")
        calls = self.sbc.calls
        left = {
            "open": len(calls.open), "dialogs": len(calls.dialogs), "waiting": len(calls.waiting),
            "streams": self.sbc.engine.streams, "calls": len(self.sbc.call_log),
        }  # fmt: skip
        self.assertEqual(left, dict.fromkeys(left, 0))

    @inlineCallbacks
    def test_an_awake_phone_gets_no_push(self):
        yield self.begin()
        phone = yield self.awake(transport="udp")
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(self.pushes(phone), [])

    @inlineCallbacks
    def test_setting_all_pushes_an_awake_phone_too_and_rings_it_once(self):
        yield self.begin(push='enabled = "all"')
        phone = yield self.awake()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        yield self.happened(phone.diary, "push")
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def test_setting_off_pushes_nobody(self):
        yield self.begin(push='enabled = "off"')
        phone = yield self.asleep()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 480)
        self.assertEqual(self.pushes(phone), [])

    @inlineCallbacks
    def test_a_phone_whose_connection_has_just_died_is_pushed(self):
        yield self.begin()
        phone = yield self.awake()
        phone.sleep()
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def test_a_phone_that_has_just_lost_its_network_is_pushed_after_a_doubt(self):
        yield self.begin()
        phone = yield self.awake(transport="udp")
        phone.sleep(silently=True)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def test_a_lost_push_and_an_app_opened_by_hand(self):
        yield self.begin()
        phone = yield self.asleep(lost_pushes=1)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "lost push")
        yield phone.wake()
        status = yield self.final(call)
        self.assertEqual(status, 200)

    @inlineCallbacks
    def test_two_callers_for_one_sleeping_phone_are_both_delivered(self):
        yield self.begin()
        phone = yield self.asleep(wake_delay=0.3)
        calls = [self.upper.place_call("bob", caller=caller) for caller in ("alice", "carol")]
        statuses = yield gatherResults([self.final(call) for call in calls])
        self.assertEqual(statuses, [200, 200])
        callers = {invite.request.from_.uri.username for invite in phone.saw("INVITE")}
        self.assertEqual((len(phone.saw("INVITE")), callers), (2, {"alice", "carol"}))

    @inlineCallbacks
    def test_a_user_behind_this_sbc_wakes_another(self):
        yield self.begin()
        alice = yield self.awake("alice")
        bob = yield self.asleep("bob")
        call = alice.call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(len(bob.saw("INVITE")), 1)
        self.assertEqual(len(self.pushes(bob)), 1)
        yield call.hang_up()
        yield self.happened(self.ringing(bob).diary, "ended")


class Messages(FlowCase):
    @inlineCallbacks
    def test_a_message_wakes_the_phone_by_a_chat_push(self):
        yield self.begin()
        phone = yield self.asleep(transport="udp")
        response = yield self.upper.send_message("bob", "good morning").addTimeout(5, reactor)
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
        yield self.begin(push='max_wait = "1s"')
        phone = yield self.asleep(killed=True)
        response = yield self.upper.send_message("bob", "anybody?").addTimeout(5, reactor)
        self.assertEqual(response.status, 480)
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
        response = yield alice.send_message("bob", "wake up").addTimeout(5, reactor)
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
        yield pause(0.5)
        up = [phone for phone in phones if any(isinstance(each, IncomingCall) and each.up for each in phone.calls)]
        self.assertEqual(len(up), 1)
        yield call.hang_up()
        yield self.happened(self.ringing(up[0]).diary, "ended")
