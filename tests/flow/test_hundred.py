"""A hundred calls for a hundred sleeping phones, some pushes lost: every call ends right, nobody rings twice."""

from __future__ import annotations

import time
from random import Random

import pytest
from twisted.internet.defer import gatherResults, inlineCallbacks

from sbc.push import habits
from tests.flow.scene import FlowCase, pause

PHONES = 100
LOST = 5  # of a hundred pushes


class Hundred(FlowCase):
    timeout = 170

    def told(self, call):
        """The timeline of a call, for the report of a failure."""
        self.sbc.call_log.flush(time.time(), everything=True)
        query = "select at, kind, detail from call_events where call_id = ? order by at, id"
        rows = self.rows(query, call.call_id.decode())
        return [(round(row["at"] - rows[0]["at"], 1), row["kind"], row["detail"]) for row in rows]

    @pytest.mark.slow
    @inlineCallbacks
    def test_every_call_is_answered_once_although_pushes_are_lost(self):
        self.patch(habits, "USUAL", 3.0)
        random = Random(8599)
        names = [f"user{number}" for number in range(PHONES)]
        # However busy the machine of this test is: a node under high load pushes nobody, unless it is to.
        yield self.begin(users=dict.fromkeys(names, "secret"), push='enabled = "always"')
        phones = []
        for name in names:
            phone = yield self.awake(name, wake_delay=random.uniform(0.1, 1.5), transport=random.choice(("udp", "tcp")))
            phones.append(phone)
        for phone in random.sample(phones, LOST):
            phone.manners.lost_pushes = 1
        yield gatherResults([self.fall_asleep(phone) for phone in phones])
        giving_up = random.sample(names, 5)
        for phone in phones:
            phone.manners.killed = phone.username in giving_up
        calls = {name: self.upper.place_call(name, media=False) for name in names}
        for name in giving_up:
            calls[name].cancel()
        statuses = yield gatherResults([self.final(calls[name], 60.0) for name in names])
        for name, status in zip(names, statuses, strict=True):
            self.assertEqual(status, 487 if name in giving_up else 200, f"{name}: {self.told(calls[name])}")
        for phone in phones:
            if phone.username in giving_up:
                phone.manners.killed = False
                yield phone.wake()
        yield pause(1.0)
        for phone in phones:
            gone = phone.username in giving_up
            self.assertEqual(len(phone.saw("INVITE")), 0 if gone else 1, phone.username)
            # A provider that answers too late is asked again: that is still the same push.
            self.assertLessEqual(len({push.headers["apns-id"] for push in self.pushes(phone)}), 2, phone.username)
