"""Requests that are no calls of registered users: strangers, probes, loops, subscriptions, garbage."""

from __future__ import annotations

import random

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks

from sbc.lab.location import Contact
from sbc.lab.upper import Reply
from sbc.lab.world import BORDER
from tests.flow.scene import DOMAIN, FlowCase, pause, until

GUESS = (
    b"authorization",
    b'Digest username="bob", realm="pbx.example.com", nonce="n", uri="sip:pbx.example.com", response="0"',
)


class Strangers(FlowCase):
    def passed_on(self):
        """What reached the upper server, but for the SBC's own questions whether it is alive."""
        return [seen.request for seen in self.upper.seen if seen.request.parsed_uri.user or seen.method != "OPTIONS"]

    @inlineCallbacks
    def test_nothing_is_relayed_to_a_foreign_domain(self):
        yield self.begin()
        stranger = self.stranger("127.0.0.9")
        for method in ("INVITE", "MESSAGE", "OPTIONS"):
            response = yield stranger.ask(method, "sip:victim@elsewhere.example", self.world.sip)
            self.assertEqual(response.status, 403, method)
        response = yield stranger.ask(
            "REGISTER", "sip:elsewhere.example", self.world.sip, to="<sip:x@elsewhere.example>"
        )
        self.assertIn(response.status, (403, 404))
        self.assertEqual(self.passed_on(), [])

    @inlineCallbacks
    def test_options_to_the_sbc_itself(self):
        yield self.begin()
        for transport in (b"UDP", b"TCP"):
            stranger = self.stranger("127.0.0.9")
            response = yield stranger.ask("OPTIONS", f"sip:{BORDER}", self.world.sip, transport=transport)
            self.assertEqual(response.status, 200)
            self.assertIn(b"INVITE", response.first(b"allow"))
        self.assertEqual(self.passed_on(), [])

    @inlineCallbacks
    def test_a_contact_that_says_nothing(self):
        yield self.begin()
        self.upper.script.plan("MESSAGE", *[Reply(status=404)] * 2)
        for contact in (b"", b"*"):
            uri = f"sip:bob@{DOMAIN}"
            response = yield self.stranger("127.0.0.9").ask("MESSAGE", uri, self.world.sip, (b"contact", contact))
            self.assertEqual(response.status, 404, contact)

    @inlineCallbacks
    def test_max_forwards_zero(self):
        yield self.begin()
        stranger = self.stranger("127.0.0.9")
        for method in ("INVITE", "MESSAGE", "REGISTER"):
            uri = f"sip:bob@{DOMAIN}"
            response = yield stranger.ask(method, uri, self.world.sip, max_forwards=0)
            self.assertEqual(response.status, 483, method)
        self.assertEqual(self.passed_on(), [])

    @inlineCallbacks
    def test_a_stranger_calls_a_user_and_the_upper_server_decides(self):
        yield self.begin()
        self.upper.challenge_calls = True
        stranger = self.stranger("127.0.0.9")
        response = yield stranger.ask("INVITE", f"sip:bob@{DOMAIN}", self.world.sip)
        self.assertEqual(response.status, 407)

    @inlineCallbacks
    def test_an_unknown_extension_and_a_foreign_scheme(self):
        yield self.begin()
        stranger = self.stranger("127.0.0.9")
        response = yield stranger.ask("INVITE", "tel:+15551234", self.world.sip)
        self.assertEqual(response.status, 416)
        response = yield stranger.ask("FROBNICATE", f"sip:{BORDER}", self.world.sip)
        self.assertGreaterEqual(response.status, 400)

    @inlineCallbacks
    def test_garbage_never_breaks_it(self):
        yield self.begin()
        phone = yield self.awake(transport="udp")
        [register] = [seen for seen in self.upper.saw("REGISTER") if not seen.request.has(b"authorization")]
        good = register.request.render()
        raw = self.raw("127.0.0.9")
        chance = random.Random(7)
        samples = [b"", b"\r\n\r\n", b"\0" * 100, b"x" * 60_000, b"INVITE", b"SIP/2.0 200 OK\r\n\r\n", b"\xff\xfe" * 50]
        samples += [good[: chance.randrange(len(good))] for _ in range(60)]
        for _ in range(200):
            broken = bytearray(good)
            for _ in range(chance.randrange(1, 8)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            samples.append(bytes(broken))
        for count, sample in enumerate(samples):
            raw.say(sample, self.world.sip)
            if count % 40 == 0:
                yield pause(0.01)
        yield pause(0.1)
        self.assertEqual(self.sbc.metrics.refused.values.get(("bug",), 0), 0)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def test_a_malformed_request_is_told_so(self):
        yield self.begin()
        raw = self.raw("127.0.0.9")
        address = b"127.0.0.9:%d" % raw.address[1]
        lines = [
            b"INVITE sip:bob@pbx.example.com SIP/2.0", b"Via: SIP/2.0/UDP " + address + b";branch=z9hG4bKx",
            b"From: <sip:x@y>;tag=1", b"To: <sip:bob@pbx.example.com>", b"Call-ID: c", b"CSeq: nonsense INVITE",
            b"Content-Length: 0", b"", b"",
        ]  # fmt: skip
        raw.say(b"\r\n".join(lines), self.world.sip)
        yield until(lambda: raw.statuses(), "an answer")
        self.assertEqual(raw.statuses(), [400])


class Subscriptions(FlowCase):
    @inlineCallbacks
    def test_subscribe_and_notify_pass(self):
        yield self.begin()
        phone = yield self.awake("bob")
        yield self.awake("alice")
        response = yield self.upper.send("OPTIONS", "bob")
        self.assertEqual(response.status, 200)
        response = yield self.upper.send("NOTIFY", "bob", headers=[(b"event", b"message-summary")], body=b"x")
        self.assertEqual(response.status, 200)
        self.assertEqual(phone.saw("NOTIFY")[0].request.body, b"x")
        self.assertEqual(phone.saw("NOTIFY")[0].request.first(b"event"), b"message-summary")

    @inlineCallbacks
    def test_a_subscription_of_the_phone_and_its_notify(self):
        yield self.begin()
        notifier = self.stranger("127.0.0.8")
        self.upper.rules.users["desk"] = "x"
        phone = yield self.awake("bob")
        at = f"sip:desk@127.0.0.8:{notifier.party._ports[0].getHost().port}".encode()
        self.upper.location.users["desk"] = [contact_at(at)]
        response = yield phone.send("SUBSCRIBE", "desk", headers=[
            (b"event", b"dialog"), (b"expires", b"300"), (b"contact", phone.contact(phone.wire)),
        ])  # fmt: skip
        self.assertEqual(response.status, 200)
        [subscribe] = notifier.arrivals
        self.assertEqual(subscribe.contacts[0].uri.host, BORDER.encode())
        uri = subscribe.contacts[0].uri.render().decode()
        to = subscribe.first(b"from").decode()
        from_ = subscribe.first(b"to") + b";tag=" + notifier.tags[-1]
        answer = yield notifier.ask(
            "NOTIFY", uri, self.world.sip, (b"event", b"dialog"), (b"subscription-state", b"active"), to=to,
            from_=from_, call_id=subscribe.call_id, body=b"<state/>",
        )  # fmt: skip
        self.assertEqual(answer.status, 481, "the laboratory's phone keeps no subscriptions, and says so")
        [seen] = phone.saw("NOTIFY")
        self.assertEqual((seen.request.body, seen.request.first(b"event")), (b"<state/>", b"dialog"))
        self.assertEqual(seen.request.contacts[0].uri.host, BORDER.encode())

    @inlineCallbacks
    def test_publish_goes_up(self):
        yield self.begin()
        self.upper.answering["bob2"] = 0
        phone = yield self.awake("bob")
        response = yield phone.send("PUBLISH", "bob2", headers=[(b"event", b"presence")], body=b"here")
        self.assertEqual(response.status, 200)
        self.assertEqual(self.upper.saw("PUBLISH")[-1].request.body, b"here")


def contact_at(uri):
    """A binding at the upper server for somebody who is not behind the SBC."""
    return Contact(uri, reactor.seconds() + 600, [], b"c", 1, reactor.seconds())


class Guessing(FlowCase):
    """Names and passwords tried one after the other; the upper server's refusals tell."""

    @inlineCallbacks
    def tried(self, times, status, *headers, user="bob", transport=b"TCP"):
        """So many REGISTERs that the upper server refuses; what is held against their sender then."""
        self.upper.script.always("REGISTER", Reply(status=status))
        stranger = self.stranger("127.0.0.9")
        for _ in range(times):
            to = f"<sip:{user}@{DOMAIN}>"
            response = yield stranger.ask(
                "REGISTER", f"sip:{DOMAIN}", self.world.sip, *headers, to=to, transport=transport
            )
            self.assertEqual(response.status, status)
        return [(ban.source, ban.reason) for ban in self.sbc.guard.bans.each()]

    @inlineCallbacks
    def test_passwords(self):
        yield self.begin()
        bans = yield self.tried(4, 403, GUESS, transport=b"UDP")
        self.assertEqual(bans, [])
        bans = yield self.tried(2, 403, GUESS, transport=b"UDP")
        self.assertEqual(bans, [("127.0.0.9", "wrong-credentials")])

    @inlineCallbacks
    def test_names(self):
        yield self.begin()
        yield self.tried(6, 404, user="100", transport=b"UDP")
        yield until(lambda: [*self.sbc.guard.bans.each()], "a ban: whether we know the user is asked of the database")
        [ban] = self.sbc.guard.bans.each()
        self.assertEqual((ban.source, ban.reason), ("127.0.0.9", "unknown-user"))

    @inlineCallbacks
    def test_a_server_that_forgets_its_users_shuts_out_none_of_their_networks(self):
        yield self.begin()
        yield self.awake("bob")
        bans = yield self.tried(12, 404, user="bob", transport=b"UDP")
        self.assertEqual(bans, [])

    @inlineCallbacks
    def test_domains(self):
        yield self.begin()
        stranger = self.stranger("127.0.0.9")
        for _ in range(6):
            to = "<sip:x@elsewhere.example>"
            response = yield stranger.ask("REGISTER", "sip:elsewhere.example", self.world.sip, to=to)
            self.assertEqual(response.status, 404)
        self.assertEqual([ban.reason for ban in self.sbc.guard.bans.each()], ["unknown-user"])

    @inlineCallbacks
    def test_what_is_no_guess(self):
        yield self.begin()
        for status, headers in ((401, ()), (401, (GUESS,)), (403, ()), (503, (GUESS,))):
            bans = yield self.tried(7, status, *headers)
            self.assertEqual(bans, [], (status, headers))

    @inlineCallbacks
    def test_a_wrong_password_beside_a_phone_that_is_registered(self):
        yield self.begin()
        yield self.awake(host="127.0.0.9")
        bans = yield self.tried(12, 403, GUESS)
        self.assertEqual(bans, [])

    @inlineCallbacks
    def test_names_by_other_requests(self):
        yield self.begin()
        yield self.awake("bob")
        for method in ("INVITE", "MESSAGE", "OPTIONS", "INVITE", "MESSAGE", "INVITE"):
            stranger = self.stranger("127.0.0.9")
            response = yield stranger.ask(method, f"sip:100@{DOMAIN}", self.world.sip)
            self.assertEqual(response.status, 404)
        bans = [(ban.source, ban.reason) for ban in self.sbc.guard.bans.each()]
        self.assertEqual(bans, [("127.0.0.9", "unknown-user")])

    @inlineCallbacks
    def test_a_wrong_number_of_a_phone_is_no_guess(self):
        yield self.begin()
        phone = yield self.awake("bob", host="127.0.0.9")
        for _ in range(6):
            status = yield self.final(phone.call("100"))
            self.assertEqual(status, 404)
        self.assertEqual([*self.sbc.guard.bans.each()], [])
