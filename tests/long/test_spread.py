"""Several media processes as one engine."""

from __future__ import annotations

import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.trial.unittest import TestCase

from sbc.media.calls import MediaCalls
from sbc.media.engine import Engine
from sbc.media.engines import make_engine
from sbc.media.settings import MediaSettings
from sbc.media.spread import Spread
from tests.long.engine_contract import A, B, Contract, Conversation
from tests.unit.media.crypt_phones import SdesPhone
from tests.unit.media.relay_world import Phone

#: Where the upper server is.
UPPER = "127.0.0.5"


class Two(Conversation, TestCase):
    """What is promised of one holds for two, as far as that is not plain; and what else is promised."""

    test_legs_do_not_mix_and_are_counted = Contract.test_legs_do_not_mix_and_are_counted
    test_statistics_at_the_end = Contract.test_statistics_at_the_end
    test_what_is_broken_is_refused_and_what_is_no_description_passes = (
        Contract.test_what_is_broken_is_refused_and_what_is_no_description_passes
    )

    def make(self, settings: MediaSettings) -> Engine:
        self.state = Path(tempfile.mkdtemp(prefix="media-state-", dir=os.environ.get("TMPDIR")))
        self.settings = replace(settings, engine="python", workers=2)
        engine = make_engine(self.settings, reactor, self.state)
        assert isinstance(engine, Spread)
        return engine

    @property
    def workers(self) -> list[Any]:
        return self.engine.engines  # type: ignore[attr-defined, no-any-return]

    def ready(self) -> Any:
        return self.until(lambda: all(each.pid for each in self.workers), "both are there")

    def home(self, key: str) -> int:
        [number] = [number for number, each in enumerate(self.workers) if each.carries(key)]
        return number

    @inlineCallbacks
    def test_the_death_of_one_concerns_only_its_own(self) -> Any:
        yield self.begin()
        pairs = {key: (self.phone(A), self.phone(B)) for key in ("one", "two", "three", "four")}
        for key, (a, b) in pairs.items():
            yield self.call(a, b, key=key)
        self.assertEqual(sorted(self.home(key) for key in pairs), [0, 0, 1, 1])
        before = [each.pid for each in self.workers]
        yield self.until(lambda: all(self.calls.snapshot(key) for key in pairs), "all are kept")
        os.kill(before[1], signal.SIGSTOP)
        for key, (a, b) in pairs.items():
            if self.home(key) == 0:
                yield self.talk(a, b)
        os.kill(before[1], signal.SIGKILL)
        for a, b in pairs.values():
            yield self.talk(a, b)
        self.assertEqual(self.workers[0].pid, before[0])
        self.assertNotEqual(self.workers[1].pid, before[1])
        for key in pairs:
            yield self.calls.close(key)
        yield self.until(lambda: self.engine.streams == 0, "all are over")

    @inlineCallbacks
    def test_a_new_master_finds_each_leg_where_it_is(self) -> Any:
        yield self.begin()
        calls = {key: (self.phone(A), self.phone(B)) for key in ("one", "two")}
        for key, (a, b) in calls.items():
            yield self.call(a, b, key=key)
        yield self.until(lambda: all(self.calls.snapshot(key) for key in calls), "both are kept")
        texts = {key: self.calls.snapshot(key) or "" for key in calls}
        pids = [each.pid for each in self.workers]
        old: Any = self.engine
        yield old.leave()
        yield self.until(lambda: all(each._link is None for each in old.engines), "the old master is gone")

        self.engine = make_engine(self.settings, reactor, self.state)
        self.calls = MediaCalls(self.settings, self.engine)
        self.calls.privilegedStartService()
        self.calls.startService()
        there = yield gatherResults([self.calls.restore(key, text) for key, text in texts.items()])
        self.assertEqual(there, [True, True])
        self.assertEqual([each.pid for each in self.workers], pids)
        for a, b in calls.values():
            yield self.talk(a, b)
        yield self.calls.stopService()
        yield self.until(lambda: not any(each._child.runs for each in old.engines), "they have ended")

    @inlineCallbacks
    def test_legs_that_are_led_to_each_other_come_into_one_process_with_their_keys(self) -> Any:
        """An upper server with direct media: it tells each leg the port of the other one."""
        yield self.begin(srtp_upper="off", srtp_clients="sdes")
        a, b, x, y = SdesPhone(A), SdesPhone(B), self.phone(UPPER), self.phone(UPPER)
        self.phones += [a, b]
        x.learn((yield self.offer(a, key="one", toward_upper=True)))
        a.learn((yield self.answer(x, key="one")))
        yield self.talk(a, x)
        b.learn((yield self.offer(y, key="two")))
        y.learn((yield self.answer(b, key="two")))
        yield self.talk(y, b)
        self.assertNotEqual(self.home("one"), self.home("two"))
        shown = {phone: Phone.describe(phone, host=phone.far[0], port=phone.far[1]) for phone in (x, y)}

        a.learn((yield self.offer(x, shown[y], key="one", from_="b")))
        yield self.answer(a, key="one", from_="a")
        self.assertEqual(self.home("one"), self.home("two"))
        b.learn((yield self.offer(y, shown[x], key="two", from_="a")))
        yield self.answer(b, key="two", from_="b")
        self.assertEqual(self.home("one"), self.home("two"))
        yield self.talk(a, b)
        self.assertEqual(self.faults, [])

        statistics = yield self.calls.close("one")
        [stream] = statistics.streams
        self.assertGreaterEqual(stream.from_a.packets, a._sequence - 2, "what was counted before it moved is there")

    @inlineCallbacks
    def test_legs_that_are_led_to_each_other_in_the_same_moment_do_not_pass_each_other_by(self) -> Any:
        yield self.begin()
        a, b, x, y = self.phone(A), self.phone(B), self.phone(UPPER), self.phone(UPPER)
        for phone, far, key in ((a, x, "one"), (b, y, "two")):
            far.learn((yield self.offer(phone, key=key)))
            phone.learn((yield self.answer(far, key=key)))
        self.assertNotEqual(self.home("one"), self.home("two"))
        shown = {phone: Phone.describe(phone, host=phone.far[0], port=phone.far[1]) for phone in (x, y)}

        both = [self.offer(x, shown[y], key="one", from_="b"), self.offer(y, shown[x], key="two", from_="b")]
        for phone, offered in zip((a, b), (yield gatherResults(both)), strict=True):
            phone.learn(offered)
        self.assertEqual(self.home("one"), self.home("two"))
        yield gatherResults([self.answer(a, key="one", from_="a"), self.answer(b, key="two", from_="a")])
        yield self.talk(a, b)
        self.assertEqual(self.faults, [])

    @inlineCallbacks
    def test_a_new_leg_that_speaks_of_a_port_of_ours_begins_there(self) -> Any:
        """A call to ourselves by way of an upper server without media of its own."""
        yield self.begin()
        for key in ("one", "two", "three"):
            a, b, x = self.phone(A), self.phone(B), self.phone(UPPER)
            x.learn((yield self.offer(a, key=key)))
            spiral = Phone.describe(x, host=x.far[0], port=x.far[1])
            b.learn((yield self.offer(x, spiral, key=f"{key} back")))
            self.assertEqual(self.home(key), self.home(f"{key} back"))
            answered = yield self.answer(b, key=f"{key} back")
            a.learn((yield self.answer(x, answered, key=key)))
            yield self.talk(a, b)

    @inlineCallbacks
    def test_one_that_cannot_be_reached_gets_no_new_calls(self) -> Any:
        yield self.begin()
        self.patch(self.workers[0], "_connect", lambda: False)
        os.kill(self.workers[0].pid, signal.SIGKILL)
        yield self.until(lambda: not self.workers[0].pid, "it is gone")
        for key in ("one", "two"):
            yield self.call(self.phone(A), self.phone(B), key=key)
            self.assertEqual(self.home(key), 1)
