"""Peers that answer nonsense, forget headers or leave things open cost themselves, and nobody else."""

from __future__ import annotations

import time

from twisted.internet.defer import inlineCallbacks

from sbc.lab.world import BORDER, PHONE
from sbc.sip.build import respond
from tests.flow.scene import Calls, until

BROKEN = [(b"contact", b"<sip:[bad>")]


def answering(phone, *replies):
    """From now on this phone answers an INVITE with these (status, To tag, headers)."""
    before = phone.arrived

    def arrived(txn, request):
        if request.method != b"INVITE":
            before(txn, request)
            return
        for status, tag, headers in replies:
            phone.party.respond(txn, respond(request, status, to_tag=tag, headers=headers))

    phone.arrived = arrived


class BadPeers(Calls):
    @inlineCallbacks
    def test_a_broken_contact_in_a_refusal_stops_no_clock_and_loses_no_call(self):
        yield self.begin()
        one = yield self.awake("bob", transport="udp")
        yield self.awake("bob", transport="udp", silent=True, killed=True)
        answering(one, (486, b"evil", BROKEN))
        call = self.upper.place_call("bob")
        yield until(lambda: len(self.sbc.calls.open) == 1, "the call waits for the other phone")
        [attempt] = self.sbc.calls.open
        yield until(lambda: 486 in [each.status for each in attempt.fork.branches.values()], "the refusal")
        self.sbc.driver.clock = lambda: time.monotonic() + 40
        status = yield self.final(call)
        self.assertEqual(status, 486)
        self.assertTrue(all(loop.running for loop in self.sbc.clocks.loops))
        yield until(lambda: not self.sbc.calls.open and not self.sbc.calls.dialogs.all(), "nothing is left open")

    @inlineCallbacks
    def test_an_answer_with_a_broken_contact_can_be_hung_up(self):
        yield self.begin()
        phone = yield self.awake("bob")
        answering(phone, (200, b"evil", BROKEN))
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.sbc.calls.end_all("the test is over")
        yield until(lambda: not self.sbc.calls.dialogs.all() and not len(self.sbc.call_log), "the call is over")

    @inlineCallbacks
    def test_early_dialogs_of_a_downstream_fork_do_not_hold_the_call(self):
        yield self.begin()
        phone = yield self.awake("bob")
        contact = [(b"contact", b"<sip:bob@127.0.0.3:9999>")]
        answering(phone, (180, b"one", contact), (180, b"two", contact), (200, b"two", contact))
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield call.hang_up()
        [cdr], _ = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["ended_by"]), (200, "caller"))
        self.assertEqual((len(self.sbc.calls.dialogs), self.sbc.engine.streams), (0, 0))

    @inlineCallbacks
    def test_notifications_without_a_subscription_leave_nothing_behind(self):
        yield self.begin()
        yield self.awake("bob")
        waiting = [
            (b"event", b"message-summary"),
            (b"subscription-state", b"active"),
            (b"contact", b"<sip:x@127.0.0.2>"),
        ]
        for _ in range(3):
            response = yield self.upper.send("NOTIFY", "bob", headers=waiting)
            self.assertEqual(response.status, 200)
        self.assertEqual(len(self.sbc.calls.dialogs), 0)

    @inlineCallbacks
    def test_the_reason_of_a_cancel_reaches_the_phone(self):
        yield self.begin()
        phone = yield self.awake("bob", answer_delay=None)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "invite")
        yield until(lambda: 180 in self.heard(call), "it rings")
        elsewhere = b'SIP;cause=200;text="Call completed elsewhere"'
        call.cancel((b"reason", elsewhere))
        yield self.happened(phone.diary, "cancelled")
        [cancel] = [heard.message for heard in phone.party.heard if heard.what == "CANCEL"]
        self.assertEqual(cancel.lines(b"reason"), [elsewhere])

    @inlineCallbacks
    def test_who_does_not_ask_for_rport_is_answered_where_its_via_says(self):
        yield self.begin()
        sender, listener = self.raw(), self.raw()
        sender.say(
            f"OPTIONS sip:{BORDER} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE}:{listener.address[1]};branch=z9hG4bKv\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:{BORDER}>\r\nCall-ID: v\r\nCSeq: 1 OPTIONS\r\n"
            "Content-Length: 0\r\n\r\n".encode(),
            self.world.sip,
        )
        yield until(lambda: listener.statuses() == [200], "the answer comes to the port of the Via")
        self.assertEqual(sender.statuses(), [])
