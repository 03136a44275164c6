"""More than anybody can serve: what goes on meanwhile, and what is left afterwards."""

from __future__ import annotations

import sys
import time

from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.internet.utils import getProcessOutput

from sbc.lab.world import BORDER
from tests.flow.scene import DOMAIN, pause, until
from tests.flow.test_strangers import GUESS
from tests.security.hostile import FULL, Hostile, resident


class Floods(Hostile):
    def beside(self, *arguments):
        """The number that `tests.security.flood` prints, in a process of its own."""
        given = [BORDER, self.world.sip, *arguments]
        command = ["-m", "tests.security.flood", *(str(each) for each in given)]
        said = getProcessOutput(sys.executable, command, env={"PYTHONPATH": ":".join(sys.path)}, errortoo=True)
        return said.addCallback(float)

    @inlineCallbacks
    def test_11_calls_and_known_peers_are_served_during_a_flood(self):
        rate, seconds, sources = (5_000, 60, 20) if FULL else (500, 2, 5)
        # The flood is for a server of its own, which nobody hears: what is measured is the SBC.
        flooded = 'name = "flooded"\nuri = "sip:127.0.0.66:5060;transport=udp"\ndomain = "flooded.example"'
        yield self.begin(child=True, **{"[upper]": flooded})
        phone = yield self.awake(transport="udp", talks=True)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield pause(1)
        before = resident(self.world.border.pid)
        talking = self.ringing(phone).media
        heard, lost, said, begun = call.media.received, call.media.lost, talking.sent, time.monotonic()
        flood = self.beside(seconds, rate, sources)
        friend = self.beside(seconds, "127.0.0.2")
        most = 0
        while time.monotonic() < begun + seconds:
            most = max(most, resident(self.world.border.pid))
            yield pause(0.5)
        spoken = talking.sent - said
        yield until(lambda: call.media.received - heard > 0.95 * spoken - 50, "the call is heard")
        packets, missing, told = call.media.received - heard, call.media.lost - lost, time.monotonic() - begun
        sent, slowest = yield gatherResults([flood, friend])
        metrics = yield self.world.border.metrics()
        shed = [line for line in metrics.splitlines() if "refused_total" in line]
        print(
            f"{int(sent)} requests in {told:.0f} s, OPTIONS at most {slowest * 1000:.0f} ms, memory grown "
            f"{(most - before) / 1e6:.0f} MB, audio {packets} packets, {missing} lost, {shed}"
        )
        self.assertLess(slowest, 1.0 if FULL else 20.0)  # a machine that runs all tests stalls for seconds
        self.assertLess(most - before, 800_000_000)  # the transactions that it may hold, at 8 kB each
        self.assertGreater(packets, 0.95 * spoken - 50)
        self.assertLess(missing, 0.02 * packets + 5)
        response = yield call.hang_up()
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
