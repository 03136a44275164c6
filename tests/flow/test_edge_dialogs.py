"""Dialogs of phones behind a proxy of somebody else, when that has lost a phone or its connection to us."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from sbc.lab.call import SDP
from sbc.proxy import passing
from tests.flow.scene import until
from tests.flow.test_edge import EdgeCase

TALK = b"in the dialog"


class Losing(EdgeCase):
    """The proxy answers 430 (RFC 5626 §5.3.1): the phone has never seen the request."""

    __test__ = False

    @inlineCallbacks
    def talking(self, **more):
        """A call from the upper server to bob's phone."""
        bob = yield self.awake("bob", host="127.0.0.4", **more)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.ringing(bob).diary, "ack")
        return bob, call

    @inlineCallbacks
    def lose(self, bob):
        self.gone(bob)
        yield bob.sleep()

    def refused(self):
        """Requests that the proxy refused; a repeated one counts once."""
        said = {each.render(): each for each in self.edge.said if getattr(each, "status", 0) == 430}
        return list(said.values())

    @inlineCallbacks
    def test_the_phone_is_woken_and_gets_the_request_on_its_new_flow(self):
        yield self.begin()
        bob, call = yield self.talking()
        yield self.lose(bob)
        response = yield call.ask(b"INFO", (b"content-type", b"text/plain"), body=TALK)
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.refused()), 1)
        self.assertEqual(len(self.pushes(bob)), 1)
        [info] = bob.saw("INFO")
        self.assertEqual((info.wake, info.request.body), (2, TALK))
        again = yield call.ask(b"INFO")
        self.assertEqual(again.status, 200)
        self.assertEqual(len(self.refused()), 1, "the dialog stays on the new flow")
        yield call.hang_up()
        yield self.happened(bob.diary, "ended")


class LostUdp(Losing):
    """A proxy that talks UDP to us."""

    __test__ = True
    tcp = False


class Lost(Losing):
    """A proxy that talks TCP to us."""

    __test__ = True

    @inlineCallbacks
    def test_a_re_invite_is_held_and_delivered(self):
        yield self.begin()
        bob, call = yield self.talking(talks=True)
        yield self.lose(bob)
        response = yield call.ask(b"INVITE", SDP, body=call.media.sdp())
        self.assertEqual(response.status, 200)
        self.assertEqual([seen.wake for seen in bob.saw("INVITE")], [1, 2])
        yield until(lambda: len(bob.saw("ACK")) == 2, "the ACK follows on the new flow")

    @inlineCallbacks
    def test_a_phone_that_has_come_back_by_itself_is_not_pushed(self):
        yield self.begin()
        bob, call = yield self.talking()
        yield self.lose(bob)
        yield bob.wake()
        response = yield call.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(bob.diary, "ended")
        self.assertEqual(self.pushes(bob), [])

    @inlineCallbacks
    def test_a_phone_without_push_that_has_come_back_is_found(self):
        yield self.begin()
        bob, call = yield self.talking(provider="")
        yield self.lose(bob)
        yield bob.wake()
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200)

    @inlineCallbacks
    def test_a_phone_that_does_not_come_leaves_the_answer_of_its_proxy(self):
        yield self.begin(push='max_wait = "1s"')
        bob, call = yield self.talking(killed=True)
        yield self.lose(bob)
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 430)
        yield until(lambda: len(self.pushes(bob)) == 1, "the push")
        self.assertEqual(len(self.sbc.calls.dialogs), 1, "its dialog lives on")

    @inlineCallbacks
    def test_a_phone_without_push_leaves_the_answer_of_its_proxy(self):
        yield self.begin()
        bob, call = yield self.talking(provider="")
        yield self.lose(bob)
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 430)

    @inlineCallbacks
    def test_a_phone_that_is_silent_behind_its_proxy_is_pushed(self):
        yield self.begin()
        bob, call = yield self.talking()
        self.patch(passing, "DOUBT", 0.5)
        yield bob.sleep()
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200)
        self.assertEqual((len(self.refused()), len(self.pushes(bob))), (0, 1))
        self.assertEqual([info.wake for info in bob.saw("INFO")], [2])


class Ended(EdgeCase):
    """The operator ends a call whose phone is behind a proxy."""

    @inlineCallbacks
    def talking(self, **more):
        yield self.begin()
        bob = yield self.awake("bob", host="127.0.0.4", **more)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.ringing(bob).diary, "ack")
        return bob, call

    def end(self, call):
        self.assertEqual(self.sbc.calls.endings.end_call(call.call_id, "by the operator"), 1)

    @inlineCallbacks
    def test_the_connection_of_the_proxy_broke(self):
        bob, call = yield self.talking()
        yield until(self.edge.cut(), "the connection is gone")
        self.end(call)
        yield self.happened(bob.diary, "ended")
        yield self.happened(call.diary, "ended")

    @inlineCallbacks
    def test_the_phone_has_another_flow_since(self):
        bob, call = yield self.talking()
        self.gone(bob)
        yield bob.wake()
        self.end(call)
        yield self.happened(bob.diary, "ended")
        self.assertEqual([bye.wake for bye in bob.saw("BYE")], [2])

    @inlineCallbacks
    def test_nobody_is_there_and_that_is_told(self):
        bob, call = yield self.talking()
        self.gone(bob)
        yield bob.sleep()
        self.end(call)
        yield self.happened(call.diary, "ended")

        def told():
            self.sbc.call_log.flush(0.0, everything=True)
            rows = self.rows("select detail from call_events where kind = 'error'")
            return [row["detail"] for row in rows]

        yield until(told, "the failure is in the timeline")
        self.assertEqual(told(), ["our BYE did not reach bob@pbx.example.com: 430 Flow Failed"])

    @inlineCallbacks
    def test_the_ack_of_the_caller_finds_the_proxy_again(self):
        yield self.begin()
        bob = yield self.awake("bob", host="127.0.0.4")
        call = self.upper.place_call("bob")
        heard = self.edge._up

        def cut_after_the_answer(message):
            heard(message)
            if getattr(message, "status", 0) == 200 and message.cseq.method == b"INVITE":
                self.edge._up = heard
                self.edge.streams[-1].transport.loseConnection()

        self.edge._up = cut_after_the_answer
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.ringing(bob).diary, "ack")
