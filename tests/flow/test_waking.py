"""A call for a sleeping phone: push, wait, deliver once."""

from __future__ import annotations

import time

from twisted.internet.defer import gatherResults, inlineCallbacks

from sbc.proxy import asking
from sbc.push.decide import HIGH_LOAD
from tests.flow.scene import FlowCase, pause, until
from tests.flow.waits import turns


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
        if transport == "tcp":  # datagrams are repeated until they are answered
            self.assertEqual(len([heard for heard in phone.party.heard if heard.what == "INVITE"]), 1)

    def test_one_push_and_one_invite_over_udp(self):
        return self.wakes_one("udp")

    def test_one_push_and_one_invite_over_tcp(self):
        return self.wakes_one("tcp")

    @inlineCallbacks
    def test_pushes_that_are_suspended_leave_a_word_for_each_call(self):
        """The device is tried where it was last: without a word its silence would be a 408 that nobody can explain."""
        yield self.begin()
        phone = yield self.asleep(transport="udp")
        self.sbc.policy._load = lambda: HIGH_LOAD
        call = self.upper.place_call("bob")
        yield self.happened(call.diary, "provisional")
        yield until(lambda: self.told(call), "told")
        [why] = self.told(call)
        self.assertIn("suspended at high load, tried where it was last", why)
        call.cancel()
        status = yield self.final(call)
        self.assertEqual((status, self.pushes(phone)), (487, []))

    def told(self, call):
        """Why nobody was pushed for a call."""
        self.sbc.call_log.flush(time.time(), everything=True)
        query = "select detail from call_events where call_id = ? and kind = 'push_failed'"
        return [row["detail"] for row in self.rows(query, call.call_id.decode())]

    @inlineCallbacks
    def test_an_upper_server_that_is_reached_by_tcp(self):
        yield self.begin(changes={";transport=udp": ";transport=tcp"})
        phone = yield self.asleep(transport="udp")
        self.assertEqual({seen.transport for seen in self.upper.saw("REGISTER")}, {b"TCP"})
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.ringing(phone).diary, "ack")
        response = yield self.ringing(phone).hang_up()
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
        response = yield self.ringing(phone).hang_up()
        self.assertEqual(response.status, 200)

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
        yield self.happened(phone.diary, "registered", 4)
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def hears(self, setting, *statuses):
        yield self.begin(routing=f'waiting_answer = "{setting}"')
        phone = yield self.asleep(killed=True)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "push")
        yield until(lambda: self.heard(call) == [*statuses], "what is said while it sleeps")
        yield phone.wake()
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
    def test_an_awake_phone_gets_no_push(self):
        yield self.begin()
        phone = yield self.awake(transport="udp")
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(self.pushes(phone), [])

    @inlineCallbacks
    def test_a_standstill_of_the_node_is_no_silence_of_the_phone(self):
        """It has rung by the time that the node goes on: nobody doubts it."""
        self.doubt = 0.4
        yield self.begin()
        phone = yield self.awake(transport="udp", ring_delay=60, answer_delay=None)
        arrived = phone.arrived

        def stops(txn, request):
            arrived(txn, request)
            if request.method == b"INVITE":
                self.ringing(phone).ring()
                time.sleep(0.9)

        phone.arrived = stops
        call = self.upper.place_call("bob")
        yield until(lambda: 180 in self.heard(call), "it rings")
        yield pause(0.6)
        self.assertEqual(self.pushes(phone), [])
        self.ringing(phone).answer()
        status = yield self.final(call)
        self.assertEqual(status, 200)

    @inlineCallbacks
    def test_a_node_under_high_load_pushes_nobody_and_says_so(self):
        yield self.begin()
        phone = yield self.asleep()
        self.patch(self.sbc.policy, "_load", lambda: 3)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual((status, self.pushes(phone)), (480, []))
        yield self.record(call)
        [row] = self.rows("select detail from call_events where kind = 'push_failed'")
        self.assertIn("suspended at high load", row["detail"])

    @inlineCallbacks
    def test_setting_all_pushes_an_awake_phone_too_and_rings_it_once(self):
        yield self.begin(push='enabled = "all"')
        phone = yield self.awake()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        yield self.happened(phone.diary, "push")
        self.assertEqual(len(phone.saw("INVITE")), 1)

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
        yield self.next_moment()
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def test_an_app_that_comes_back_under_another_instance_is_known_by_its_token(self):
        yield self.begin()
        phone = yield self.asleep(instance="urn:uuid:00000000-0000-4000-8000-000000000001", answer=486, wake_delay=0.3)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "push")
        phone.instance = "urn:uuid:00000000-0000-4000-8000-000000000002"
        status = yield self.final(call)
        self.assertEqual((status, len(phone.saw("INVITE"))), (486, 1), "nobody else is waited for")
        [row] = self.rows("select instance from bindings where push")
        self.assertIn("8000-000000000002", row["instance"])

    @inlineCallbacks
    def quiet(self, **more):
        """A UDP phone that is there, but has been silent for so long that it counts as asleep."""
        yield self.begin()
        phone = yield self.awake(transport="udp", **more)
        yield turns()  # a REGISTER that it repeated has been heard
        self.unheard(phone)
        return phone

    @inlineCallbacks
    def test_an_awake_phone_that_is_thought_asleep_refreshes_its_registration_and_rings_once(self):
        phone = yield self.quiet()
        self.patch(asking.Asking, "put", lambda asking: False)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual((status, len(self.pushes(phone)), len(phone.saw("INVITE"))), (200, 1, 1))
        self.assertEqual((phone.wakes, len(phone.diary.all("registered"))), (1, 2), "it was awake all the time")

    @inlineCallbacks
    def test_an_app_that_makes_nothing_of_a_push_while_it_is_awake_is_asked_and_rings_once(self):
        phone = yield self.quiet(refreshes=False)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual((status, len(self.pushes(phone)), len(phone.saw("INVITE"))), (200, 1, 1))
        self.assertEqual(len(phone.saw("OPTIONS")), 1)
        self.assertEqual(len(phone.diary.all("registered")), 1)
        yield call.hang_up()
        [_, told] = yield self.record(call)
        self.in_order(told, "asleep", "push_sent", "woken", "delivered", "answered", "ended")

    @inlineCallbacks
    def test_both_at_once_are_still_one_call(self):
        phone = yield self.quiet(wake_delay=0.0)
        status = yield self.final(self.upper.place_call("bob"))
        yield pause(0.5)
        self.assertEqual((status, len(phone.saw("INVITE"))), (200, 1))

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
