"""What happens inside a dialog: hold, transfers, repetitions, late offers, phones that come back from elsewhere."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from sbc.lab.call import SDP
from sbc.lab.dialog import Dialog
from sbc.lab.party import new_branch
from sbc.lab.rtp import media_address
from sbc.lab.world import BORDER, UPPER
from tests.flow.scene import Calls, until


class Inside(Calls):
    @inlineCallbacks
    def test_hold_from_both_sides(self):
        yield self.begin()
        _, call, ringing = yield self.talking()
        for holder, other in ((call, ringing), (ringing, call)):
            held = holder.media.sdp().replace(b"sendrecv", b"sendonly")
            response = yield holder.ask(b"INVITE", SDP, body=held)
            self.assertEqual(response.status, 200)
            invites = [entry.detail for entry in other.diary.all("request") if entry.detail.method == b"INVITE"]
            self.assertIn(b"a=sendonly", invites[-1].body)
            self.assertEqual(media_address(invites[-1].body)[0], BORDER)
            self.assertEqual(media_address(response.body)[0], BORDER)
            self.assertNotIn(holder.media.host.encode(), invites[-1].body)
        yield self.happened(ringing.diary, "ack", 2)
        yield self.happened(call.diary, "ack", 1)
        yield call.hang_up()

    @inlineCallbacks
    def test_a_re_invite_without_sdp_asks_for_an_offer(self):
        yield self.begin()
        _, call, ringing = yield self.talking()
        response = yield call.ask(b"INVITE")
        self.assertEqual(response.status, 200)
        self.assertEqual(media_address(response.body)[0], BORDER)
        yield call.hang_up()
        yield self.happened(ringing.diary, "ended")

    @inlineCallbacks
    def test_update_info_options_and_message_pass_both_ways(self):
        yield self.begin()
        _, call, ringing = yield self.talking()
        for asker, other in ((call, ringing), (ringing, call)):
            for method in (b"UPDATE", b"INFO", b"OPTIONS", b"MESSAGE"):
                body = b"Signal=5" if method == b"INFO" else b""
                more = [(b"content-type", b"application/dtmf-relay")] if body else []
                response = yield asker.ask(method, *more, body=body)
                self.assertEqual(response.status, 200, method)
                last = other.diary.last("request").detail
                self.assertEqual((last.method, last.body), (method, body))
        yield call.hang_up()

    @inlineCallbacks
    def test_refer_and_its_notify_pass(self):
        yield self.begin()
        _, call, ringing = yield self.talking()
        response = yield ringing.ask(b"REFER", (b"refer-to", b"<sip:carol@pbx.example.com>"))
        self.assertEqual(response.status, 200)
        self.assertEqual(call.diary.last("request").detail.first(b"refer-to"), b"<sip:carol@pbx.example.com>")
        more = [(b"event", b"refer"), (b"subscription-state", b"active"), (b"content-type", b"message/sipfrag")]
        response = yield call.ask(b"NOTIFY", *more, body=b"SIP/2.0 100 Trying\r\n")
        self.assertEqual(response.status, 200)
        self.assertEqual(ringing.diary.last("request").detail.body, b"SIP/2.0 100 Trying\r\n")
        yield call.hang_up()

    @inlineCallbacks
    def test_a_phone_that_comes_back_from_another_port_keeps_its_call(self):
        yield self.begin()
        phone, call, ringing = yield self.talking()
        yield phone.sleep()
        yield phone.wake()
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200)
        response = yield call.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(ringing.diary, "ended")

    @inlineCallbacks
    def test_what_is_kept_of_a_call_follows_its_phone(self):
        """A crash after the phone came back from elsewhere would find it there."""
        yield self.begin()
        phone, call, _ = yield self.talking()

        def kept(host, port):
            [row] = self.rows("select body from dialogs")
            return f"{host}:{port}" in row["body"]

        yield until(lambda: self.rows("select * from dialogs"), "the dialog is kept")
        self.assertTrue(kept(*phone.wire.local))
        yield phone.sleep()
        yield phone.wake()
        yield until(lambda: kept(*phone.wire.local), "the new flow is kept")
        yield call.hang_up()
        yield until(lambda: not self.rows("select * from dialogs"), "nothing is kept")

    @inlineCallbacks
    def test_a_call_whose_phone_has_died_can_be_ended(self):
        yield self.begin()
        phone = yield self.awake(transport="tcp", provider="")
        call = self.upper.place_call("bob")
        yield self.final(call)
        yield self.happened(self.ringing(phone).diary, "ack")
        yield self.fall_asleep(phone)
        response = yield call.hang_up()
        self.assertGreaterEqual(response.status, 200)
        [cdr], _ = yield self.record(call)
        self.assertEqual((cdr["code"], cdr["ended_by"]), (200, "caller"))
        self.assertEqual(self.rows("select * from dialogs"), [])
        self.assertEqual(len(self.sbc.calls.dialogs), 0)

    @inlineCallbacks
    def test_a_phone_that_lost_its_connection_keeps_its_call(self):
        yield self.begin()
        phone = yield self.awake(transport="tcp")
        call = self.upper.place_call("bob")
        yield self.final(call)
        ringing = self.ringing(phone)
        yield self.happened(ringing.diary, "ack")
        yield self.fall_asleep(phone)
        yield phone.wake()
        response = yield call.ask(b"INVITE", SDP, body=call.media.sdp())
        self.assertEqual(response.status, 200)
        response = yield ringing.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(call.diary, "ended")

    @inlineCallbacks
    def test_another_device_of_the_user_does_not_take_the_call_over(self):
        yield self.begin()
        phone, call, _ = yield self.talking()
        tablet = yield self.awake(host="127.0.0.4", transport="tcp")
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200)
        self.assertEqual(len(phone.saw("INFO")), 1)
        self.assertEqual(tablet.saw("INFO"), [])
        yield call.hang_up()

    @inlineCallbacks
    def test_a_peer_that_routes_strictly(self):
        """Its Route to us has become the Request-URI, our Contact the last Route (RFC 2543)."""
        yield self.begin()
        _, call, ringing = yield self.talking()
        wire = yield self.upper.reach(call.dialog.next_hop)
        target = call.dialog.target
        us = f"{BORDER}:{self.world.sip}".encode()
        for method in (b"INFO", b"BYE"):
            request = call.dialog.request(method, wire.via(new_branch()), [(b"route", b"<%b>" % target)])
            request.uri = b"sip:%b;lr" % us
            response = yield self.upper.party.ask(request, wire)
            self.assertEqual(response.status, 200)
            seen = ringing.diary.last("request").detail
            self.assertEqual((seen.method, seen.routes), (method, []))
        yield self.happened(ringing.diary, "ended")

    @inlineCallbacks
    def test_a_server_that_leaves_the_transport_out_of_its_contact(self):
        """What it said over TCP is answered over TCP: by the letter of its Contact it would be sent datagrams."""
        changes = {";transport=udp": ";transport=tcp"}
        yield self.begin(changes=changes)
        self.upper.answering["echo"] = 0.02
        usual = self.upper.contact
        self.upper.contact = lambda wire: usual(wire).partition(b";")[0] + b">"
        phone = yield self.awake(transport="udp", talks=True)
        call = phone.call("echo")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        there = self.upper.calls[-1]
        yield self.happened(there.diary, "ack")
        for asker in (call, there):
            response = yield asker.ask(b"INFO")
            self.assertEqual(response.status, 200)
        yield call.hang_up()
        self.assertEqual({heard.transport for heard in self.upper.party.heard}, {b"TCP"})

    @inlineCallbacks
    def test_an_unknown_dialog(self):
        yield self.begin()
        _, call, ringing = yield self.talking()
        call.dialog.remote = call.dialog.remote.rpartition(b"=")[0] + b"=unknown"
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 481)
        stranger = self.stranger()
        response = yield stranger.ask("BYE", f"sip:abc@{BORDER}", self.world.sip, to="<sip:abc@x>;tag=1")
        self.assertEqual(response.status, 481)
        response = yield ringing.hang_up()
        self.assertEqual(response.status, 200)

    @inlineCallbacks
    def test_a_bye_that_is_repeated_is_answered_again(self):
        yield self.begin()
        _, call, ringing = yield self.talking()
        raw = self.raw(UPPER)
        wire = yield self.upper.reach(call.dialog.next_hop)
        via = wire.via(b"z9hG4bKagain").replace(
            b"%b:%d" % (wire.address.rpartition(b":")[0], self.upper.port), b"%b:%d" % (UPPER.encode(), raw.address[1])
        )
        bye = call.dialog.request(b"BYE", via, []).render()
        for count in (1, 2, 3):
            raw.say(bye, self.world.sip)
            yield until(lambda count=count: raw.statuses() == [200] * count, "200 each time")
        byes = [entry for entry in ringing.diary.all("request") if entry.detail.method == b"BYE"]
        self.assertEqual(len(byes), 1)

    @inlineCallbacks
    def test_an_invite_that_is_repeated_is_one_call(self):
        yield self.begin()
        phone = yield self.awake(answer_delay=None)  # by TCP: nothing is repeated on the way to it
        call = self.upper.place_call("bob")
        yield until(lambda: 180 in self.heard(call), "it rings")
        raw = self.raw(UPPER)

        def ringing():
            return len([heard for heard in self.upper.party.heard if heard.what == "180"]) + raw.statuses().count(180)

        for count in (2, 3, 4):
            raw.say(call._invite.render(), self.world.sip)
            yield until(lambda count=count: ringing() == count, "the same answer again")
        call.cancel()
        yield self.final(call)
        yield self.happened(phone.diary, "cancelled")
        self.assertEqual(len([heard for heard in phone.party.heard if heard.what == "INVITE"]), 1)

    @inlineCallbacks
    def test_the_200_is_repeated_until_the_ack_comes_and_is_one_answer(self):
        yield self.begin()
        phone = yield self.awake(transport="udp")
        call = self.upper.place_call("bob")
        put, self.upper.party.put = self.upper.party.put, lambda message, wire: None
        yield self.final(call)

        def oks():
            heard = [each.message for each in self.upper.party.heard if each.what == "200"]
            return [message for message in heard if b"INVITE" in message.first(b"cseq")]

        yield until(lambda: len(oks()) >= 2, "it is repeated")
        self.assertEqual(len({message.to_tag for message in oks()}), 1)
        self.upper.party.put = put
        yield self.happened(self.ringing(phone).diary, "ack")
        yield call.hang_up()
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["code"], told.count("answered")), (200, 1))


class Offers(Calls):
    @inlineCallbacks
    def test_a_late_offer_in_the_200_and_the_answer_in_the_ack(self):
        yield self.begin()
        phone = yield self.awake(transport="udp", talks=True)
        call = self.upper.place_call("bob", media=False)
        acknowledge = call._acknowledge

        def with_answer(response, cseq):
            call.dialog_answer = media_address(response.body)
            wire_of = self.upper.reach(call.dialog.next_hop)
            sdp = (
                b"v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 40002 RTP/AVP 0\r\n"
            )

            def send(wire):
                ack = call.dialog.request(b"ACK", wire.via(new_branch()), [SDP], sdp, cseq=cseq)
                self.upper.party.put(ack, wire)

            wire_of.addCallback(send)
            return response

        call._acknowledge = with_answer
        yield self.final(call)
        ack = yield self.happened(self.ringing(phone).diary, "ack")
        self.assertEqual(call.dialog_answer[0], BORDER, "the offer leads to the relay")
        self.assertEqual(media_address(ack.body)[0], BORDER, "and so does the answer")
        call._acknowledge = acknowledge
        yield call.hang_up()

    @inlineCallbacks
    def test_requests_inside_the_early_dialog_pass(self):
        yield self.begin()
        phone = yield self.awake(transport="udp", talks=True, ring_delay=5, answer_delay=None)
        call = self.upper.place_call("bob", headers=[(b"supported", b"100rel")])
        ringing = yield self.happened(phone.diary, "invite")
        self.assertEqual(ringing.invite.first(b"supported"), b"100rel")
        ringing._respond(183, body=ringing.media.sdp())
        yield until(lambda: 183 in self.heard(call), "183")
        call.dialog = Dialog.of_caller(call._invite, call.diary.last("provisional").detail)
        response = yield call.ask(b"PRACK", (b"rack", b"1 1 INVITE"))
        self.assertEqual(response.status, 200)
        self.assertEqual(phone.saw("PRACK")[0].request.first(b"rack"), b"1 1 INVITE")
        response = yield ringing.ask(b"UPDATE")
        self.assertEqual(response.status, 200)
        call.dialog = None
        ringing.answer()
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(ringing.diary, "ack")
        yield call.hang_up()

    @inlineCallbacks
    def test_early_media_and_then_the_answer(self):
        yield self.begin()
        phone = yield self.awake(transport="udp", talks=True, ring_delay=5, answer_delay=None)
        call = self.upper.place_call("bob")
        ringing = yield self.happened(phone.diary, "invite")
        ringing._respond(183, body=ringing.media.sdp())
        ringing._talk(ringing.invite.body)
        yield until(lambda: 183 in self.heard(call), "183")
        early = call.diary.last("provisional").detail
        host, port = media_address(early.body)
        self.assertEqual(host, BORDER)
        call.media.talk(host, port)
        yield until(lambda: call.media.received > 3 and ringing.media.received > 3, "sound both ways before the answer")
        ringing.answer()
        yield self.final(call)
        self.assertEqual(media_address(call.diary.last("final").detail.body), (host, port), "the same ports")
        heard = call.media.received
        yield until(lambda: call.media.received > heard + 3, "and it goes on")
        yield call.hang_up()
