"""Results that are there are used at once, others when they come; what goes wrong then is told."""

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import TestCase

from sbc.soon import when_there


class SoonTests(TestCase):
    def setUp(self) -> None:
        self.told: list[object] = []

    def test_a_result_that_is_there(self):
        when_there(succeed(5), self.told.append, self.fail)
        self.assertEqual(self.told, [5])

    def test_a_result_that_comes_later(self):
        later: Deferred[int] = Deferred()
        when_there(later, self.told.append, self.fail)
        self.assertEqual(self.told, [])
        later.callback(6)
        self.assertEqual(self.told, [6])

    def test_a_result_that_waits_for_another(self):
        inner: Deferred[int] = Deferred()
        outer = succeed(1).addCallback(lambda _: inner)
        when_there(outer, self.told.append, self.fail)
        inner.callback(7)
        self.assertEqual(self.told, [7])

    def test_a_failure(self):
        when_there(fail(KeyError("a")), self.fail, lambda failure: self.told.append(failure.type))
        self.assertEqual(self.told, [KeyError])

    def test_a_bug_in_what_follows_is_logged_and_not_raised(self):
        when_there(succeed(0), lambda number: 1 // number, self.fail)
        later: Deferred[int] = Deferred()
        when_there(later, lambda number: 1 // number, self.fail)
        later.callback(0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
