"""The engines that need nothing but this machine keep the contract."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import SkipTest, TestCase

from sbc.media import control, process
from sbc.media.calls import MediaCalls
from sbc.media.child import Child
from sbc.media.control import SOCKET
from sbc.media.engine import Engine
from sbc.media.inline import InlineEngine
from sbc.media.process import ProcessEngine
from sbc.media.settings import MediaSettings
from sbc.sip.errors import RemoteError
from tests.long.engine_contract import LONG, A, B, Contract, pause, ports


class Inline(Contract, TestCase):
    def make(self, settings: MediaSettings) -> Engine:
        return InlineEngine(settings, reactor)


class Kernel(Contract, TestCase):
    """The same process, with what the kernel can do for it here. Loopback phones stay with the process."""

    def make(self, settings: MediaSettings) -> Engine:
        if os.geteuid() != 0:
            raise SkipTest("not root: nothing can be loaded")
        state = Path(tempfile.mkdtemp(prefix="media-state-"))
        return ProcessEngine(settings, reactor, state, "kernel")


class Python(Contract, TestCase):
    """A media process. What else is promised of it: neither its death nor that of its master ends a call."""

    def make(self, settings: MediaSettings) -> Engine:
        self.state = Path(tempfile.mkdtemp(prefix="media-state-", dir=os.environ.get("TMPDIR")))
        return ProcessEngine(settings, reactor, self.state, "python")

    def kill(self) -> None:
        os.kill(self.engine.pid, signal.SIGKILL)  # type: ignore[attr-defined]

    @inlineCallbacks
    def test_a_killed_media_process_is_started_again_and_told_its_calls(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        yield self.until(lambda: self.calls.snapshot("leg"), "the leg is kept")
        far, before = (a.far, b.far), self.engine.pid  # type: ignore[attr-defined]
        self.kill()
        yield pause(0)
        a.heard(), b.heard()
        yield self.talk(a, b)
        self.assertNotEqual(self.engine.pid, before)  # type: ignore[attr-defined]
        self.assertEqual((a.far, b.far), far)
        yield self.until(lambda: self.engine.streams == 1, "the stream is counted")
        statistics = yield self.calls.close("leg")
        self.assertGreater(statistics.packets, 2)

    @inlineCallbacks
    def test_a_call_that_rings_when_it_is_killed_is_answered(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        b.learn((yield self.offer(a)))
        self.kill()
        a.learn((yield self.answer(b)))
        yield self.talk(a, b)

    @inlineCallbacks
    def test_an_offer_while_it_is_away_waits_for_it(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        self.kill()
        yield pause(0)
        yield self.call(self.phone(A), self.phone(B), key="second")
        yield self.talk(a, b)

    @inlineCallbacks
    def test_what_waits_too_long_is_refused(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        self.patch(process, "PATIENCE", 1.0)
        self.patch(Child, "begin", lambda *_: None)
        self.engine._child.kill()  # type: ignore[attr-defined]
        yield self.until(lambda: self.engine._link is None, "it is gone")  # type: ignore[attr-defined]
        yield self.assertFailure(self.offer(a, key="second"), RemoteError)

    @inlineCallbacks
    def test_a_new_master_takes_it_over_with_its_calls(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b, key="claimed")
        c, d = self.phone(A), self.phone(B)
        yield self.call(c, d, key="unclaimed")
        text = self.calls.snapshot("claimed")
        crashed: Any = self.engine
        worker = crashed.pid
        crashed._looking.stop()
        self.patch(crashed, "_seek", lambda: None)
        crashed._link.transport.abortConnection()
        yield self.until(lambda: crashed._link is None, "the old master is gone")
        yield self.hears(b, a.say())

        self.patch(process, "CLAIM", 1.0)
        after = ProcessEngine(self.settings, reactor, self.state, "python")
        calls = MediaCalls(self.settings, after)
        calls.privilegedStartService()
        calls.startService()
        self.engine, self.calls = after, calls
        self.assertTrue((yield calls.restore("claimed", text or "")))
        self.assertEqual(after.pid, worker, "none was started")
        yield self.hears(b, a.say())
        yield self.until(lambda: after.streams == 1, "the call that nobody claims is over")
        statistics = yield calls.close("claimed")
        self.assertGreater(statistics.packets, 4, "the counts of before are there")
        os.kill(worker, 0)
        yield calls.stopService()
        yield self.until(lambda: not crashed._child.runs, "it has ended")

    @inlineCallbacks
    def test_what_one_that_hangs_was_asked_is_answered_by_the_next(self) -> Any:
        self.patch(process, "HANGING", 1000.0)
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        yield self.until(lambda: self.calls.snapshot("leg"), "the leg is kept")
        before = self.engine.pid  # type: ignore[attr-defined]
        os.kill(before, signal.SIGSTOP)
        yield self.call(self.phone(A), self.phone(B), key="second")
        self.assertNotEqual(self.engine.pid, before)  # type: ignore[attr-defined]
        yield self.talk(a, b)
        self.assertEqual(self.faults, [])

    @inlineCallbacks
    def test_a_keeper_that_hangs_too_is_replaced(self) -> Any:
        self.patch(process, "PATIENCE", 1000.0)
        self.patch(process, "REVIVAL", 1.0)
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        yield self.until(lambda: self.calls.snapshot("leg"), "the leg is kept")
        keeper = self.engine._child.pid  # type: ignore[attr-defined]
        os.killpg(keeper, signal.SIGSTOP)
        yield self.call(self.phone(A), self.phone(B), key="second")
        self.assertNotEqual(self.engine._child.pid, keeper)  # type: ignore[attr-defined]
        yield self.talk(a, b)

    @inlineCallbacks
    def test_one_that_hangs_and_is_no_child_of_the_new_master_is_killed(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        crashed: Any = self.engine
        yield self.until(lambda: crashed.pid, "it is there")
        worker = crashed.pid
        crashed._looking.stop()
        self.patch(crashed, "_seek", lambda: None)
        crashed._link.transport.abortConnection()
        yield self.until(lambda: crashed._link is None, "the old master is gone")
        os.kill(worker, signal.SIGSTOP)

        self.engine = ProcessEngine(self.settings, reactor, self.state, "python")
        self.calls = MediaCalls(self.settings, self.engine)
        self.calls.privilegedStartService()
        self.calls.startService()
        yield self.until(lambda: self.engine.pid not in (0, worker), "another takes its place")  # type: ignore[attr-defined]
        yield self.call(a, b)
        yield self.talk(a, b)
        self.assertNotEqual(self.engine.pid, worker)
        yield self.calls.stopService()
        yield self.until(lambda: not crashed._child.runs, "it has ended")

    @inlineCallbacks
    def test_one_of_another_version_makes_room_for_ours(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b, key="of before")
        crashed: Any = self.engine
        worker = crashed.pid
        crashed._looking.stop()
        self.patch(crashed, "_seek", lambda: None)
        crashed._link.transport.abortConnection()
        yield self.until(lambda: crashed._link is None, "the old master is gone")

        true = control.from_settings
        newer: dict[str, Any] = {"nobody knows this yet": 1}
        self.patch(control, "from_settings", lambda settings: {**true(settings), **newer})
        self.engine = ProcessEngine(self.settings, reactor, self.state, "python")
        self.calls = MediaCalls(self.settings, self.engine)
        self.calls.privilegedStartService()
        self.calls.startService()
        newer.clear()  # the next media process is of the new version
        yield self.call(a, b)
        yield self.talk(a, b)
        self.assertNotEqual(self.engine.pid, worker)

    @inlineCallbacks
    def test_one_of_root_that_is_coming_up_is_asked_to_end(self) -> Any:
        self.patch(ProcessEngine, "_seek", lambda _: None)
        self.patch(process, "FAREWELL", LONG)
        yield self.begin()
        engine: Any = self.engine
        self.patch(Child, "kill", lambda _: False)
        yield self.calls.stopService()
        self.assertFalse(engine._child.runs)

    @inlineCallbacks
    def test_only_its_owner_may_speak_to_it(self) -> Any:
        yield self.begin()
        yield self.call(self.phone(A), self.phone(B))
        self.assertEqual((self.state / SOCKET).stat().st_mode & 0o777, 0o600)

    @inlineCallbacks
    def test_it_leaves_when_its_master_does(self) -> Any:
        yield self.begin()
        yield self.call(self.phone(A), self.phone(B))
        pid = self.engine.pid  # type: ignore[attr-defined]
        yield self.calls.stopService()
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    @inlineCallbacks
    def test_asked_to_end_it_waits_for_its_calls(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        before = self.engine.pid  # type: ignore[attr-defined]
        os.kill(before, signal.SIGTERM)
        yield self.hears(b, a.say())
        yield self.assertFailure(self.offer(self.phone(A), key="second"), RemoteError)
        yield self.hears(b, a.say())
        yield self.calls.close("leg")
        yield self.until(lambda: self.engine.pid not in (0, before), "a new one takes its place")  # type: ignore[attr-defined]
        yield self.call(self.phone(A), self.phone(B), key="third")

    @inlineCallbacks
    def test_ports_run_out(self) -> Any:
        yield self.begin(ports=ports(4))
        yield self.call(self.phone(A), self.phone(B))
        error = yield self.assertFailure(self.offer(self.phone(A), key="second"), RemoteError)
        self.assertEqual(error.status, 503)
        yield self.until(lambda: self.engine.exhausted == 1, "that is counted")
