"""More than anybody can serve: what goes on meanwhile, and what is left afterwards."""

from __future__ import annotations

import sys
import time

from twisted.internet import reactor
from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.internet.utils import getProcessOutput

from sbc.lab.world import BORDER
from tests.flow.scene import DOMAIN, pause, until
from tests.flow.test_strangers import GUESS
from tests.security.hostile import FULL, Hostile, resident


class Floods(Hostile):
    @inlineCallbacks
    def test_11_calls_and_known_peers_are_served_during_a_flood(self):
        rate, seconds, sources = (5_000, 60, 20) if FULL else (500, 4, 5)
        yield self.begin(child=True)
        phone = yield self.awake(transport="udp", talks=True)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        friend = self.stranger("127.0.0.2")
        yield pause(1)
        before = resident(self.world.border.pid)
        heard, lost = call.media.received, call.media.lost
        arguments = ["-m", "tests.security.flood", BORDER, self.world.sip, rate, seconds, sources]
        flood = getProcessOutput(
            sys.executable, [str(each) for each in arguments], env={"PYTHONPATH": ":".join(sys.path)}
        )
        slowest, most, begun = 0.0, 0, time.monotonic()
        while time.monotonic() < begun + seconds:
            asked = time.monotonic()
            response = yield friend.ask("OPTIONS", f"sip:{BORDER}", self.world.sip)
            self.assertEqual(response.status, 200)
            slowest = max(slowest, time.monotonic() - asked)
            most = max(most, resident(self.world.border.pid))
            yield pause(0.5)
        sent = yield flood
        told = time.monotonic() - begun
        packets, missing = call.media.received - heard, call.media.lost - lost
        print(
            f"{int(sent)} requests in {told:.0f} s, OPTIONS at most {slowest * 1000:.0f} ms, memory grown "
            f"{(most - before) / 1e6:.0f} MB, audio {packets} packets, {missing} lost"
        )
        self.assertLess(slowest, 1.0)
        self.assertLess(most - before, 300_000_000)
        self.assertGreater(packets, 40 * told)
        self.assertLess(missing, 0.02 * packets)
        response = yield call.hang_up().addTimeout(5, reactor)
        self.assertEqual(response.status, 200)
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def test_12_invites_with_wrong_credentials_leave_no_transaction(self):
        count = 5_000 if FULL else 150
        yield self.attacked(security="ban = false\nsource_rate = 0\nringing_per_source = 1000000")
        self.upper.challenge_calls = True
        stranger = self.stranger("127.0.0.9")
        open_at_once = 25
        done = [0]

        @inlineCallbacks
        def one_after_the_other():
            for _ in range(count // open_at_once):
                uri = f"sip:bob@{DOMAIN}"
                response = yield stranger.ask("INVITE", uri, self.world.sip, GUESS, transport=b"TCP")
                self.assertIn(response.status, (401, 403, 407))
                done[0] += 1

        running = [one_after_the_other() for _ in range(open_at_once)]
        yield gatherResults(running)
        self.assertEqual(done[0], count)
        table = self.sbc.driver.table
        self.later(33.0)
        yield until(lambda: not self.sbc.calls.open, "nothing is open")
        self.later(200.0)
        left = {
            "clients": len(table._clients), "open": len(self.sbc.calls.open), "dialogs": len(self.sbc.calls.dialogs),
            "streams": self.sbc.engine.streams, "calls": len(self.sbc.call_log),
        }  # fmt: skip
        self.assertEqual(left, dict.fromkeys(left, 0))
        self.assertLess(len(table), 5)
