"""The product as a whole with the kernel: a phone behind NAT registers, calls, talks, moves, and hangs up, and nothing
that happens to the SBC's processes is heard."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase

from sbc.lab.border import Border
from sbc.lab.call import SDP
from sbc.lab.phone import Manners, Phone
from sbc.lab.rtp import RtpStream
from sbc.lab.upper import Upper
from sbc.media.kernel import bpffs, calls, layout, loading
from sbc.media.kernel.table import Table
from tests.flow.waits import pause, until
from tests.flow.within import migrated
from tests.kernel.machine import On
from tests.kernel.nat import INSIDE, Nat
from tests.kernel.wires import PHONE, RELAY
from tests.peers.program import unavailable

ADMIN = ("127.0.0.1", 8080)
CONFIGURATION = """
[node]
name = "edge"
state = "{state}"
[[listen]]
uri = "udp:{near}:5060"
side = "client"
[[listen]]
uri = "udp:{far}:5060"
side = "upper"
[[upper]]
name = "pbx"
uri = "{upper}"
domain = "pbx.example.com"
[database]
url = "sqlite:///{database}"
[admin]
listen = "127.0.0.1:8080"
[media]
engine = "kernel"
relay = "always"
ports = "20000-20099"
"""
#: What the timeline of a call says of its audio.
DETAIL = r"from the caller \d+ packets \(0 lost\), from the callee \d+ packets \(0 lost\); jitter [\d.]+ and [\d.]+ ms"
#: Packets after which audio counts as going on: half a second of it.
SOME = 25
#: Seconds that anything may take on a machine that is busy with other things.
LONG = 40.0


class Whole(TestCase):
    timeout = 240

    def setUp(self) -> Any:
        self.nat = Nat()
        self.addCleanup(self.nat.close)
        self.folder = Path(tempfile.mkdtemp(prefix="sbc-whole-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.state = self.folder / "state"
        self.names = bpffs.directory(str(self.state))
        self.addCleanup(shutil.rmtree, self.names, ignore_errors=True)
        self.upper = Upper(On(self.nat, "b"), host=PHONE["b"][4], users={"bob": "secret"})
        self.upper.answering["echo"] = 0.05
        self.addCleanup(self.upper.stop)
        return self.upper.start().addCallback(lambda _: self.start())

    @inlineCallbacks
    def start(self) -> Any:
        """The SBC, as an operator starts it."""
        database = self.folder / "sbc.db"
        if not database.exists():
            database.write_bytes(migrated())
        text = CONFIGURATION.format(
            state=self.state, near=RELAY["a"][4], far=RELAY["b"][4], upper=self.upper.uri, database=database
        )
        self.border = Border(On(self.nat, "r"), self.folder, text, admin=ADMIN, database=database)
        self.addCleanup(self.border.stop)
        yield self.border.start()
        yield until(lambda: "media engine:" in self.border.output, "the log says what forwards", LONG)
        if "media engine: kernel" not in self.border.output:
            unavailable(f"no forwarding in the kernel: {self.border.output[-300:]}")

    def media(self) -> list[int]:
        """The keeper's process and the relay's, in this order."""
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            try:
                words = (each / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"sbc.media.worker" in words and str(self.state).encode() in words:
                found.append(int(each.name))
        return sorted(found)

    def crash(self) -> Any:
        """No process of the SBC is left."""
        for each in (self.border.pid, *self.media()):
            os.kill(each, signal.SIGKILL)
        return until(lambda: self.border.diary.count("ended") and not self.media(), "nothing is left", LONG)

    def flows(self) -> dict[str, tuple[int, int]]:
        """Packets forwarded by the kernel and left to the relay, of each flow by who sends it: read out of its map."""
        try:
            flows = Table(calls.pinned(self.names / "flows"), *loading.MAPS["flows"][1:3])
        except FileNotFoundError:
            return {}
        try:
            found = {}
            for name, value in flows.items():
                source = layout.read(name, value).source[0]
                found["server" if source == PHONE["b"][4] else "phone"] = (
                    layout.counts(value).packets,
                    layout.punted(value),
                )
            return found
        finally:
            os.close(flows.descriptor)

    def forwarded(self) -> dict[str, int]:
        return {party: packets for party, (packets, _) in self.flows().items()}

    def left(self) -> dict[str, int]:
        return {party: packets for party, (_, packets) in self.flows().items()}

    @inlineCallbacks
    def pinned(self) -> Any:
        yield until(lambda: len(self.flows()) == 2, "both directions are in the kernel's map", LONG)

    @inlineCallbacks
    def looked_after(self) -> Any:
        """The relay, too, knows of both directions: the metric says so."""
        deadline = time.monotonic() + LONG
        while "sbc_relay_pinned 2" not in (yield self.border.metrics()):
            self.assertLess(time.monotonic(), deadline, "the flows have nobody who looks after them")
            yield pause(0.1)

    @inlineCallbacks
    def carried(self, before: dict[str, int]) -> Any:
        """The kernel forwards some more of both; what it has forwarded now."""
        self.assertEqual(set(before), {"phone", "server"})
        enough = lambda: all(count >= before[party] + SOME for party, count in self.forwarded().items())  # noqa: E731
        yield until(enough, "packets of both in the kernel", LONG)
        return self.forwarded()

    @inlineCallbacks
    def talk(self, here: RtpStream, there: RtpStream) -> Any:
        """Each hears some more of the other."""
        before = here.received, there.heard[here.label]
        enough = lambda: here.received >= before[0] + SOME and there.heard[here.label] >= before[1] + SOME  # noqa: E731
        yield until(enough, "audio both ways", LONG)

    @inlineCallbacks
    def alone(self, here: RtpStream, there: RtpStream) -> Any:
        """The kernel, and nobody else, carries audio both ways."""
        before, left = self.forwarded(), self.left()
        for each in self.media():
            os.kill(each, signal.SIGSTOP)
        try:
            yield self.carried(before)
            yield self.talk(here, there)
        finally:
            for each in self.media():
                os.kill(each, signal.SIGCONT)
        self.assertEqual(self.left(), left, "nothing was left to the relay")

    def moved(self, stream: RtpStream, label: str) -> RtpStream:
        """The phone sends from another port from now on, to where it sent before."""
        fresh = RtpStream(On(self.nat, "n"), INSIDE, label)
        fresh.open()
        self.addCleanup(fresh.close)
        assert stream._target is not None
        fresh.talk(*stream._target)
        stream.close()
        return fresh

    @inlineCallbacks
    def follow(self, call: Any, there: RtpStream, label: str) -> Any:
        """A phone that moves is not followed, as it could be anybody behind its router, until it says so."""
        call.media = self.moved(call.media, label)
        left = self.left()["phone"]
        yield until(lambda: self.left()["phone"] >= left + SOME, "the kernel leaves its packets to the relay", LONG)
        self.assertEqual(there.heard[label], 0)
        response = yield call.ask(b"INVITE", SDP, body=call.media.sdp()).addTimeout(LONG, reactor)
        self.assertEqual(response.status, 200)
        yield self.talk(call.media, there)
        yield self.pinned()
        yield self.alone(call.media, there)

    @inlineCallbacks
    def test_a_call_from_behind_nat(self) -> Any:
        phone = Phone(
            On(self.nat, "n"), username="bob", password="secret", proxy=(RELAY["a"][4], 5060), host=INSIDE,
            manners=Manners(),
        )  # fmt: skip
        self.addCleanup(phone.stop)
        response = yield phone.start().addTimeout(LONG, reactor)
        self.assertEqual(response.status, 200)

        call = phone.call("echo")
        entry = yield call.diary.when("final").addTimeout(LONG, reactor)
        self.assertEqual(entry.detail.status, 200)
        [answered] = self.upper.calls
        there = answered.media
        yield self.talk(call.media, there)
        self.assertEqual({host for host, _ in call.media.sources}, {RELAY["a"][4]})
        self.assertEqual({host for host, _ in there.sources}, {RELAY["b"][4]})
        yield self.pinned()
        yield self.looked_after()
        yield self.alone(call.media, there)
        yield self.follow(call, there, "moved")

        yield self.crash()
        before = self.forwarded()
        yield self.talk(call.media, there)
        after = yield self.carried(before)
        yield self.start()
        yield self.looked_after()
        yield self.alone(call.media, there)
        self.assertGreaterEqual(self.forwarded()["phone"], after["phone"], "with what was counted before")
        yield self.follow(call, there, "moved again")

        yield call.hang_up()
        query = "select * from cdrs where call_id = ? and ended_at is not null"
        yield until(lambda: self.border.rows(query, [call.call_id.decode()]), "the call record", LONG)
        self.assertEqual(self.flows(), {}, "nothing of it is in the kernel any more")
        [media] = self.border.rows("select detail from call_events where kind = 'media'")
        self.assertRegex(media["detail"], DETAIL)
        packets = [int(count) for count in re.findall(r"(\d+) packets \(0 lost\)", media["detail"])]
        self.assertGreaterEqual(min(packets), after["phone"], "those forwarded before the crash are among them")
