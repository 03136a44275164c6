"""Requests for sleeping phones on the wire (section 5)."""

from __future__ import annotations

import time

from twisted.internet.defer import gatherResults, inlineCallbacks

from sbc.lab.call import OutgoingCall
from sbc.lab.script import Answer
from sbc.lab.upper import Reply
from sbc.sip.uri import Uri
from tests.flow.scene import FlowCase, pause, until


class Requests(FlowCase):
    @inlineCallbacks
    def sleeping(self, **more):
        push = more.pop("push", "")
        yield self.begin(push=push)
        phone = yield self.asleep(**{"dialect": "rfc8599", **more})
        return phone

    @inlineCallbacks
    def test_statement_24_who_gave_no_token_is_not_pushed(self):
        phone = yield self.sleeping(dialect="none")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, self.pushes(phone)), (480, []))

    @inlineCallbacks
    def test_statement_25_and_26_one_push_and_the_request_at_the_new_contact(self):
        phone = yield self.sleeping()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, len(self.pushes(phone))), (200, 1))
        [invite] = phone.saw("INVITE")
        self.assertIn(phone.wire.address, invite.request.uri, "the new Contact")

    @inlineCallbacks
    def test_statement_25_a_message_too(self):
        phone = yield self.sleeping()
        response = yield self.upper.send_message("bob", "hello")
        self.assertEqual((response.status, len(self.pushes(phone)), len(phone.saw("MESSAGE"))), (200, 1, 1))

    @inlineCallbacks
    def test_statement_28_a_challenge_before_the_2xx_is_still_one_invite(self):
        phone = yield self.sleeping()
        self.upper.location.forget_nonces()
        before = len(self.upper.saw("REGISTER"))
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertGreaterEqual(len(self.upper.saw("REGISTER")) - before, 2, "401, then 200")
        self.assertEqual(len(phone.saw("INVITE")), 1)
        self.assertGreaterEqual(phone.saw("INVITE")[0].at, phone.diary.all("registered")[1].at - 0.001)

    @inlineCallbacks
    def test_statement_29_a_refused_register_brings_no_invite(self):
        phone = yield self.sleeping()
        self.upper.script.always("REGISTER", Reply(status=403))
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, phone.saw("INVITE")), (480, []))

    @inlineCallbacks
    def test_statement_29_the_caller_hears_it_at_once(self):
        phone = yield self.sleeping()
        self.upper.script.always("REGISTER", Reply(status=403))
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual((status, phone.saw("INVITE")), (480, []))
        [_, told] = yield self.record(call)
        self.in_order(told, "push_sent", "branch_failed", "ended")

    @inlineCallbacks
    def test_statement_29_passing_trouble_of_the_upper_server_ends_no_wait(self):
        phone = yield self.sleeping()
        self.upper.script.plan("REGISTER", Reply(status=503))
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "refused")
        response = yield phone.register()
        self.assertEqual(response.status, 200)
        status = yield self.final(call)
        self.assertEqual((status, len(phone.saw("INVITE"))), (200, 1))

    @inlineCallbacks
    def test_statement_29_who_does_not_have_the_token_ends_no_wait(self):
        phone = yield self.sleeping(killed=True)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "push")
        stranger = self.phone(dialect="rfc8599", host="127.0.0.9", password="guessed")
        response = yield stranger.start()
        self.assertGreaterEqual(response.status, 400)
        yield phone.wake()
        status = yield self.final(call)
        self.assertEqual((status, len(phone.saw("INVITE"))), (200, 1))

    @inlineCallbacks
    def test_statement_30_a_refused_push_ends_the_wait_at_once(self):
        phone = yield self.sleeping()
        self.apns.script.plan(phone.token.prid, Answer(status=410, reason="Unregistered", timestamp_at=time.time() + 1))
        status = yield self.final(self.upper.place_call("bob"))  # sooner than at the end of the wait
        self.assertEqual(status, 480)

    @inlineCallbacks
    def test_statement_31_a_wait_ends_in_480_and_a_message_in_time_for_its_sender(self):
        phone = yield self.sleeping(killed=True)
        call = self.upper.place_call("bob")
        yield self.in_vain()
        status = yield self.final(call)
        self.assertEqual((status, len(self.pushes(phone))), (480, 1))
        self.assertLessEqual(self.sbc.derived.calls.max_wait_non_invite, 20.0)

    @inlineCallbacks
    def test_statement_32_a_phone_known_to_be_awake_is_not_pushed(self):
        yield self.begin()
        phone = yield self.awake(dialect="rfc8599")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, self.pushes(phone)), (200, []))

    @inlineCallbacks
    def test_statement_33_a_caller_who_gives_up_is_heard_at_once(self):
        phone = yield self.sleeping(killed=True)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "push")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        yield phone.wake()
        yield pause(0.2)
        self.assertEqual(phone.saw("INVITE"), [])

    @inlineCallbacks
    def test_statement_34_two_calls_for_one_device_are_both_delivered(self):
        phone = yield self.sleeping(wake_delay=0.3)
        calls = [self.upper.place_call("bob", caller=caller) for caller in ("alice", "carol")]
        statuses = yield gatherResults([self.final(call) for call in calls])
        self.assertEqual((statuses, len(phone.saw("INVITE"))), ([200, 200], 2))
        self.assertLessEqual(len(self.pushes(phone)), 2)

    @inlineCallbacks
    def test_statement_35_a_plain_user_is_called_as_ever(self):
        yield self.begin()
        phone = yield self.awake(provider="")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, len(phone.saw("INVITE"))), (200, 1))

    @inlineCallbacks
    def test_statement_43_replaces_wakes_the_device_that_has_the_dialog(self):
        yield self.begin()
        phone = yield self.awake(dialect="rfc8599")
        other = yield self.awake(dialect="rfc8599", host="127.0.0.4", answer_delay=None)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.ringing(phone).diary, "ack")
        yield self.fall_asleep(phone)
        target, tag = call.dialog.target, call.dialog.remote.partition(b";tag=")[2]
        wire = yield self.upper.reach(Uri.parse(target))
        replaces = (b"replaces", call.call_id + b";to-tag=" + tag + b";from-tag=" + call.tag)
        third = OutgoingCall(self.upper, None)
        bob = b"<sip:bob@pbx.example.com>"
        third.invite(target, wire, from_=b"<sip:carol@pbx.example.com>", to=bob, route=[], headers=[replaces])
        status = yield self.final(third)
        self.assertEqual(status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)
        self.assertIn(b";to-tag=" + tag, phone.saw("INVITE")[-1].request.first(b"replaces"))
        self.assertEqual(len(other.saw("INVITE")), 1, "of the first call")

    @inlineCallbacks
    def test_statement_45_no_peer_and_no_log_sees_a_token(self):
        phone = yield self.sleeping()
        call = self.upper.place_call("bob")
        yield self.final(call)
        for heard in self.upper.party.heard:
            text = heard.message.render()
            for private in (b"pn-p", b"x-mpush", phone.token.prid.encode()):
                self.assertNotIn(private, text)
        yield call.hang_up()
        yield self.record(call)
        for row in self.rows("select kind, detail from call_events"):
            self.assertNotIn(phone.token.prid, row["detail"])

    @inlineCallbacks
    def test_statement_49_two_devices_are_pushed_each_on_its_own(self):
        yield self.begin()
        phones = []
        for host in ("127.0.0.4", "127.0.0.5"):
            phones.append((yield self.asleep(dialect="rfc8599", host=host)))
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        yield until(lambda: all(len(self.pushes(phone)) == 1 for phone in phones), "a push for each")
        yield until(lambda: all(len(phone.saw("INVITE")) == 1 for phone in phones), "both ring")
