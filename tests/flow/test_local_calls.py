"""Calls between users of one SBC: straight to the callee, and on to the upper server when nobody answers there."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import inlineCallbacks

from sbc.lab.upper import Reply
from sbc.proxy import returning
from tests.flow.scene import DOMAIN, FlowCase, until


class Local(FlowCase):
    """`routing.local_calls`."""

    @inlineCallbacks
    def two_phones(self, setting, **more):
        yield self.begin(routing=f'local_calls = "{setting}"')
        alice = yield self.awake("alice")
        bob = yield self.awake("bob", host="127.0.0.4", **more)
        return alice, bob

    @inlineCallbacks
    def test_both_are_connected(self):
        alice, bob = yield self.two_phones("awake")
        call = alice.call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual((len(bob.saw("INVITE")), self.upper.saw("INVITE")), (1, []))
        yield call.hang_up()
        _, told = yield self.record(call)
        self.in_order(told, "routed", "delivered", "answered", "ended")

    @inlineCallbacks
    def test_the_callee_sleeps(self):
        alice, bob = yield self.two_phones("awake")
        yield self.fall_asleep(bob)
        status = yield self.final(alice.call("bob"))
        self.assertEqual((status, len(self.upper.saw("INVITE"))), (200, 1), "through the upper server")

    @inlineCallbacks
    def test_the_callee_sleeps_and_is_woken_here(self):
        alice, bob = yield self.two_phones("on")
        yield self.fall_asleep(bob)
        status = yield self.final(alice.call("bob"))
        self.assertEqual((status, self.upper.saw("INVITE")), (200, []))
        self.assertEqual(bob.wakes, 2)

    @inlineCallbacks
    def test_nobody_answers_and_the_upper_server_is_told_what_the_phone_said(self):
        alice, bob = yield self.two_phones("awake", answer=486, answer_delay=0.05)
        call = alice.call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 486)
        self.assertEqual(len(self.upper.saw("INVITE")), 1, "its voice mail may take the call")
        self.assertEqual(len(bob.saw("INVITE")), 1, "it does not ring again for the same call")

    @inlineCallbacks
    def test_the_upper_server_wants_credentials_and_the_phone_rings_no_second_time(self):
        alice, bob = yield self.two_phones("awake", answer=486, answer_delay=0.05)
        self.upper.challenge_calls = True
        status = yield self.final(alice.call("bob"))
        self.assertEqual(status, 486)
        self.assertEqual(len(self.upper.saw("INVITE")), 2, "challenged, and with credentials")
        self.assertEqual(len(bob.saw("INVITE")), 1, "it rang for this call already")

    @inlineCallbacks
    def back_to_back(self, at_once):
        """A call that bob declines is with the upper server, which makes calls of its own."""
        self.patch(returning, "AT_ONCE", at_once)
        alice, bob = yield self.two_phones("awake", answer=486, answer_delay=0.05)
        self.upper.script.plan("INVITE", Reply(silent=True))
        call = alice.call("bob")
        yield until(lambda: self.upper.saw("INVITE"), "the call is there")
        return call, bob

    @inlineCallbacks
    def test_a_b2bua_makes_a_call_of_its_own_of_it_and_the_phone_rings_no_second_time(self):
        call, bob = yield self.back_to_back(-1.0)
        status = yield self.final(self.upper.place_call("bob", caller="alice", media=False))
        self.assertEqual((status, len(bob.saw("INVITE"))), (486, 1))
        bob.manners.answer = 200
        status = yield self.final(self.upper.place_call("bob", caller="carol", media=False))
        self.assertEqual((status, len(bob.saw("INVITE"))), (200, 2), "somebody else calls")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        status = yield self.final(self.upper.place_call("bob", caller="alice", media=False))
        self.assertEqual((status, len(bob.saw("INVITE"))), (200, 3), "a new call")

    @inlineCallbacks
    def test_a_b2bua_that_tells_another_caller_rings_at_once(self):
        _, bob = yield self.back_to_back(600.0)
        status = yield self.final(self.upper.place_call("bob", caller="+49301", media=False))
        self.assertEqual((status, len(bob.saw("INVITE"))), (486, 1))

    @inlineCallbacks
    def test_a_b2bua_wants_credentials_first(self):
        self.patch(returning, "AT_ONCE", -1.0)
        alice, bob = yield self.two_phones("awake", answer=486, answer_delay=0.05)
        challenge = [(b"proxy-authenticate", b'Digest realm="%b", nonce="n"' % DOMAIN.encode())]
        self.upper.script.plan("INVITE", Reply(status=407, headers=tuple(challenge)), Reply(silent=True))
        alice.call("bob")
        yield until(lambda: len(self.upper.saw("INVITE")) == 2, "the call is there")
        status = yield self.final(self.upper.place_call("bob", caller="alice", media=False))
        self.assertEqual((status, len(bob.saw("INVITE"))), (486, 1))

    @inlineCallbacks
    def test_the_upper_server_takes_what_nobody_answers(self):
        alice, bob = yield self.two_phones("awake", answer_delay=None)
        self.upper.location.users.clear()
        self.upper.answering["bob"] = 0.05
        self.sbc.derived = replace(self.sbc.derived, calls=replace(self.sbc.derived.calls, ring_time=0.3))
        status = yield self.final(alice.call("bob"))
        self.assertEqual(status, 200)
        yield self.happened(bob.diary, "cancelled")

    @inlineCallbacks
    def test_nobody_answers_and_it_stays_here(self):
        yield self.begin(routing="local_fallback = false")
        alice = yield self.awake("alice")
        yield self.awake("bob", host="127.0.0.4", answer=486, answer_delay=0.05)
        status = yield self.final(alice.call("bob"))
        self.assertEqual((status, self.upper.saw("INVITE")), (486, []))

    @inlineCallbacks
    def test_a_phone_that_declines_declines_for_the_voice_mail_too(self):
        alice, _ = yield self.two_phones("awake", answer=603, answer_delay=0.05)
        status = yield self.final(alice.call("bob"))
        self.assertEqual((status, self.upper.saw("INVITE")), (603, []))

    @inlineCallbacks
    def test_switched_off(self):
        alice, bob = yield self.two_phones("off")
        status = yield self.final(alice.call("bob"))
        self.assertEqual((status, len(self.upper.saw("INVITE"))), (200, 1))
        self.assertEqual(len(bob.saw("INVITE")), 1)
