"""Inside dialogs, what only some do: glare, challenges, forked subscriptions; with Call-IDs masked as well."""

from __future__ import annotations

from twisted.internet.defer import gatherResults, inlineCallbacks

from sbc.lab.call import SDP
from sbc.lab.party import new_branch
from sbc.lab.rtp import media_address
from sbc.lab.world import BORDER
from sbc.sip.build import cancel_for, make_request, respond
from tests.flow.scene import Calls, until
from tests.flow.test_strangers import contact_at

CHALLENGE = (b"proxy-authenticate", b'Digest realm="pbx.example.com", nonce="n1", algorithm=MD5')
PROOF = (
    b"proxy-authorization",
    b'Digest username="bob", realm="pbx.example.com", nonce="n1", uri="sip:x", response="0"',
)


def answering(side, *statuses):
    """The next requests inside the dialog of `side` get these (status, *headers), the ones after them what is usual."""
    usual, left = side.arrived, list(statuses)

    def arrived(txn, request):
        if not left:
            usual(txn, request)
            return
        status, *headers = left.pop(0)
        side.diary.note("request", request)
        side.owner.party.respond(txn, respond(request, status, headers=headers))

    side.arrived = arrived


class Methods(Calls):
    options = ""

    @inlineCallbacks
    def test_glare(self):
        """Both ask at once: each gets the other's 491, and the media stays until one of them asks again."""
        yield self.begin(proxy=self.options)
        _, call, ringing = yield self.talking()
        answering(call, (491,))
        answering(ringing, (491,))
        asked = [side.ask(b"INVITE", SDP, body=side.media.sdp()) for side in (call, ringing)]
        responses = yield gatherResults(asked)
        self.assertEqual([response.status for response in responses], [491, 491])
        heard = call.media.received
        yield until(lambda: call.media.received > heard + 3, "sound as before")
        held = ringing.media.sdp().replace(b"sendrecv", b"sendonly")
        response = yield ringing.ask(b"INVITE", SDP, body=held)
        self.assertEqual(response.status, 200)
        self.assertEqual(media_address(call.diary.last("request").detail.body)[0], BORDER)
        response = yield call.ask(b"INVITE", SDP, body=call.media.sdp())
        self.assertEqual(response.status, 200)
        heard = ringing.media.received
        yield until(lambda: ringing.media.received > heard + 3, "and sound again")
        yield call.hang_up()

    @inlineCallbacks
    def test_a_challenge_inside_the_dialog(self):
        yield self.begin(proxy=self.options)
        _, call, ringing = yield self.talking()
        for method, more in ((b"INVITE", [SDP]), (b"REFER", [(b"refer-to", b"<sip:x@y>")]), (b"INFO", [])):
            body = ringing.media.sdp() if method == b"INVITE" else b""
            answering(call, (407, CHALLENGE))
            response = yield ringing.ask(method, *more, body=body)
            self.assertEqual((response.status, response.first(b"proxy-authenticate")), (407, CHALLENGE[1]))
            response = yield ringing.ask(method, *more, PROOF, body=body)
            self.assertEqual(response.status, 200)
            first, second = [entry.detail for entry in call.diary.all("request")][-2:]
            self.assertEqual(second.first(b"proxy-authorization"), PROOF[1])
            self.assertEqual(second.cseq.number, first.cseq.number + 1)
            self.assertEqual(second.call_id, first.call_id)
        yield ringing.hang_up()
        yield self.happened(call.diary, "ended")

    @inlineCallbacks
    def test_a_refused_offer_changes_nothing(self):
        yield self.begin(proxy=self.options)
        _, call, ringing = yield self.talking()
        answering(ringing, (488,))
        response = yield call.ask(b"INVITE", SDP, body=call.media.sdp().replace(b"PCMU", b"X"))
        self.assertEqual(response.status, 488)
        heard = call.media.received, ringing.media.received
        yield until(lambda: call.media.received > heard[0] + 3 and ringing.media.received > heard[1] + 3, "sound")
        response = yield ringing.ask(b"UPDATE", SDP, body=ringing.media.sdp())
        self.assertEqual(response.status, 200)
        yield call.hang_up()

    @inlineCallbacks
    def test_the_caller_takes_back_its_re_invite(self):
        """CANCEL of a request inside the dialog: the dialog stays."""
        yield self.begin(proxy=self.options)
        _, call, ringing = yield self.talking()
        held = []
        usual = ringing.arrived

        def ring(txn, request):
            held.append((txn, request))
            ringing.owner.party.respond(txn, respond(request, 180))

        ringing.arrived = ring
        gone = ringing.owner.cancelled
        ringing.owner.cancelled = lambda txn: ringing.owner.party.respond(txn, respond(held[0][1], 487))
        wire = yield self.upper.reach(call.dialog.next_hop)
        invite = call.dialog.request(b"INVITE", wire.via(new_branch()), [(b"contact", self.upper.contact(wire))])
        heard = []
        self.upper.party.request(invite, wire, heard.append, lambda reason: None)
        yield until(lambda: 180 in [response.status for response in heard], "it rings")
        self.upper.party.request(cancel_for(invite), wire, lambda _: None, lambda _: None)
        yield until(lambda: heard[-1].status == 487, "it is taken back")
        ringing.arrived, ringing.owner.cancelled = usual, gone
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200)
        yield call.hang_up()

    @inlineCallbacks
    def test_a_subscription_that_was_forked(self):
        """RFC 6665 §4.5.2: each notifier makes a dialog of its own, also one whose NOTIFY comes before the 2xx."""
        yield self.begin(proxy=self.options)
        desks = [self.stranger("127.0.0.8"), self.stranger("127.0.0.9")]
        self.upper.rules.users["desk"] = "x"
        phone = yield self.awake("bob")
        usual = phone.arrived

        def arrived(txn, request):
            if request.method != b"NOTIFY":
                usual(txn, request)
                return
            phone.diary.note("notify", request)
            phone.party.respond(txn, respond(request, 200, headers=[(b"contact", phone.contact(phone.wire))]))

        phone.arrived = arrived
        ports = [desk.party._ports[0].getHost().port for desk in desks]
        self.upper.location.users["desk"] = [contact_at(f"sip:desk@127.0.0.8:{ports[0]}".encode())]
        headers = [(b"event", b"dialog"), (b"expires", b"300"), (b"contact", phone.contact(phone.wire))]
        response = yield phone.send("SUBSCRIBE", "desk", headers=headers)
        self.assertEqual(response.status, 200)
        [subscribe] = desks[0].arrivals
        uri = subscribe.contacts[0].uri.render().decode()
        tags = [desks[0].tags[-1], b"other-desk"]
        for desk, tag in zip(desks, tags, strict=True):
            answer = yield desk.ask(
                "NOTIFY", uri, self.world.sip, (b"event", b"dialog"), (b"subscription-state", b"active"),
                to=subscribe.first(b"from").decode(), from_=subscribe.first(b"to") + b";tag=" + tag,
                call_id=subscribe.call_id, body=b"<state/>",
            )  # fmt: skip
            self.assertEqual(answer.status, 200)
        notified = [entry.detail for entry in phone.diary.all("notify")]
        self.assertEqual([notify.from_tag for notify in notified], tags)
        self.assertEqual({notify.call_id for notify in notified}, {response.call_id})
        for desk, notify in zip(desks, notified, strict=True):
            before = len(desk.arrivals)
            again = make_request(
                b"SUBSCRIBE",
                notify.contacts[0].uri.render(),
                via=phone.wire.via(new_branch()),
                from_=notify.first(b"to"),
                to=notify.first(b"from"),
                call_id=notify.call_id,
                cseq=9,
                headers=[*headers[:1], (b"expires", b"0"), headers[2]],
            )
            answer = yield phone.party.ask(again, phone.wire)
            self.assertEqual(answer.status, 200)
            self.assertEqual(desk.arrivals[before].to_tag, notify.from_tag)
            self.assertEqual(desk.arrivals[before].call_id, subscribe.call_id)

    @inlineCallbacks
    def test_a_refer_and_the_subscription_that_it_makes(self):
        yield self.begin(proxy=self.options)
        _, call, ringing = yield self.talking()
        yield ringing.ask(b"REFER", (b"refer-to", b"<sip:carol@pbx.example.com>"))
        refer = call.diary.last("request").detail
        identity = b"refer;id=%d" % refer.cseq.number
        for state in (b"active;expires=60", b"terminated;reason=noresource"):
            more = [(b"event", identity), (b"subscription-state", state), (b"content-type", b"message/sipfrag")]
            response = yield call.ask(b"NOTIFY", *more, body=b"SIP/2.0 100 Trying\r\n")
            self.assertEqual(response.status, 200)
            seen = ringing.diary.last("request").detail
            self.assertEqual((seen.first(b"event"), seen.first(b"subscription-state")), (identity, state))
        response = yield ringing.ask(b"INFO")
        self.assertEqual(response.status, 200, "the call outlives the subscription")
        yield call.hang_up()
        yield self.happened(ringing.diary, "ended")


class Masked(Methods):
    options = "mask_call_id = true"

    @inlineCallbacks
    def test_no_message_of_one_side_has_the_call_id_of_the_other(self):
        """Calls both ways, answered, refused, taken back, challenged; messages and queries."""
        yield self.begin(proxy=self.options)
        self.upper.challenge_calls = True
        phone, call, there = yield self.calling()
        yield call.ask(b"OPTIONS")
        yield there.hang_up()
        phone.manners.answer_delay = None
        ringing = self.upper.place_call("bob")
        yield until(lambda: 180 in self.heard(ringing), "it rings")
        ringing.cancel()
        yield self.final(ringing)
        phone.manners.answer_delay, phone.manners.answer = 0.02, 486
        yield self.final(self.upper.place_call("bob"))
        yield self.upper.send_message("bob", "hello")
        self.upper.answering["desk"] = 0.02
        yield phone.send_message("desk", "hello")
        near = {heard.message.call_id for heard in phone.party.heard} | {each.call_id for each in phone.calls}
        far = {heard.message.call_id for heard in self.upper.party.heard}
        self.assertEqual(near & far, set())
        self.assertGreaterEqual(len(near), 6)
        invites = self.upper.saw("INVITE")
        self.assertEqual(len(invites), 2, "challenged, and again")
        self.assertEqual(invites[0].request.call_id, invites[1].request.call_id, "as one call to the server")
