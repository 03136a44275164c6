"""Calls to and from phones that are awake: both directions, and every ending."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from sbc.lab.world import BORDER, PHONE, UPPER
from tests.flow.scene import Calls, until


class Ending(Calls):
    @inlineCallbacks
    def test_the_upper_server_hangs_up(self):
        yield self.begin()
        _, call, ringing = yield self.talking()
        response = yield call.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(ringing.diary, "ended")
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["ended_by"], cdr["pushed"]), (200, "caller", 0))
        self.assertEqual((cdr["caller"], cdr["callee"]), ("caller@pbx.example.com", "bob@pbx.example.com"))
        self.assertTrue(cdr["started_at"] <= cdr["ringing_at"] <= cdr["answered_at"] <= cdr["ended_at"])
        self.in_order(told, "invite", "delivered", "ringing", "answered", "bye", "media", "ended")

    @inlineCallbacks
    def test_the_phone_hangs_up(self):
        yield self.begin()
        _, call, ringing = yield self.talking()
        response = yield ringing.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(call.diary, "ended")
        [cdr], _ = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["ended_by"]), (200, "callee"))

    @inlineCallbacks
    def test_a_call_from_the_phone_and_the_upper_server_hangs_up(self):
        yield self.begin()
        _, call, there = yield self.calling()
        response = yield there.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(call.diary, "ended")
        [cdr], _ = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["ended_by"], cdr["callee"]), (200, "callee", "echo@pbx.example.com"))

    @inlineCallbacks
    def test_a_call_from_the_phone_and_the_phone_hangs_up(self):
        yield self.begin()
        _, call, there = yield self.calling()
        response = yield call.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(there.diary, "ended")

    @inlineCallbacks
    def test_the_phone_refuses(self):
        yield self.begin()
        yield self.awake(answer=486)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 486)
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["reason"], cdr["ended_by"]), (486, "Busy Here", "callee"))
        self.in_order(told, "invite", "delivered", "ringing", "branch_failed", "rejected", "ended")

    @inlineCallbacks
    def test_the_caller_gives_up_while_it_rings(self):
        yield self.begin()
        phone = yield self.awake(transport=self.transport, answer_delay=None)
        call = self.upper.place_call("bob")
        yield until(lambda: 180 in self.heard(call), "it rings")
        call.cancel((b"reason", b'SIP;cause=487;text="gone"'))
        status = yield self.final(call)
        self.assertEqual(status, 487)
        yield self.happened(phone.diary, "cancelled")
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["ended_by"]), (487, "caller"))
        self.in_order(told, "ringing", "cancel", "cancelled", "ended")

    @inlineCallbacks
    def test_the_phone_as_caller_gives_up(self):
        yield self.begin()
        self.upper.answering["echo"] = 5.0
        phone = yield self.awake()
        call = phone.call("echo")
        yield until(lambda: 180 in self.heard(call), "it rings")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        yield self.happened(self.upper.calls[-1].diary, "cancelled")

    @inlineCallbacks
    def test_nobody_of_that_name(self):
        yield self.begin()
        phone = yield self.awake()
        call = phone.call("nobody")
        status = yield self.final(call)
        self.assertEqual(status, 404)
        [cdr], _ = yield self.record(call)
        self.assertEqual(cdr["code"], 404)

    @inlineCallbacks
    def test_the_upper_server_challenges_the_phone_and_it_proves_itself(self):
        yield self.begin()
        self.upper.challenge_calls = True
        _, call, there = yield self.calling()
        self.assertTrue(there.invite.has(b"proxy-authorization"))
        yield call.hang_up()

    @inlineCallbacks
    def test_a_phone_that_never_answers(self):
        yield self.begin()
        phone = yield self.awake(transport="udp", silent=True, provider="")
        call = self.upper.place_call("bob")
        heard = phone.party.heard
        yield until(lambda: len([each for each in heard if each.what == "INVITE"]) >= 3, "sent again over UDP")
        self.assertEqual(len(phone.saw("INVITE")), 1, "the same one")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)

    @inlineCallbacks
    def test_the_operator_ends_a_call(self):
        yield self.begin()
        _, call, ringing = yield self.talking()
        ended = yield self.sbc.operations.end_call(call.call_id.decode(), "admin")
        self.assertEqual(ended, 1)
        yield self.happened(ringing.diary, "ended")
        yield self.happened(call.diary, "ended")
        for side in (call, ringing):
            [bye] = [entry.detail for entry in side.diary.all("request") if entry.detail.method == b"BYE"]
            self.assertIn(b"operator", bye.first(b"reason"))
        [cdr], _ = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["ended_by"]), (200, "operator"))
        self.assertIn("admin", cdr["reason"])


class EndingOverTcp(Ending):
    transport = "tcp"

    test_a_phone_that_never_answers = None
    test_the_phone_refuses = None
    test_nobody_of_that_name = None
    test_the_upper_server_challenges_the_phone_and_it_proves_itself = None
    test_the_operator_ends_a_call = None
    test_the_phone_as_caller_gives_up = None


class Hidden(Calls):
    @inlineCallbacks
    def test_no_side_sees_the_address_of_the_other(self):
        yield self.begin(changes={'relay = "always"': 'relay = "always"'})
        phone, call, ringing = yield self.talking()
        yield call.hang_up()
        for heard in phone.party.heard:
            self.assertNotIn(UPPER.encode(), heard.message.render())
        for heard in self.upper.party.heard:
            self.assertNotIn(PHONE.encode(), heard.message.render())
        contact = ringing.invite.contacts[0].uri
        self.assertEqual(contact.host, BORDER.encode())
        self.assertEqual(len(ringing.invite.vias), 1)
        self.assertFalse(ringing.invite.has(b"record-route"))
        self.assertEqual(ringing.invite.call_id, call.call_id)

    @inlineCallbacks
    def test_unknown_headers_pass(self):
        yield self.begin()
        phone = yield self.awake()
        call = self.upper.place_call("bob", headers=[(b"X-Strange", b"a, b;c"), (b"P-Asserted-Identity", b"<sip:x@y>")])
        yield self.final(call)
        [invite] = phone.saw("INVITE")
        self.assertEqual(invite.request.lines(b"x-strange"), [b"a, b;c"])
        self.assertEqual(invite.request.first(b"p-asserted-identity"), b"<sip:x@y>")
        yield call.hang_up()
