"""What crosses the SBC and what does not: Call-IDs that are masked, headers that are stripped, sessions that expire."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from tests.flow.scene import until
from tests.flow.test_dialogs import Calls


class Masking(Calls):
    @inlineCallbacks
    def test_neither_side_learns_the_others_call_id(self):
        yield self.begin(proxy="mask_call_id = true")
        phone, call, ringing = yield self.talking()
        [invite], [ack] = phone.saw("INVITE"), phone.saw("ACK")
        theirs = call.call_id
        self.assertNotEqual(invite.request.call_id, theirs)
        self.assertEqual(ack.request.call_id, invite.request.call_id)
        response = yield ringing.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(call.diary, "ended")
        [cdr], _ = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["ended_by"]), (200, "callee"))

    @inlineCallbacks
    def test_the_caller_hangs_up_and_the_phone_knows_its_call(self):
        yield self.begin(proxy="mask_call_id = true")
        phone, call, ringing = yield self.talking()
        response = yield call.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(ringing.diary, "ended")
        [bye] = phone.saw("BYE")
        self.assertEqual(bye.request.call_id, phone.saw("INVITE")[0].request.call_id)


class Headers(Calls):
    @inlineCallbacks
    def test_what_the_operator_strips_does_not_cross(self):
        yield self.begin(proxy='strip_headers = ["X-Inside"]')
        phone = yield self.awake(transport="udp")
        call = self.upper.place_call("bob", headers=[(b"X-Inside", b"1"), (b"X-Other", b"2")])
        yield self.final(call)
        [invite] = phone.saw("INVITE")
        self.assertFalse(invite.request.has(b"x-inside"))
        self.assertTrue(invite.request.has(b"x-other"))

    @inlineCallbacks
    def test_an_allow_list_lets_calls_through_and_little_else(self):
        yield self.begin(proxy='allow_headers = ["X-Other"]')
        phone = yield self.awake(transport="udp")
        call = self.upper.place_call("bob", headers=[(b"X-Inside", b"1"), (b"X-Other", b"2")])
        status = yield self.final(call)
        self.assertEqual(status, 200)
        [invite] = phone.saw("INVITE")
        self.assertFalse(invite.request.has(b"x-inside"))
        self.assertTrue(invite.request.has(b"x-other"))


class Expiring(Calls):
    @inlineCallbacks
    def test_a_call_that_nobody_refreshes_is_ended_on_both_sides(self):
        yield self.begin()
        _, call, ringing = yield self.talking()
        [dialog] = [dialog for leg in self.sbc.calls.dialogs.all() for dialog in leg.dialogs.values()]
        dialog.dead_at = self.sbc.driver.clock() - 1.0
        self.sbc.calls.terms.timers[dialog] = None
        self.sbc.calls.terms.watch()
        yield self.happened(ringing.diary, "ended")
        yield self.happened(call.diary, "ended")
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["ended_by"], cdr["reason"]), ("sbc", "session timer"))
        self.in_order(told, "answered", "timeout", "ended")
        yield until(lambda: not self.sbc.calls.dialogs.all(), "no dialog is left")
