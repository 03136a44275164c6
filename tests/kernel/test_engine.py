"""The kernel engine as a whole: a media process that pins what both parties have begun. It keeps the contract of all
engines, and the audio that the kernel forwards needs no process."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from sbc.media.engine import Engine
from sbc.media.kernel import bpffs
from sbc.media.process import ProcessEngine
from sbc.media.settings import MediaSettings
from tests.kernel.machine import On
from tests.kernel.test_giving_up import POLICY, TEMPLATE
from tests.kernel.wires import PHONE, RELAY, Wires, ip
from tests.long.engine_contract import A, B, Contract, news, pause
from tests.peers.program import unavailable
from tests.unit.media.relay_world import Phone

NOBODY = 65534
#: Capabilities as `/proc` shows them: none, and CAP_NET_ADMIN with CAP_BPF.
NONE, TWO = f"{0:016x}", f"{1 << 12 | 1 << 39:016x}"
STRANGER = "127.0.0.66"
#: Where the contract's phones are here.
PLACES = {A: ("a", PHONE["a"][4]), B: ("b", PHONE["b"][4]), STRANGER: ("a", "10.71.1.66")}


class Kernel(Contract, TestCase):
    shown = RELAY["a"][4].encode()
    wanted = "kernel"

    def make(self, settings: MediaSettings) -> Engine:
        self.wires = Wires()
        self.addCleanup(self.wires.close)
        ip("-n", self.wires.names["a"], "addr", "add", "10.71.1.66/24", "dev", "wire")
        self.state = Path(tempfile.mkdtemp(prefix="media-state-", dir=os.environ.get("TMPDIR")))
        self.lines: list[str] = []
        observer = lambda event: self.lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return ProcessEngine(settings, On(self.wires, "r"), self.state, self.wanted)

    @inlineCallbacks
    def ready(self) -> Any:
        yield self.until(lambda: self.said(), "the media process says what it uses")
        if self.wanted == "kernel" and self.engine.name != "kernel":
            unavailable(f"no forwarding in the kernel: {self.said()}")

    def said(self) -> list[str]:
        return [line for line in self.lines if line.startswith("media engine:")]

    def phone(self, host: str) -> Phone:
        machine, there = PLACES[host]
        with self.wires.inside(machine):
            self.phones.append(Phone(there))
        return self.phones[-1]

    def signal(self, number: int) -> None:
        os.kill(self.engine.pid, number)  # type: ignore[attr-defined]

    @inlineCallbacks
    def alone(self, a: Phone, b: Phone) -> Any:
        """The parties hear each other while the media process stands still."""
        self.signal(signal.SIGSTOP)
        try:
            for one, other in ((a, b), (b, a)):
                yield self.hears(other, one.say())
        finally:
            self.signal(signal.SIGCONT)

    @inlineCallbacks
    def test_audio_needs_no_process(self) -> Any:
        yield self.begin()
        self.assertEqual(self.said(), ["media engine: kernel (eBPF by tcx at wa, wb)"])
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        yield self.until(lambda: self.engine.pinned == 2, "both directions are counted as pinned")
        yield self.alone(a, b)
        before = a._sequence
        for _ in range(100):
            yield self.hears(b, a.say())
        statistics = yield self.calls.close("leg")
        self.assertEqual(statistics.streams[0].from_a.packets, before + 100)
        self.assertEqual(statistics.streams[0].from_a.lost, 0)
        a.say()
        yield pause(0.1)
        self.assertEqual(news(b), [], "the call is over")

    @inlineCallbacks
    def test_audio_goes_on_while_the_process_is_dead(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        yield self.until(lambda: self.calls.snapshot("leg"), "the leg is kept")
        yield self.until(lambda: self.engine.pinned == 2, "both directions are pinned")
        before, pinned = self.engine.pid, a._sequence  # type: ignore[attr-defined]
        self.signal(signal.SIGKILL)
        self.engine._tally._now.clear()  # type: ignore[attr-defined]
        while self.engine.streams != 1 or self.engine.pid in (0, before):  # type: ignore[attr-defined]
            # until the new process has the call
            yield self.hears(b, a.say())
            yield self.hears(a, b.say())
            yield pause(0.01)
        yield self.alone(a, b)
        said = a._sequence - pinned
        statistics = yield self.calls.close("leg")
        self.assertGreaterEqual(statistics.streams[0].from_a.packets, said)
        a.say()
        yield pause(0.1)
        self.assertEqual(news(b), [], "the call is over, its flow with it")

    @inlineCallbacks
    def test_what_the_kernel_forwards_is_no_silence(self) -> Any:
        yield self.begin(timeout=4.0)
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        until = reactor.seconds() + 9.0  # type: ignore[attr-defined]
        while reactor.seconds() < until:  # type: ignore[attr-defined]
            yield self.hears(b, a.say())
            yield pause(0.05)
        self.assertEqual(self.faults, [])

    @inlineCallbacks
    def test_an_interface_that_vanishes_gives_the_call_back(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        self.wires.cut("b")
        yield self.until(lambda: not list(bpffs.directory(str(self.state)).glob("link-3")), "its link is let go of")
        self.wires.connect("b")
        yield self.talk(a, b)
        yield self.until(lambda: self.said()[-1].endswith("at wa, wb)"), "the new interface has the program")
        yield self.until(lambda: self.engine.pinned == 2, "the kernel has the call again")
        yield self.alone(a, b)

    @inlineCallbacks
    def test_policies_that_encrypt_end_it_for_their_time(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        yield self.until(lambda: self.engine.pinned == 2, "both directions are counted as pinned")
        ip("-n", self.wires.names["r"], "xfrm", "policy", "add", *POLICY, "out", *TEMPLATE)
        yield self.until(lambda: self.engine.pinned == 0, "nothing is pinned")
        yield self.until(lambda: "resting, as IPsec policies would be passed by" in self.said()[-1], "the log says so")
        ip("-n", self.wires.names["r"], "xfrm", "policy", "flush")
        yield self.until(lambda: self.engine.pinned == 2, "the kernel has the call again")
        yield self.until(lambda: self.said()[-1] == self.said()[0], "the log says that it is as before")
        yield self.talk(a, b)
        yield self.alone(a, b)

    @inlineCallbacks
    def test_a_wire_that_was_out_for_a_moment(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        ip("-n", self.wires.names["b"], "link", "set", "wire", "down")
        a.say()
        ip("-n", self.wires.names["b"], "link", "set", "wire", "up")
        ip("-n", self.wires.names["b"], "route", "replace", "default", "via", RELAY["b"][4])
        yield self.talk(a, b)
        for _ in range(2):  # the media process has looked after its flows at least once
            self.engine._tally._now.clear()  # type: ignore[attr-defined]
            yield self.until(lambda: self.engine.pinned == 2, "both directions are pinned again")
        yield self.alone(a, b)

    @inlineCallbacks
    def test_an_orderly_end_leaves_nothing_in_the_kernel(self) -> Any:
        yield self.begin()
        yield self.call(self.phone(A), self.phone(B))
        there = bpffs.directory(str(self.state))
        self.assertTrue(there.exists())
        yield self.calls.stopService()
        self.assertFalse(there.exists())


class Handed(Kernel):
    """The node began as root and goes on as somebody else, who has the state directory: see `twistd --uid`."""

    def make(self, settings: MediaSettings) -> Engine:
        made = super().make(settings)
        os.chown(self.state, NOBODY, NOBODY)
        names = bpffs.directory(str(self.state))
        self.addCleanup(shutil.rmtree, names, ignore_errors=True)
        return made

    @inlineCallbacks
    def test_who_the_processes_are_and_what_they_may(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        yield self.alone(a, b)
        worker = status(self.engine.pid)  # type: ignore[attr-defined]
        keeper = status(int(worker["PPid"]))
        for each in (worker, keeper):
            self.assertEqual(set(each["Uid"].split()) | set(each["Gid"].split()), {str(NOBODY)})
            self.assertEqual(
                (each["Groups"], each["NoNewPrivs"], each["CapInh"], each["CapAmb"]), ("", "1", *2 * [NONE])
            )
        self.assertEqual((worker["CapPrm"], worker["CapEff"]), (NONE, NONE))
        self.assertEqual((keeper["CapPrm"], keeper["CapEff"]), (TWO, TWO))
        os.kill(int(keeper["Pid"]), signal.SIGKILL)
        yield self.until(lambda: not Path(f"/proc/{worker['Pid']}").exists(), "one does not go without the other")
        yield self.until(lambda: self.engine.pinned == 2, "the next one has the call")


class Rooted(Kernel):
    """The node remains root's: its media process has nothing of it but the user's number."""

    @inlineCallbacks
    def test_who_the_processes_are_and_what_they_may(self) -> Any:
        yield self.begin()
        worker = status(self.engine.pid)  # type: ignore[attr-defined]
        keeper = status(int(worker["PPid"]))
        for each, powers in ((worker, NONE), (keeper, TWO)):
            self.assertEqual((each["CapPrm"], each["CapEff"], each["NoNewPrivs"]), (powers, powers, "1"))


def status(pid: int) -> dict[str, str]:
    """`/proc/PID/status`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


class Refused(Kernel):
    """Where the kernel cannot, one line says so, and the relay does the work."""

    def make(self, settings: MediaSettings) -> Engine:
        made = super().make(settings)
        self.occupied = bpffs.Names(bpffs.directory(str(self.state)))
        self.addCleanup(self.occupied.close)
        return made

    def ready(self) -> Any:
        return self.until(lambda: self.said(), "the media process says what it uses")

    @inlineCallbacks
    def test_one_line_says_why(self) -> Any:
        yield self.begin()
        self.assertEqual(len(self.said()), 1)
        self.assertIn("media engine: python; not the kernel: another process has", self.said()[0])
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        self.assertEqual(self.engine.name, "python")


OWN = {
    Refused: {"test_one_line_says_why"},  # the contract without the kernel is tested elsewhere
    Handed: {"test_who_the_processes_are_and_what_they_may", "test_audio_goes_on_while_the_process_is_dead",
             "test_an_interface_that_vanishes_gives_the_call_back"},
    Rooted: {"test_who_the_processes_are_and_what_they_may"},
}  # fmt: skip
for case, kept in OWN.items():
    for name in [name for name in dir(case) if name.startswith("test_") and name not in kept]:
        setattr(case, name, None)
