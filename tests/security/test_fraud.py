"""Redirections, loops, and calls that ring for nothing."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.protocol import Factory, Protocol

from sbc.lab.loop import close
from sbc.lab.upper import Reply
from tests.flow.scene import DOMAIN, until
from tests.security.hostile import ATTACKER, Hostile

ELSEWHERE = "127.0.0.77"


class Fraud(Hostile):
    @inlineCallbacks
    def test_34_nothing_that_a_peer_names_makes_us_send_there(self):
        yield self.attacked()
        trap = self.stranger(ELSEWHERE)
        port = trap.party._ports[0].getHost().port
        uri = f"sip:victim@{ELSEWHERE}:{port}".encode()
        phone = yield self.awake()
        for status in (300, 301, 302, 305, 380):
            self.upper.script.plan("INVITE", Reply(status=status, headers=((b"contact", b"<%b>" % uri),)))
            self.upper.answering["echo"] = 0
            status_heard = yield self.final(phone.call("echo"))
            self.assertGreaterEqual(status_heard, 300, status)
        visitors = []
        web = Factory.forProtocol(Protocol)
        web.buildProtocol = visitors.append
        page = reactor.listenTCP(0, web, interface=ELSEWHERE)
        self.addCleanup(close, page)
        site = f"http://{ELSEWHERE}:{page.getHost().port}".encode()
        pictures = [
            (b"alert-info", b"<%b/ring.wav>" % site),
            (b"call-info", b"<%b/face.png>;purpose=icon" % site),
            (b"error-info", b"<%b/error.html>" % site),
            (b"identity", b"eyJhbGciOiJFUzI1NiJ9.e30.c2ln;info=<%b/key.pem>;alg=ES256;ppt=shaken" % site),
        ]
        call = self.upper.place_call("bob", headers=[*pictures, (b"reply-to", b"<%b>" % uri)])
        status_heard = yield self.final(call)
        self.assertEqual(status_heard, 200)
        yield call.ask(b"REFER", (b"refer-to", b"<%b>" % uri))
        yield call.hang_up()
        stranger = self.stranger(ATTACKER)
        for headers in ([(b"route", b"<%b;lr>" % uri)], [(b"refer-to", b"<%b>" % uri)], [(b"path", b"<%b;lr>" % uri)]):
            yield stranger.ask("REFER", f"sip:bob@{DOMAIN}", self.world.sip, *headers)
        response = yield stranger.ask("INVITE", uri.decode(), self.world.sip)
        self.assertEqual(response.status, 403)
        self.assertEqual((trap.arrivals, visitors), ([], []))

    @inlineCallbacks
    def test_35_loops_end_spirals_go_on_and_breadth_is_spent_once(self):
        yield self.attacked()
        phone = yield self.awake()
        stranger = self.stranger(ATTACKER)
        self.upper.answering["echo"] = 0
        same = {"call_id": b"one", "from_": b"<sip:x@example.org>;tag=one"}
        yield stranger.ask("MESSAGE", f"sip:echo@{DOMAIN}", self.world.sip, **same)
        passed = self.upper.saw("MESSAGE")[-1].request
        [ours] = passed.each(b"via")
        response = yield stranger.ask("MESSAGE", f"sip:echo@{DOMAIN}", self.world.sip, (b"via", ours), **same)
        self.assertEqual(response.status, 482, "the same request again")
        response = yield stranger.ask("MESSAGE", f"sip:bob@{DOMAIN}", self.world.sip, (b"via", ours), **same)
        self.assertEqual(response.status, 200, "for somebody else it is a spiral")
        self.assertEqual([seen.request.first(b"call-id") for seen in phone.saw("MESSAGE")], [b"one"])
        response = yield stranger.ask("MESSAGE", f"sip:echo@{DOMAIN}", self.world.sip, (b"max-breadth", b"0"))
        self.assertEqual(response.status, 440)
        response = yield stranger.ask("MESSAGE", f"sip:echo@{DOMAIN}", self.world.sip, max_forwards=0)
        self.assertEqual(response.status, 483)

    @inlineCallbacks
    def test_36_one_source_leaves_only_so_many_calls_ringing(self):
        yield self.attacked(security="ban = false\nsource_rate = 0\nringing_per_source = 3")
        self.upper.script.always("INVITE", Reply(silent=True))
        attackers, other = [self.raw(ATTACKER) for _ in range(5)], self.raw("127.0.0.10")
        called = f"sip:echo@{DOMAIN}"
        for raw in attackers[:4]:
            raw.say(self.request("INVITE", called, "Contact: <sip:x@127.0.0.9>"), self.world.sip)
            yield until(lambda raw=raw: raw.heard, "an answer")
        yield until(lambda: 503 in attackers[3].statuses(), "the fourth is too many")
        self.assertEqual(len(self.sbc.calls.open), 3)
        other.say(self.request("INVITE", called, "Contact: <sip:x@127.0.0.10>"), self.world.sip)
        yield until(lambda: len(self.sbc.calls.open) == 4, "another source's call")
        self.upper.script.always("INVITE", Reply())
        phone = yield self.awake()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200, "upper servers are not counted")
        self.assertEqual(len(phone.saw("INVITE")), 1)
        self.sbc.calls.end_all("enough")
        yield until(lambda: not self.sbc.calls.open, "all are over")
        attackers[4].say(self.request("INVITE", called, "Contact: <sip:x@127.0.0.9>"), self.world.sip)
        yield until(lambda: 100 in attackers[4].statuses(), "there is room again")
        self.assertNotIn(503, attackers[4].statuses())
