"""A call that rings several phones beyond the one target that the SBC knows: early dialogs, early media, answers."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks

from sbc.lab.call import SDP, IncomingCall
from sbc.lab.dialog import Dialog
from sbc.lab.rtp import RtpStream, media_address
from sbc.lab.world import BORDER, PHONE
from tests.flow.scene import Calls, until

RELIABLE = [(b"supported", b"100rel")]


class Branches(Calls):
    @inlineCallbacks
    def ringing_twice(self, **more):
        """A call from the upper server, and two phones that ring for it behind one address."""
        yield self.begin()
        phone = yield self.awake(transport="udp", talks=True, ring_delay=9, answer_delay=None)
        call = self.upper.place_call("bob", **more)
        one = yield self.happened(phone.diary, "invite")
        two = IncomingCall(phone, one.txn, one.invite, RtpStream(reactor, PHONE, "two"))
        phone.calls.append(two)
        one.media.label, one.media._payload = "one", one.media._payload.replace(b"lab:bob", b"lab:one")
        return call, one, two

    @inlineCallbacks
    def progress(self, call, branch, count):
        """This phone plays something to the caller before it answers."""
        branch._respond(183, body=branch.media.sdp())
        branch._talk(branch.invite.body)
        yield until(lambda: self.heard(call).count(183) == count, "183")
        host, port = media_address(call.diary.last("provisional").detail.body)
        self.assertEqual(host, BORDER)
        call.media.talk(host, port)
        return host, port

    def hears(self, stream, label):
        before = stream.heard[label]
        return until(lambda: stream.heard[label] > before + 3, f"{stream.label} hears {label}: {stream.heard}")

    @inlineCallbacks
    def test_the_answer_comes_from_the_branch_that_rang_first(self):
        call, one, two = yield self.ringing_twice()
        first = yield self.progress(call, one, 1)
        yield self.hears(call.media, "one")
        second = yield self.progress(call, two, 2)
        self.assertEqual(first, second, "one pair of ports for all that ring there")
        yield self.hears(call.media, "two")
        one.answer()
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(one.diary, "ack")
        yield self.hears(call.media, "one")
        yield self.hears(one.media, "caller")
        response = yield call.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(one.diary, "ended")

    @inlineCallbacks
    def test_the_answer_comes_from_the_other_branch(self):
        call, one, two = yield self.ringing_twice()
        yield self.progress(call, one, 1)
        yield self.hears(call.media, "one")
        two.answer()
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(two.diary, "ack")
        yield self.hears(call.media, "two")
        yield self.hears(two.media, "caller")
        yield call.hang_up()
        yield self.happened(two.diary, "ended")

    @inlineCallbacks
    def test_reliable_early_dialogs_are_acknowledged_each_for_itself(self):
        """RFC 3262: a PRACK belongs to one early dialog; an answer without a description takes the one given before."""
        call, one, two = yield self.ringing_twice(headers=RELIABLE)
        early = []
        for count, branch in enumerate((one, two), 1):
            yield self.progress(call, branch, count)
            early.append(Dialog.of_caller(call._invite, call.diary.last("provisional").detail))
        self.assertEqual(len({dialog.remote for dialog in early}), 2)
        for dialog, branch in ((early[1], two), (early[0], one)):
            call.dialog = dialog
            response = yield call.ask(b"PRACK", (b"rack", b"1 1 INVITE"))
            self.assertEqual(response.status, 200)
            prack = branch.diary.last("request").detail
            self.assertEqual((prack.first(b"rack"), prack.to_tag), (b"1 1 INVITE", branch.tag))
            self.assertEqual(branch.diary.count("request"), 1)
        yield self.hears(call.media, "two")
        call.dialog = None
        one._respond(200)
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(one.diary, "ack")
        yield self.hears(call.media, "one")
        yield self.hears(one.media, "caller")
        yield call.hang_up()

    @inlineCallbacks
    def test_the_called_phone_offers_again_before_it_answers(self):
        """An UPDATE in the early dialog is an offer, though the INVITE of the other side is still open (RFC 3311)."""
        call, one, _ = yield self.ringing_twice(headers=RELIABLE)
        yield self.progress(call, one, 1)
        call.dialog = Dialog.of_caller(call._invite, call.diary.last("provisional").detail)
        yield call.ask(b"PRACK", (b"rack", b"1 1 INVITE"))
        response = yield one.ask(b"UPDATE", SDP, body=one.media.sdp())
        self.assertEqual(response.status, 200)
        update = call.diary.last("request").detail
        self.assertEqual(media_address(update.body)[0], BORDER)
        self.assertEqual(media_address(response.body)[0], BORDER)
        one._talk(response.body)
        yield self.hears(call.media, "one")
        yield self.hears(one.media, "caller")
        response = yield call.ask(b"UPDATE", SDP, body=call.media.sdp())
        self.assertEqual(response.status, 200)
        call.dialog = None
        one._respond(200)
        yield self.final(call)
        yield self.hears(one.media, "caller")
        yield call.hang_up()

    @inlineCallbacks
    def test_two_answers_are_one_call(self):
        """The second would get the ports of the first: it is acknowledged and ended, and nobody hears of it."""
        call, one, two = yield self.ringing_twice()
        one.answer()
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(one.diary, "ack")
        two.answer()
        yield self.happened(two.diary, "ack")
        yield self.happened(two.diary, "ended")
        yield self.hears(call.media, "one")
        yield self.hears(one.media, "caller")
        self.assertEqual(call.diary.count("second answer"), 0)
        yield call.hang_up()
        yield self.happened(one.diary, "ended")
        yield until(lambda: not self.sbc.calls.dialogs.all(), "no dialog is left")

    @inlineCallbacks
    def test_a_call_without_an_offer_is_described_by_who_answers_reliably(self):
        """INVITE without SDP: the 183 offers, the PRACK answers (RFC 3262 §5)."""
        call, one, _ = yield self.ringing_twice(headers=RELIABLE, media=False)
        one._respond(183, body=one.media.sdp())
        yield until(lambda: 183 in self.heard(call), "183")
        early = call.diary.last("provisional").detail
        media = RtpStream(reactor, "127.0.0.2", "caller")
        media.open()
        self.addCleanup(media.close)
        call.dialog = Dialog.of_caller(call._invite, early)
        response = yield call.ask(b"PRACK", (b"rack", b"1 1 INVITE"), SDP, body=media.sdp())
        self.assertEqual(response.status, 200)
        media.talk(*media_address(early.body))
        one._talk(one.diary.last("request").detail.body)
        yield self.hears(media, "one")
        yield self.hears(one.media, "caller")
        call.dialog = None
        one._respond(200)
        yield self.final(call)
        yield self.hears(media, "one")
        yield call.hang_up()
