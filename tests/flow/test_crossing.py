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

    @inlineCallbacks
    def crossed(self, rules):
        """The names of what crossed of X-Inside and X-Other: up and down, requests and responses, of every method."""
        yield self.begin(proxy=rules)
        both = [(b"X-Inside", b"1"), (b"X-Other", b"2"), (b"Info-Package", b"dtmf")]
        phone = yield self.awake("bob", transport="udp", headers=both)
        call = self.upper.place_call("bob", headers=both)
        yield self.final(call)
        ringing = self.ringing(phone)
        yield self.happened(ringing.diary, "ack")
        for side in (call, ringing):
            for method in (b"INFO", b"REFER", b"UPDATE"):
                response = yield side.ask(method, *both, (b"refer-to", b"<sip:x@y?Replaces=1>"))
                self.assertEqual(response.status, 200)
        responses = []
        usual = ringing.owner.party.respond

        def with_headers(txn, response):
            for name, value in both:
                response.add(name.lower(), value)
            responses.append(response)
            usual(txn, response)

        ringing.owner.party.respond = with_headers
        answer = yield call.ask(b"OPTIONS")
        self.upper.answering["desk"] = 0
        yield phone.send("MESSAGE", "desk", headers=both, body=b"x")
        yield self.upper.send("MESSAGE", "bob", headers=both, body=b"x")
        yield call.hang_up(*both)
        seen = [each.request for each in (*self.upper.seen, *phone.seen) if each.method not in ("ACK", "OPTIONS")]
        methods = {request.method for request in seen}
        self.assertEqual(methods, {b"REGISTER", b"INVITE", b"INFO", b"REFER", b"UPDATE", b"MESSAGE", b"BYE"})
        named = {name for message in (*seen, answer) for name in message.names() if name.startswith(b"x-")}
        for request in seen:
            if request.method == b"REFER":
                self.assertEqual(request.first(b"refer-to"), b"<sip:x@y?Replaces=1>")
            if request.method == b"INFO":
                self.assertTrue(request.has(b"info-package"), "what its meaning hangs on")
        return named

    @inlineCallbacks
    def test_a_stripped_header_crosses_in_no_message(self):
        named = yield self.crossed('strip_headers = ["x-inside", "Refer-To", "Info-Package"]')
        self.assertEqual(named, {b"x-other"})

    @inlineCallbacks
    def test_an_allow_list_holds_for_every_message(self):
        named = yield self.crossed('allow_headers = ["X-Other"]')
        self.assertEqual(named, {b"x-other"})

    @inlineCallbacks
    def test_what_is_stripped_is_stripped_although_allowed(self):
        named = yield self.crossed('allow_headers = ["X-Other", "X-Inside"]\nstrip_headers = ["X-Inside"]')
        self.assertEqual(named, {b"x-other"})

    @inlineCallbacks
    def test_without_rules_everything_crosses(self):
        named = yield self.crossed("")
        self.assertEqual(named, {b"x-inside", b"x-other"})


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
