"""The relay turned by a real reactor."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase

from sbc.media.calls import MediaCalls
from sbc.media.inline import InlineEngine
from sbc.media.settings import MediaSettings
from tests.unit.media.relay_world import RELAY, Phone
from tests.waiting import until


class Reactor(TestCase):
    @inlineCallbacks
    def test_packets_flow(self):  # type: ignore[no-untyped-def]
        settings = MediaSettings()
        calls = MediaCalls(settings, InlineEngine(settings, reactor))
        calls.startService()
        self.addCleanup(calls.stopService)
        a, b = Phone("127.0.0.3"), Phone("127.0.0.4")
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        shown = {"toward": RELAY, "back": RELAY}
        b.learn((yield calls.offer("leg", a.describe(), source="127.0.0.3", from_="a", **shown)))
        a.learn((yield calls.answer("leg", b.describe(), source="127.0.0.4", from_="b")))
        sent = [a.say(), a.say()]
        heard: list[bytes] = []
        yield until(lambda: heard.extend(b.heard()) or len(heard) == 2, "both packets")
        self.assertEqual(heard, sent)
        statistics = yield calls.close("leg")
        self.assertEqual(statistics.packets, 2)
        self.assertEqual(calls.engine.packets, 2)
