"""IPv4 and IPv6 phones on one listener that takes both: each is told an address that it can reach."""

from __future__ import annotations

import socket
from unittest import skipUnless

from twisted.internet.defer import inlineCallbacks

from sbc.lab.world import BORDER
from tests.flow.scene import Calls, until


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@skipUnless(has_ipv6(), "no IPv6 on this machine")
class Families(Calls):
    @inlineCallbacks
    def both(self, transport):
        told = 'advertise = "127.0.0.1, ::1"\nuri = '
        changes = {
            f'uri = "udp:{BORDER}:': f'{told}"udp:[::]:',
            f'uri = "tcp:{BORDER}:': f'{told}"tcp:[::]:',
        }
        yield self.begin(changes=changes)
        four = yield self.awake("bob", transport=transport, talks=True)
        six = self.phone("carol", transport=transport, host="::1", talks=True)
        six.proxy = ("::1", self.world.sip)
        response = yield six.start()
        self.assertEqual(response.status, 200)
        return four, six

    def only(self, phone, mine, other):
        """All that this phone was sent names addresses of its own family."""
        for heard in phone.party.heard:
            text = heard.message.render()
            self.assertNotIn(other, text)
            for name in ("contact", "via"):
                if heard.what not in ("200", "401") or heard.message.cseq.method != b"REGISTER":
                    for value in heard.message.lines(name.encode()):
                        self.assertIn(mine, value)
            if b"c=IN" in text:
                self.assertIn(b"c=IN IP6 ::1" if mine == b"[::1]" else b"c=IN IP4 127.0.0.1", text)

    @inlineCallbacks
    def conversation(self, transport):
        four, six = yield self.both(transport)
        for caller, called in ((six, four), (four, six)):
            call = caller.call(called.username)
            status = yield self.final(call)
            self.assertEqual(status, 200)
            there = self.ringing(called)
            yield self.happened(there.diary, "ack")
            yield until(
                lambda call=call, there=there: call.media.received > 3 and there.media.received > 3, "sound both ways"
            )
            response = yield there.ask(b"INFO")
            self.assertEqual(response.status, 200)
            response = yield call.hang_up()
            self.assertEqual(response.status, 200)
            yield self.happened(there.diary, "ended")
        self.only(six, b"[::1]", b"127.0.0.1")
        self.only(four, b"127.0.0.", b"::1")

    def test_over_udp(self):
        return self.conversation("udp")

    def test_over_tcp(self):
        return self.conversation("tcp")
