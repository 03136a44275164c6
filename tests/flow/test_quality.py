"""Servers that take calls and do badly with them are tried later, for that destination, until they do better."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from sbc.lab.upper import Reply
from sbc.upper import quality
from tests.flow.test_failover import TwoServers

ON = 'health_interval = "60s"\nfailover_after = "30s"\nquality = true'
BY_SPARE = 'name = "direct"\ncalled = ["+49301*"]\nupper = ["spare"]'
"""Numbers of the same destination that the spare takes: so that something is known of both."""
NUMBER, KNOWN, ELSEWHERE = "+49302", "+49301", "+43123"


class Quality(TwoServers):
    """After four calls a server is judged, and every fifth call finds out whether it has become better."""

    def setUp(self):
        super().setUp()
        self.patch(quality, "ENOUGH", 4)
        self.patch(quality, "PROBE", 5)
        self.patch(quality, "SLOWER", 0.3)

    @inlineCallbacks
    def ready(self, **sections):
        yield self.two(routing=ON, **sections)
        for server in (self.upper, self.spare):
            for number in (NUMBER, KNOWN, ELSEWHERE):
                server.answering[number] = 0.0
        self.caller = yield self.awake(talks=False)
        now, self.passed = self.sbc.driver.clock(), 0.0
        self.sbc.driver.clock = lambda: now + self.passed  # no stall makes a server slow

    @inlineCallbacks
    def calls(self, number, count=1):
        """So many calls; the server that each was sent to first, and how it ended."""
        seen = []
        for _ in range(count):
            before = len(self.upper.saw("INVITE"))
            call = self.caller.call(number)
            status = yield self.final(call)
            if status == 200:
                yield call.hang_up()
            seen.append(("pbx" if len(self.upper.saw("INVITE")) > before else "spare", status))
        return seen

    @inlineCallbacks
    def test_its_calls_fail(self):
        yield self.ready()
        self.upper.script.plan("INVITE", *[Reply(status=503)] * 4)
        seen = yield self.calls(NUMBER, 4)
        self.assertEqual(seen, [("pbx", 200)] * 4, "each by way of the spare")
        seen = yield self.calls(ELSEWHERE)
        self.assertEqual(seen, [("pbx", 200)], "another destination is another matter")
        seen = yield self.calls(NUMBER)
        self.assertEqual(seen, [("pbx", 200)], "the fifth call finds out: it works again")
        seen = yield self.calls(NUMBER, 4)
        self.assertEqual(seen, [("spare", 200)] * 4, "one good call is not enough")
        for _ in range(3):
            seen = yield self.calls(NUMBER, 5)
            self.assertIn(("pbx", 200), seen)
        found = self.sbc.uppers.router.quality.figures("pbx", "4930", self.sbc.driver.clock())
        self.assertEqual((found.calls, found.failure_ratio), (8, 0.5), "four failed, four probes since were answered")

    @inlineCallbacks
    def test_hardly_anybody_answers_there(self):
        yield self.ready(**{"[route]": BY_SPARE})
        seen = yield self.calls(KNOWN, 4)
        self.assertEqual(seen, [("spare", 200)] * 4)
        self.upper.script.plan("INVITE", *[Reply(status=404)] * 4)
        seen = yield self.calls(NUMBER, 4)
        self.assertEqual(seen, [("pbx", 404)] * 4, "an answer about the call is final")
        seen = yield self.calls(NUMBER, 2)
        self.assertIn(("spare", 200), seen)

    @inlineCallbacks
    def test_it_takes_long_until_it_rings(self):
        yield self.ready(**{"[route]": BY_SPARE})
        arrived = self.upper.arrived

        def slowly(txn, request):
            self.passed += 5.0 if request.method == b"INVITE" else 0.0
            arrived(txn, request)

        self.patch(self.upper, "arrived", slowly)
        yield self.calls(KNOWN, 4)
        seen = yield self.calls(NUMBER, 4)
        self.assertEqual(seen, [("pbx", 200)] * 4)
        why = self.sbc.uppers.router.quality.demoted(["pbx", "spare"], "4930", self.sbc.driver.clock())
        self.assertIn("until it rings", why["pbx"])
        seen = yield self.calls(NUMBER, 2)
        self.assertIn(("spare", 200), seen)
