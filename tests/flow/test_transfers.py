"""Requests that name another dialog: attended transfers, with Call-IDs masked and not, conferences, pick-ups."""

from __future__ import annotations

from urllib.parse import quote, unquote
from xml.etree import ElementTree

from twisted.internet.defer import inlineCallbacks

from sbc.lab.call import OutgoingCall
from sbc.lab.rtp import RtpStream
from sbc.lab.world import BORDER, UPPER
from sbc.sip import NameAddr
from tests.flow.scene import Calls, until

LAMP = """<?xml version="1.0"?>
<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" entity="sip:carol@pbx.example.com">
<dialog id="1" call-id="{call}" local-tag="{tag}" remote-tag="{caller}" direction="recipient"><local><target
uri="{contact}"/></local><state>early</state></dialog></dialog-info>"""

HOSTS = {"alice": "127.0.0.4", "bob": "127.0.0.5", "carol": "127.0.0.6"}


def tag_of(value):
    return NameAddr.parse(value).tag.decode()


def replaces(call):
    """The dialog of this call as one who knows it by `call` names it to a third party (RFC 3891 §3)."""
    dialog = call.dialog
    return f"{call.call_id.decode()};to-tag={tag_of(dialog.remote)};from-tag={tag_of(dialog.local)}"


def refer_to(call):
    """The peer of this call, to be called instead of it."""
    return b"<%b?Replaces=%b>" % (call.dialog.target, quote(replaces(call), safe="").encode())


def parts(value):
    """The URI of a Refer-To without its headers, and the Replaces among them."""
    uri = NameAddr.parse(value).uri
    headers = dict(part.split("=", 1) for part in uri.headers.decode().split("&"))
    return uri.replace(headers=None).render(), unquote(headers["Replaces"]).encode()


def follow(phone, value):
    """What a phone does that was told to refer itself (RFC 3515, 5589 §7)."""
    uri, replaced = parts(value)
    call = OutgoingCall(phone, RtpStream(phone.reactor, phone.host, phone.username), phone.identity)
    phone.calls.append(call)
    me = phone._aor(phone.username)
    headers = [(b"replaces", replaced), (b"referred-by", b"<sip:bob@pbx.example.com>")]
    call.invite(uri, phone._wire(), from_=b"<%b>" % me, to=b"<%b>" % uri, route=[phone._route()], headers=headers)
    return call


class Transfers(Calls):
    masked = False

    def ready(self):
        return self.begin(proxy="mask_call_id = true" if self.masked else "")

    def on_phone(self, name, transport="udp"):
        return self.awake(name, transport=transport, host=HOSTS[name], talks=True)

    @inlineCallbacks
    def between(self, caller, callee):
        """A call from one phone to another, through the upper server: both ends of it."""
        call = caller.call(callee.username)
        status = yield self.final(call)
        self.assertEqual(status, 200)
        there = self.ringing(callee)
        yield self.happened(there.diary, "ack")
        return call, there

    def last(self, side, method):
        return [entry.detail for entry in side.diary.all("request") if entry.detail.method == method][-1]

    @inlineCallbacks
    def test_three_phones(self):
        """Alice has called Bob, Bob asks Carol, and hands Alice over to her."""
        yield self.ready()
        alice = yield self.on_phone("alice")
        bob = yield self.on_phone("bob")
        carol = yield self.on_phone("carol")
        _, first = yield self.between(alice, bob)
        second, at_carol = yield self.between(bob, carol)
        response = yield first.ask(b"REFER", (b"refer-to", refer_to(second)), (b"referred-by", b"<sip:bob@x>"))
        self.assertEqual(response.status, 200)
        [seen] = alice.saw("REFER")
        taken = follow(alice, seen.request.first(b"refer-to"))
        status = yield self.final(taken)
        self.assertEqual(status, 200)
        invite = carol.saw("INVITE")[-1].request
        self.assertEqual(invite.first(b"replaces").decode(), replaces_from(at_carol))
        self.assertEqual(invite.first(b"referred-by"), b"<sip:bob@pbx.example.com>")
        response = yield at_carol.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(second.diary, "ended")
        more = [(b"event", b"refer"), (b"subscription-state", b"terminated"), (b"content-type", b"message/sipfrag")]
        response = yield alice.calls[0].ask(b"NOTIFY", *more, body=b"SIP/2.0 200 OK\r\n")
        self.assertEqual(response.status, 200)
        self.assertEqual(self.last(first, b"NOTIFY").body, b"SIP/2.0 200 OK\r\n")
        yield first.hang_up()
        heard = taken.media.received
        yield until(lambda: taken.media.received > heard + 3, "Alice hears Carol")
        self.hidden(alice, bob, carol)
        yield taken.hang_up()
        yield until(lambda: not self.sbc.calls.dialogs.all(), "no dialog is left")

    def hidden(self, *phones):
        """No phone saw an address of another one; masked, no Call-ID that another one made."""
        for phone in phones:
            others = {each for each in phones if each is not phone}
            secrets = [each.host.encode() for each in others] + [UPPER.encode()]
            if self.masked:
                made = [call for each in others for call in each.calls if isinstance(call, OutgoingCall)]
                secrets += [call.call_id for call in made]
            for heard in phone.party.heard:
                wire = unquote(heard.message.render().decode("latin-1")).encode("latin-1")
                for secret in secrets:
                    self.assertNotIn(secret, wire)

    @inlineCallbacks
    def test_both_calls_of_the_phone_are_with_the_upper_server(self):
        """The upper server gets what it would have got from the phone itself: its own Contact, its own dialog."""
        yield self.ready()
        bob = yield self.on_phone("bob", transport="tcp")
        first, second = self.upper.place_call("bob"), self.upper.place_call("bob", caller="other")
        yield self.final(first)
        yield self.final(second)
        near = {call.dialog.remote: call for call in bob.calls}
        one, two = near[first.dialog.local], near[second.dialog.local]
        response = yield one.ask(b"REFER", (b"refer-to", refer_to(two)))
        self.assertEqual(response.status, 200)
        uri, replaced = parts(self.last(first, b"REFER").first(b"refer-to"))
        self.assertEqual(uri, b"sip:pbx@%b:%d;transport=udp" % (UPPER.encode(), self.upper.port))
        self.assertEqual(replaced.decode(), replaces_from(second))
        yield first.hang_up()
        yield second.hang_up()

    @inlineCallbacks
    def test_the_upper_server_transfers_a_phone_to_another(self):
        yield self.ready()
        bob = yield self.on_phone("bob")
        carol = yield self.on_phone("carol")
        first, second = self.upper.place_call("bob"), self.upper.place_call("carol")
        yield self.final(first)
        yield self.final(second)
        response = yield first.ask(b"REFER", (b"refer-to", refer_to(second)))
        self.assertEqual(response.status, 200)
        [seen] = bob.saw("REFER")
        uri, replaced = parts(seen.request.first(b"refer-to"))
        self.assertEqual(NameAddr.parse(b"<%b>" % uri).uri.host, BORDER.encode())
        self.assertEqual(second.call_id in replaced, not self.masked)
        taken = follow(bob, seen.request.first(b"refer-to"))
        status = yield self.final(taken)
        self.assertEqual(status, 200)
        self.assertEqual(carol.saw("INVITE")[-1].request.first(b"replaces").decode(), replaces_from(carol.calls[0]))
        for call in (first, second, taken):
            yield call.hang_up()

    @inlineCallbacks
    def test_a_phone_is_transferred_to_somebody_at_the_upper_server(self):
        """Bob talks to the server's echo and to another of its users; the echo's side refers him to the other one."""
        yield self.ready()
        self.upper.answering.update(echo=0.02, desk=0.02)
        bob = yield self.on_phone("bob")
        yield self.final(bob.call("echo"))
        yield self.final(bob.call("desk"))
        echo, desk = self.upper.calls
        yield self.happened(desk.diary, "ack")
        local = self.upper.contact(echo.txn.hop)[1:-1]
        named = replaces_from(desk)
        yield echo.ask(b"REFER", (b"refer-to", b"<%b?Replaces=%b>" % (local, quote(named, safe="").encode())))
        [seen] = bob.saw("REFER")
        self.assertNotIn(UPPER.encode(), seen.request.first(b"refer-to"))
        calls = len(self.upper.seen)
        follow(bob, seen.request.first(b"refer-to"))
        yield until(lambda: len(self.upper.saw("INVITE")) == 3, "it comes to the server")
        invite = self.upper.seen[calls].request
        self.assertEqual(invite.uri, local)
        self.assertEqual(invite.first(b"replaces").decode(), named)

    @inlineCallbacks
    def test_what_names_no_dialog_of_ours_passes_as_it_is(self):
        yield self.ready()
        bob = yield self.on_phone("bob")
        call = self.upper.place_call("bob")
        yield self.final(call)
        for value in (
            b"<sip:carol@pbx.example.com>",
            b'"Carol" <sip:carol@pbx.example.com;method=INVITE>;x=1',
            b"<sip:carol@pbx.example.com?Replaces=foreign%40h%3Bto-tag%3D1%3Bfrom-tag%3D2&Subject=a%20b>",
            b"sip:carol@pbx.example.com",
            b"<tel:+15551234>",
        ):
            yield bob.calls[0].ask(b"REFER", (b"refer-to", value))
            self.assertEqual(self.last(call, b"REFER").first(b"refer-to"), value)
        yield call.hang_up()

    @inlineCallbacks
    def test_a_conference_is_joined_by_its_contact(self):
        """Bob is in a conference of the upper server: he invites and subscribes by the URI that he knows it by."""
        yield self.ready()
        self.upper.answering["focus"] = 0.02
        bob = yield self.on_phone("bob")
        call = bob.call("focus")
        yield self.final(call)
        [there] = self.upper.calls
        yield self.happened(there.diary, "ack")
        target = self.upper.contact(there.txn.hop)[1:-1]
        yield call.ask(b"REFER", (b"refer-to", b"<%b>" % call.dialog.target))
        self.assertEqual(self.last(there, b"REFER").first(b"refer-to"), b"<%b>" % target)
        joined = replaces(call).encode()
        stranger = OutgoingCall(bob, None, bob.identity)
        me = b"<%b>" % bob._aor("bob")
        stranger.invite(
            call.dialog.target,
            bob._wire(),
            from_=me,
            to=b"<%b>" % call.dialog.target,
            route=[bob._route()],
            headers=[(b"join", joined), (b"in-reply-to", call.call_id)],
        )
        yield until(lambda: len(self.upper.saw("INVITE")) == 2, "it comes to the server")
        invite = self.upper.saw("INVITE")[-1].request
        self.assertEqual(invite.uri, target)
        self.assertEqual(invite.first(b"join").decode(), replaces_from(there))
        self.assertEqual(invite.first(b"in-reply-to"), there.call_id)

    @inlineCallbacks
    def test_a_transfer_from_outside_the_dialog(self):
        """The upper server refers the phone's dialog without being in it (RFC 5589 §6, 4538)."""
        yield self.ready()
        bob = yield self.on_phone("bob")
        call = self.upper.place_call("bob")
        yield self.final(call)
        near = bob.calls[0]
        stranger = self.stranger(UPPER)
        tags = (tag_of(call.dialog.remote), tag_of(call.dialog.local))
        yield stranger.ask(
            "REFER",
            call.dialog.target.decode(),
            self.world.sip,
            (b"target-dialog", b"%b;local-tag=%b;remote-tag=%b" % (call.call_id, *(tag.encode() for tag in tags))),
            (b"refer-to", b"<sip:carol@pbx.example.com>"),
        )
        [seen] = bob.saw("REFER")
        self.assertEqual(
            seen.request.first(b"target-dialog"),
            b"%b;local-tag=%b;remote-tag=%b" % (near.call_id, *(tag.encode() for tag in tags)),
        )
        yield call.hang_up()

    @inlineCallbacks
    def test_a_transfer_from_outside_the_dialog_wakes_the_phone_that_has_it(self):
        """RFC 8599 §6.2: whoever has been told of a dialog's end means that very device."""
        yield self.ready()
        bob = yield self.on_phone("bob")
        other = yield self.awake("bob", host="127.0.0.9", silent=True)
        call = self.upper.place_call("bob")
        yield self.final(call)
        yield self.fall_asleep(bob)
        yield self.fall_asleep(other)
        tags = (tag_of(call.dialog.remote), tag_of(call.dialog.local))
        before = len(self.pushes(bob))
        response = yield self.stranger(UPPER).ask(
            "REFER",
            call.dialog.target.decode(),
            self.world.sip,
            (b"target-dialog", b"%b;local-tag=%b;remote-tag=%b" % (call.call_id, *(tag.encode() for tag in tags))),
            (b"refer-to", b"<sip:carol@pbx.example.com>"),
        )
        self.assertEqual(response.status, 405, "what this phone says to it")
        self.assertEqual((len(bob.saw("REFER")), len(other.saw("REFER"))), (1, 0))
        self.assertEqual([push.payload["ntype"] for push in self.pushes(bob)[before:]], ["4"])

    @inlineCallbacks
    def test_a_call_is_picked_up_that_a_lamp_showed(self):
        """Carol's phone rings; the upper server tells Bob's (RFC 4235), who takes the call in her place (RFC 3891)."""
        yield self.ready()
        bob = yield self.on_phone("bob")
        carol = yield self.awake("carol", transport="udp", host=HOSTS["carol"], talks=True, answer_delay=None)
        call = self.upper.place_call("carol")
        yield until(lambda: 180 in self.heard(call), "it rings")
        ringing = [entry.detail for entry in call.diary.all("provisional")][-1]
        contact, tag = ringing.contacts[0].uri.render().decode(), ringing.to_tag.decode()
        body = LAMP.format(call=call.call_id.decode(), tag=tag, caller=call.tag.decode(), contact=contact)
        more = [
            (b"event", b"dialog"),
            (b"subscription-state", b"active"),
            (b"content-type", b"application/dialog-info+xml"),
        ]
        response = yield self.upper.send("NOTIFY", "bob", headers=more, body=body.encode())
        self.assertEqual(response.status, 200)
        shown = ElementTree.fromstring(bob.saw("NOTIFY")[-1].request.body)
        dialog, target = shown[0], shown[0][0][0]
        self.assertEqual(dialog.get("call-id") == call.call_id.decode(), not self.masked)
        named = "{};to-tag={};from-tag={}".format(
            *(dialog.get(each) for each in ("call-id", "local-tag", "remote-tag"))
        )
        taking = OutgoingCall(bob, RtpStream(bob.reactor, bob.host, bob.username), bob.identity)
        bob.calls.append(taking)
        me, uri = bob._aor("bob"), target.get("uri").encode()
        replaced = [(b"replaces", named.encode())]
        taking.invite(uri, bob._wire(), from_=b"<%b>" % me, to=b"<%b>" % uri, route=[bob._route()], headers=replaced)
        yield until(lambda: len(carol.saw("INVITE")) == 2, "it comes to Carol's phone")
        heard = carol.saw("INVITE")[-1].request
        near = carol.calls[0]
        self.assertEqual(
            heard.first(b"replaces").decode(),
            f"{near.call_id.decode()};to-tag={near.tag.decode()};from-tag={call.tag.decode()}",
        )
        taking.cancel()
        call.cancel()
        yield self.final(call)


def replaces_from(call):
    """The dialog of this call as its own party reads it in an INVITE that is to replace it."""
    dialog = call.dialog
    return f"{call.call_id.decode()};to-tag={tag_of(dialog.local)};from-tag={tag_of(dialog.remote)}"


class MaskedTransfers(Transfers):
    masked = True

    test_what_names_no_dialog_of_ours_passes_as_it_is = None
