"""Redirections: followed here, and no place of one side is shown to the other."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from sbc.lab.upper import Reply
from tests.flow.scene import DOMAIN, FlowCase


class Redirected(FlowCase):
    @inlineCallbacks
    def calls(self, *contacts, times=1):
        """Bob calls; the upper server answers 302 that often."""
        yield self.begin()
        self.upper.answering["voicemail"] = 0.05
        moved = Reply(status=302, headers=tuple((b"contact", contact.encode()) for contact in contacts))
        for _ in range(times):
            self.upper.script.plan("INVITE", moved)
        self.bob = yield self.awake()
        call = self.bob.call("support")
        status = yield self.final(call)
        return call, status

    def asked(self):
        return [seen.request.uri for seen in self.upper.saw("INVITE")]

    @inlineCallbacks
    def test_to_another_user_of_the_server_by_its_address(self):
        yield self.begin()
        place = f"{self.upper.host}:{self.upper.port}"
        self.upper.answering["voicemail"] = 0.05
        moved = (b"contact", f"<sip:voicemail@{place}>".encode())
        self.upper.script.plan("INVITE", Reply(status=302, headers=(moved,)))
        bob = yield self.awake()
        call = bob.call("support")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(self.asked(), [f"sip:support@{DOMAIN}".encode(), f"sip:voicemail@{DOMAIN}".encode()])
        self.assertEqual([heard.what for heard in bob.party.heard if heard.what == "302"], [])

    @inlineCallbacks
    def test_the_preferred_one_first(self):
        _, status = yield self.calls(f"<sip:nobody@{DOMAIN}>;q=0.8", f"<sip:voicemail@{DOMAIN}>;q=0.3")
        self.assertEqual(status, 200)
        users = [uri.partition(b"@")[0] for uri in self.asked()]
        self.assertEqual(users, [b"sip:support", b"sip:nobody", b"sip:voicemail"])

    @inlineCallbacks
    def test_elsewhere_is_nowhere(self):
        _, status = yield self.calls("<sip:x@198.51.100.66>", "<sip:y@elsewhere.example>", "<tel:+4930123>")
        self.assertEqual(status, 302)
        self.assertEqual(len(self.asked()), 1)
        [response] = [heard.message for heard in self.bob.party.heard if heard.what == "302"]
        self.assertEqual(response.lines(b"contact"), [b"<tel:+4930123>"], "what the phone may do with it is its own")

    @inlineCallbacks
    def test_in_circles(self):
        _, status = yield self.calls(f"<sip:support@{DOMAIN}>", times=5)
        self.assertEqual(status, 480)
        self.assertEqual(len(self.asked()), 2)


class Deflected(FlowCase):
    @inlineCallbacks
    def test_a_phone_that_redirects_shows_nothing_of_its_network(self):
        yield self.begin()
        yield self.awake(answer=302)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 302)
        response = call.diary.all("final")[-1].detail
        self.assertFalse(response.has(b"contact"))
