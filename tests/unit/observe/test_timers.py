"""Lag, samples and flushes on a clock of their own."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from sbc.observe.calllog import CallLog
from sbc.observe.flushing import Flushing
from sbc.observe.lag import PROBE_INTERVAL, WINDOW, LagProbe
from sbc.observe.sampled import Sampled


class Lag(TestCase):
    def setUp(self):
        self.clock = Clock()
        self.blocked = 0.0
        self.probe = LagProbe(self.clock, lambda: self.clock.seconds() + self.blocked)

    def test_a_blocked_loop_is_seen_and_forgotten(self):
        self.assertEqual(self.probe.worst(), 0.0)
        self.probe.startService()
        self.clock.pump([PROBE_INTERVAL] * 4)
        self.assertAlmostEqual(self.probe.worst(), 0.0)
        self.blocked += 1.5
        self.clock.advance(PROBE_INTERVAL)
        self.assertAlmostEqual(self.probe.worst(), 1.5)
        self.clock.pump([PROBE_INTERVAL] * int(WINDOW / PROBE_INTERVAL + 2))
        self.assertAlmostEqual(self.probe.worst(), 0.0)

    def test_a_block_that_still_lasts_counts(self):
        self.probe.startService()
        self.blocked += 3
        self.assertAlmostEqual(self.probe.worst(), 3 - PROBE_INTERVAL)

    def test_a_hiccup_does_not_last_and_a_loop_that_is_always_late_does(self):
        self.probe.startService()
        self.blocked += 2.0
        self.clock.advance(PROBE_INTERVAL)
        self.assertAlmostEqual(self.probe.worst(), 2.0)
        self.assertEqual(self.probe.lasting(), 0.0)
        for late in range(1, 12):
            self.blocked += 0.6
            self.clock.advance(PROBE_INTERVAL)
            if late == 2:
                self.assertAlmostEqual(self.probe.lasting(), 0.0, msg="three seconds of ten")
        self.assertAlmostEqual(self.probe.lasting(), 0.6)

    def test_stopping_leaves_no_timer(self):
        self.probe.startService()
        self.probe.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Samples(TestCase):
    def test_asks_in_turn_and_keeps_the_last_answer(self):
        clock = Clock()
        asked = []

        def ask():
            asked.append(Deferred())
            return asked[-1]

        sampled = Sampled(clock, ask, 30)
        self.assertEqual(sampled.reading(), {})
        sampled.startService()
        clock.advance(100)
        self.assertEqual(len(asked), 1)  # the database is slow: no second question
        asked[0].callback({("awake",): 3})
        self.assertEqual(sampled.reading(), {("awake",): 3})
        clock.advance(30)
        asked[1].errback(OSError("database away"))
        self.assertEqual(sampled.reading(), {("awake",): 3})
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        clock.advance(30)
        self.assertEqual(len(asked), 3)
        sampled.stopService()
        asked[2].callback({})
        self.assertEqual(clock.getDelayedCalls(), [])


class Flushes(TestCase):
    def test_each_second_and_at_the_end(self):
        clock = Clock()
        written = []
        log = CallLog(written.append)
        flushing = Flushing(clock, log, clock.seconds)
        flushing.startService()
        log.end(log.start("c1", "a", "b", "pbx", 0.0), 486, "Busy", "callee", 0.5)
        clock.advance(1)
        self.assertEqual([call.call_id for call in written[0].calls], ["c1"])
        log.start("c2", "a", "b", "pbx", 1.0)
        flushing.stopService()
        self.assertEqual([line.call_id for line in written[1].events], ["c2"])
        self.assertEqual(clock.getDelayedCalls(), [])
