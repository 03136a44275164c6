"""The order in which a user's devices ring (RFC 3261 section 16.6), and several flows of one device (RFC 5626)."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from sbc.proxy import sending
from sbc.proxy.answers import Answers
from tests.flow.scene import FlowCase

INSTANCE = "<urn:uuid:00000000-0000-1000-8000-000a95a0e128>"
OUTBOUND = [(b"supported", b"outbound")]


class Alone(FlowCase):
    @inlineCallbacks
    def test_a_branch_that_meets_a_bug_ends_alone(self):
        yield self.begin()
        yield self.awake(host="127.0.0.4")
        desk = yield self.awake(answer=486, answer_delay=0.05)
        honest = sending.request_for

        def request_for(attempt, branch, flow, body):
            if flow.peer[0] == "127.0.0.4":
                raise ValueError("a bug")
            return honest(attempt, branch, flow, body)

        self.patch(sending, "request_for", request_for)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, len(desk.saw("INVITE"))), (486, 1))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    @inlineCallbacks
    def test_a_bug_with_an_answer_ends_the_call_and_nobody_rings_on(self):
        yield self.begin()
        desk = yield self.awake(host="127.0.0.4", answer_delay=None)
        yield self.awake(ring_delay=0.3, answer_delay=None)
        honest = Answers.relay

        def relay(answers, attempt, branch, response, now):
            if branch.target.flow.peer[0] != "127.0.0.4":
                raise ValueError("a bug")
            return honest(answers, attempt, branch, response, now)

        self.patch(Answers, "relay", relay)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual((status, self.heard(call)), (500, [180]))
        yield self.happened(self.ringing(desk).diary, "cancelled")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class Preferring(FlowCase):
    @inlineCallbacks
    def test_the_less_preferred_rings_when_the_other_refused(self):
        yield self.begin()
        mobile = yield self.awake(host="127.0.0.4", preference="q=0.9", answer=486, answer_delay=0.05)
        desk = yield self.awake(preference="q=0.4")
        self.assertEqual([row["q"] for row in self.rows("select q from bindings order by q")], [0.4, 0.9])
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        first, second = mobile.saw("INVITE"), desk.saw("INVITE")
        self.assertEqual((len(first), len(second)), (1, 1))
        self.assertGreaterEqual(second[0].at - first[0].at, 0.05)

    @inlineCallbacks
    def test_the_preferred_answers_and_the_other_never_rings(self):
        yield self.begin()
        yield self.awake(host="127.0.0.4", preference="q=0.9")
        desk = yield self.awake(preference="q=0.4")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(desk.saw("INVITE"), [])

    @inlineCallbacks
    def test_who_does_not_answer_is_cancelled_when_its_time_is_over(self):
        yield self.begin(proxy='ring_time = "1s"')
        mobile = yield self.awake(host="127.0.0.4", preference="q=0.9", answer_delay=None)
        yield self.awake(preference="q=0.4")
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(mobile.diary, "cancelled")
        [cancel] = [heard.message for heard in mobile.party.heard if heard.what == "CANCEL"]
        self.assertFalse(cancel.has(b"reason"), "nobody answered elsewhere when it was sent")

    @inlineCallbacks
    def test_a_preferred_phone_that_sleeps_is_woken_first(self):
        yield self.begin()
        mobile = yield self.asleep(preference="q=0.9", answer=486, answer_delay=0.05)
        desk = yield self.awake(host="127.0.0.4", preference="q=0.4")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertLess(mobile.saw("INVITE")[0].at, desk.saw("INVITE")[0].at)
        self.assertEqual(len(self.pushes(mobile)), 1)

    @inlineCallbacks
    def test_a_less_preferred_phone_that_sleeps_is_woken_in_its_turn(self):
        yield self.begin()
        desk = yield self.awake(host="127.0.0.4", preference="q=0.9", answer=486, ring_delay=1.0, answer_delay=0.0)
        mobile = yield self.asleep(preference="q=0.4", wake_delay=0.3, ring_delay=1.0)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual((len(desk.saw("INVITE")), len(self.pushes(mobile))), (1, 1))
        self.assertEqual(self.heard(call), [180], "the caller hears that somebody is being fetched")

    @inlineCallbacks
    def test_in_parallel_where_the_operator_wants_it(self):
        yield self.begin(proxy='fork = "parallel"')
        mobile = yield self.awake(host="127.0.0.4", preference="q=0.9", answer_delay=None)
        yield self.awake(preference="q=0.4")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(len(mobile.saw("INVITE")), 1)

    @inlineCallbacks
    def test_a_message_goes_to_all_of_them(self):
        yield self.begin()
        mobile = yield self.awake(host="127.0.0.4", preference="q=0.9")
        desk = yield self.awake(preference="q=0.4")
        yield self.upper.send_message("bob", "hello")
        yield self.happened(mobile.diary, "message")
        yield self.happened(desk.diary, "message")


class Flows(FlowCase):
    """Two flows of one phone: each is a `Phone` here, and both are one to the SBC."""

    @inlineCallbacks
    def two_flows(self, *, provider="", **more):
        yield self.begin(**more)
        flows = []
        for number, host in ((1, "127.0.0.4"), (2, "127.0.0.5")):
            phone = yield self.awake(
                host=host, instance=INSTANCE[1:-1], preference=f"reg-id={number}", headers=OUTBOUND, provider=provider
            )
            flows.append(phone)
        return flows

    def invites(self, flows):
        return [len(flow.saw("INVITE")) for flow in flows]

    @inlineCallbacks
    def test_both_are_kept_and_one_is_called(self):
        flows = yield self.two_flows()
        self.assertEqual(
            [(row["reg_id"], row["instance"]) for row in self.rows("select * from bindings order by reg_id")],
            [(1, INSTANCE), (2, INSTANCE)],
        )
        for flow in flows:
            accepted = flow.diary.all("registered")[-1].detail
            self.assertIn(b"outbound", accepted.each(b"require"))
            self.assertEqual(accepted.first(b"flow-timer"), b"120")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(self.invites(flows), [0, 1], "the flow that registered last")

    @inlineCallbacks
    def test_a_flow_that_says_430_is_followed_by_the_other(self):
        flows = yield self.two_flows()
        flows[1].manners.answer, flows[1].manners.ring_delay, flows[1].manners.answer_delay = 430, 1.0, 0.0
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(self.invites(flows), [1, 1])

    @inlineCallbacks
    def test_a_flow_that_is_dead_is_not_tried_and_its_device_is_reached_by_the_other(self):
        flows = yield self.two_flows(provider="apns")
        yield self.fall_asleep(flows[1])
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(self.invites(flows), [1, 0])
        self.assertEqual(self.pushes(flows[1]), [], "the phone is awake")

    @inlineCallbacks
    def test_a_silent_flow_is_left_for_the_other_under_the_same_branch(self):
        flows = yield self.two_flows()
        yield flows[1].sleep(silently=True)
        call = self.upper.place_call("bob")
        yield self.next_moment()
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(self.invites(flows), [1, 0])

    @inlineCallbacks
    def test_both_are_dead_and_a_push_brings_the_phone_back(self):
        flows = yield self.two_flows(provider="apns")
        for flow in flows:
            yield self.fall_asleep(flow)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(sum(self.invites(flows)), 1)

    @inlineCallbacks
    def test_one_flow_unregisters_and_the_other_stays(self):
        flows = yield self.two_flows()
        response = yield flows[1].register(expires=0)
        self.assertEqual(response.status, 200)
        self.assertEqual([row["reg_id"] for row in self.rows("select * from bindings")], [1])
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(self.invites(flows), [1, 0])


class DeadFlows(FlowCase):
    @inlineCallbacks
    def test_a_connection_that_ends_is_a_phone_that_sleeps_at_once(self):
        yield self.begin()
        phone = yield self.awake(instance=INSTANCE[1:-1], preference="reg-id=1", headers=OUTBOUND)
        yield self.fall_asleep(phone)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield call.hang_up()
        _, told = yield self.record(call)
        self.assertIn("asleep", told, "nobody was asked first who is not there")
        self.assertEqual(len(self.pushes(phone)), 1)

    @inlineCallbacks
    def test_the_upper_server_hears_430_of_a_flow_of_its_own_choice(self):
        yield self.begin(registrar='mode = "mirror"')
        phone = yield self.awake(instance=INSTANCE[1:-1], preference="reg-id=1", headers=OUTBOUND, provider="")
        yield self.fall_asleep(phone)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 430)
