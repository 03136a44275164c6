"""Sound through the relay, what is left behind after a call, and what the metrics say."""

from __future__ import annotations

import treq
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks

from sbc.lab.rtp import media_address
from sbc.lab.wires import Wire
from sbc.lab.world import BORDER, PHONE, UPPER
from tests.flow.scene import Calls, FlowCase, until

TRUE_VIA = Wire.via
#: As a phone writes it that does not know its NAT.
VIA = b"SIP/2.0/%b 192.168.1.7:5060;rport;branch=%b"


class Media(Calls):
    @inlineCallbacks
    def talks(self, transport):
        yield self.begin()
        free = self.sbc.engine.relay.free_pairs
        phone = yield self.awake(transport=transport, talks=True)
        call = self.upper.place_call("bob", caller="alice")
        yield self.final(call)
        ringing = self.ringing(phone)
        here, there = call.media, ringing.media
        yield until(lambda: here.heard["bob"] > 10 and there.heard["alice"] > 10, "sound both ways")
        self.assertEqual({host for host, _ in here.sources | there.sources}, {BORDER})
        self.assertEqual((here.strange, there.strange), (0, 0))
        self.assertEqual(self.sbc.engine.streams, 1)
        self.assertEqual(free - self.sbc.engine.relay.free_pairs, 2)
        yield call.hang_up()
        yield self.happened(ringing.diary, "ended")
        self.assertEqual(self.sbc.engine.streams, 0)
        [cdr], told = yield self.record(call)
        self.assertIn("media", told)
        self.assertGreater(min(cdr["caller_packets"], cdr["callee_packets"]), 10)
        self.assertEqual((cdr["caller_lost"], cdr["callee_lost"]), (0, 0))
        self.assertGreater(cdr["caller_jitter"], 0)
        [media] = self.rows("select detail from call_events where kind = 'media'")
        self.assertRegex(media["detail"], r"from the caller \d\d+ packets \(0 lost\)")

    def test_both_ways_with_a_udp_phone(self):
        return self.talks("udp")

    def test_both_ways_with_a_tcp_phone(self):
        return self.talks("tcp")

    @inlineCallbacks
    def test_every_ending_gives_the_ports_back(self):
        yield self.begin(push='max_wait = "1s"')
        pool = self.sbc.engine.relay._pool

        def used():
            return pool.size - len(pool) - len(pool._resting)

        phone = yield self.awake(talks=True, answer=486)
        second = yield self.awake(talks=True, answer_delay=None, host="127.0.0.4")
        call = self.upper.place_call("bob")
        yield until(lambda: self.sbc.engine.streams == 2, "both branches have ports")
        call.cancel()
        yield self.final(call)
        self.assertEqual((used(), self.sbc.engine.streams), (0, 0), "cancelled")
        second.manners.answer_delay = 0.05
        call = self.upper.place_call("bob")
        yield self.final(call)
        yield until(lambda: self.sbc.engine.streams == 1, "the losing branch has given its ports back")
        yield self.ringing(second).hang_up()
        self.assertEqual((used(), self.sbc.engine.streams), (0, 0), "answered and over")
        yield second.stop()
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 486 if not self.pushes(second) else status)
        self.assertEqual((used(), self.sbc.engine.streams), (0, 0), "refused")
        self.assertEqual(len(self.sbc.calls.dialogs), 0)
        self.assertEqual(len(self.sbc.calls.waiting), 0)
        self.assertTrue(phone.awake)

    @inlineCallbacks
    def test_without_a_relay_sound_goes_straight(self):
        yield self.begin(changes={'relay = "always"': 'relay = "never"'})
        phone = yield self.awake(talks=True)
        call = self.upper.place_call("bob")
        yield self.final(call)
        ringing = self.ringing(phone)
        self.assertEqual(ringing.invite.body, call.media.sdp(), "untouched")
        yield until(lambda: call.media.received > 5 and ringing.media.received > 5, "sound both ways")
        self.assertEqual({host for host, _ in call.media.sources}, {PHONE})
        self.assertEqual({host for host, _ in ringing.media.sources}, {UPPER})
        self.assertEqual(self.sbc.engine.streams, 0)
        yield call.hang_up()

    @inlineCallbacks
    def test_under_auto_sound_goes_straight_from_a_phone_to_a_server_of_its_network(self):
        yield self.begin(changes={'relay = "always"': 'relay = "auto"'})
        _, call, answered = yield self.calling()
        yield until(lambda: call.media.received > 5 and answered.media.received > 5, "sound both ways")
        self.assertEqual({host for host, _ in call.media.sources}, {UPPER})
        self.assertEqual({host for host, _ in answered.media.sources}, {PHONE})
        self.assertEqual(self.sbc.engine.streams, 0)
        yield call.hang_up()

    @inlineCallbacks
    def test_under_auto_sound_goes_straight_to_a_phone_of_the_servers_network(self):
        yield self.begin(changes={'relay = "always"': 'relay = "auto"'})
        phone, call, ringing = yield self.talking()
        yield until(lambda: call.media.received > 5 and ringing.media.received > 5, "sound both ways")
        self.assertEqual({host for host, _ in call.media.sources}, {PHONE})
        self.assertEqual({host for host, _ in ringing.media.sources}, {UPPER})
        self.assertTrue(phone.awake)
        yield call.hang_up()

    @inlineCallbacks
    def test_under_auto_a_phone_that_learnt_where_it_is_seen_is_relayed(self):
        """At first it says where it is inside; then, from what our response told it, where its NAT is."""
        yield self.begin(changes={'relay = "always"': 'relay = "auto"'})
        phone = self.phone(transport=self.transport, talks=True)
        self.patch(Wire, "via", lambda wire, branch: VIA % (wire.transport, branch))
        yield phone.start()
        self.patch(Wire, "via", TRUE_VIA)
        yield phone.register()
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        ringing = self.ringing(phone)
        yield until(lambda: call.media.received > 5 and ringing.media.received > 5, "sound both ways")
        self.assertEqual({host for host, _ in call.media.sources | ringing.media.sources}, {BORDER})
        yield call.hang_up()

    @inlineCallbacks
    def test_under_auto_a_phone_whose_contact_is_another_port_is_relayed(self):
        yield self.begin(changes={'relay = "always"': 'relay = "auto"'})
        phone = self.phone(transport=self.transport, talks=True)
        self.patch(phone, "contact", lambda wire: b"<sip:bob@%b:1>" % wire.local[0].encode())
        yield phone.start()
        self.upper.answering["echo"] = 0.05
        call = phone.call("echo")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        there = self.upper.calls[-1]
        yield until(lambda: call.media.received > 5 and there.media.received > 5, "sound both ways")
        self.assertEqual({host for host, _ in call.media.sources | there.media.sources}, {BORDER})
        yield call.hang_up()

    @inlineCallbacks
    def test_under_auto_a_phone_behind_nat_is_relayed(self):
        """Its Contact is not where it is heard from; the other phone is where it says."""
        yield self.begin(changes={'relay = "always"': 'relay = "auto"'})
        alice = yield self.awake("alice", talks=True)
        bob = yield self.awake("bob", talks=True, host="127.0.0.4")
        true = alice.contact
        self.patch(alice, "contact", lambda wire: true(wire).replace(PHONE.encode(), b"192.168.1.7"))
        call = alice.call("bob")
        yield self.final(call)
        ringing = self.ringing(bob)
        yield until(lambda: call.media.received > 5 and ringing.media.received > 5, "sound both ways")
        self.assertEqual({host for host, _ in call.media.sources | ringing.media.sources}, {BORDER})
        yield call.hang_up()

    @inlineCallbacks
    def minutes_pass(self, *listeners):
        """Two minutes go by for the relay, and these are sent to all the while."""
        relay, turned = self.sbc.engine.relay, 0.0
        for _ in range(3):
            for listener in listeners:
                heard = listener.received
                yield until(lambda listener=listener, heard=heard: listener.received > heard + 2, "sound")
            turned += 40.0
            self.patch(relay, "_clock", lambda turned=turned: reactor.seconds() + turned)
            relay.sweep()

    @inlineCallbacks
    def test_one_who_should_be_heard_and_is_not_ends_the_call_where_that_is_wanted(self):
        yield self.begin(media='timeout_one = "60s"')
        phone = yield self.awake(talks=True)
        call = self.upper.place_call("bob")
        yield self.final(call)
        yield until(lambda: call.media.received > 5, "sound")
        self.ringing(phone).media.hush()
        yield self.minutes_pass(self.ringing(phone).media)
        yield self.happened(call.diary, "ended")
        [cdr], _ = yield self.record(call)
        self.assertIn("media timeout: no media from the callee for 60 s", cdr["reason"])

    @inlineCallbacks
    def test_silence_of_both_ends_the_call(self):
        yield self.begin()
        phone = yield self.awake(talks=True)
        call = self.upper.place_call("bob")
        yield self.final(call)
        ringing = self.ringing(phone)
        yield until(lambda: call.media.received > 5, "sound")
        call.media.hush()
        ringing.media.hush()
        yield self.minutes_pass()
        yield self.happened(ringing.diary, "ended")
        yield self.happened(call.diary, "ended")
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["ended_by"]), (200, "sbc"))
        self.assertIn("media timeout", cdr["reason"])
        self.in_order(told, "answered", "timeout", "media", "ended")
        self.assertEqual(self.sbc.engine.streams, 0)

    @inlineCallbacks
    def test_one_who_is_silent_does_not_end_it(self):
        yield self.begin()
        phone = yield self.awake(talks=True)
        call = self.upper.place_call("bob")
        yield self.final(call)
        yield until(lambda: call.media.received > 5, "sound")
        call.media.hush()
        yield self.minutes_pass(call.media)
        yield call.ask(b"INFO")
        self.assertTrue(call.up)
        self.assertTrue(self.ringing(phone).up)
        yield call.hang_up()

    @inlineCallbacks
    def test_every_branch_of_a_fork_has_ports_of_its_own(self):
        yield self.begin()
        phones = []
        for host in ("127.0.0.4", "127.0.0.5"):
            phones.append((yield self.awake(host=host, talks=True, answer_delay=None)))
        call = self.upper.place_call("bob")
        offers = []
        for phone in phones:
            ringing = yield self.happened(phone.diary, "invite")
            offers.append(media_address(ringing.invite.body))
        self.assertEqual(len(set(offers)), 2)
        call.cancel()
        yield self.final(call)

    @inlineCallbacks
    def test_a_call_through_two_phones_of_the_sbc_is_relayed_twice_and_heard(self):
        yield self.begin(routing='local_calls = "off"')
        alice = yield self.awake("alice", talks=True)
        bob = yield self.awake("bob", talks=True, transport="udp")
        call = alice.call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        ringing = self.ringing(bob)
        yield until(lambda: call.media.heard["bob"] > 5 and ringing.media.heard["alice"] > 5, "sound both ways")
        yield call.hang_up()
        yield self.happened(ringing.diary, "ended")
        cdrs, _ = yield self.record(call, 2)
        self.assertEqual([cdr["code"] for cdr in cdrs], [200, 200])


class Metrics(FlowCase):
    @inlineCallbacks
    def test_after_a_call_to_a_sleeping_phone(self):
        yield self.begin()
        phone = yield self.asleep(talks=True)
        call = self.upper.place_call("bob")
        yield self.final(call)
        yield until(lambda: call.media.received > 5, "sound")
        text = yield self.world.border.metrics()
        self.assertEqual(value(text, "sbc_calls"), 1)
        self.assertEqual(value(text, 'sbc_relay_streams{engine="inline"}'), 1)
        yield call.hang_up()
        yield self.happened(self.ringing(phone).diary, "ended")
        yield self.record(call)
        text = yield self.world.border.metrics()
        self.assertEqual(value(text, "sbc_calls"), 0)
        self.assertEqual(value(text, 'sbc_relay_streams{engine="inline"}'), 0)
        self.assertGreater(value(text, "sbc_relay_packets_total"), 5)
        self.assertEqual(value(text, 'sbc_pushes_total{provider="apns",result="accepted",type="call"}'), 1)
        self.assertEqual(value(text, "sbc_push_seconds_count"), 1)
        self.assertEqual(value(text, "sbc_wake_seconds_count"), 1)
        self.assertEqual(value(text, 'sbc_calls_ended_total{code="200"}'), 1)
        self.assertEqual(value(text, "sbc_waiting_requests"), 0)
        invites = 'sbc_sip_messages_total{direction="in",method="INVITE",transport="UDP"}'
        self.assertEqual(value(text, invites), 1)
        self.assertGreaterEqual(value(text, 'sbc_sip_responses_total{code="200"}'), 4)
        for name in ("sbc_transactions", "sbc_bans", "sbc_event_loop_lag_seconds"):
            value(text, name)

    @inlineCallbacks
    def test_the_node_says_that_it_is_well(self):
        yield self.begin()
        response = yield treq.get(f"{self.world.border.web}/healthz", persistent=False, reactor=reactor)
        yield treq.content(response)
        self.assertEqual(response.code, 200)


def value(text, name):
    """The value of one sample, labels as written."""
    found = [line.rpartition(" ")[2] for line in text.splitlines() if line.rpartition(" ")[0] == name]
    assert found, f"no {name} in\n{text}"
    return float(found[0])
