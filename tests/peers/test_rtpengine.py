"""rtpengine as the relay: the daemon keeps the contract of engines, and may die."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase

from sbc.media.engine import Engine
from sbc.media.inline import InlineEngine
from sbc.media.rtpengine.engine import RtpengineEngine
from sbc.media.settings import MediaSettings
from sbc.sip.errors import RemoteError
from tests.long.engine_contract import A, B, Contract, Conversation
from tests.peers.ports import given_back
from tests.peers.rtpengine_daemon import Rtpengine
from tests.peers.test_calls import talk, talked
from tests.unit.media.crypt_phones import SdesPhone


class Daemons(Conversation):
    """`count` daemons, ended with the test."""

    shown = b"127.0.0.9"
    counts_losses = False  # it knows only those that receivers report
    learns_for = 4.0
    count = 1

    def make(self, settings: MediaSettings) -> Engine:
        lent = given_back()
        lent.__enter__()
        self.addCleanup(lent.__exit__, None, None, None)
        self.daemons = [Rtpengine(Path(tempfile.mkdtemp(prefix="rtpengine-"))) for _ in range(self.count)]
        for each in self.daemons:
            self.addCleanup(each.stop)
        settings = replace(settings, engine="rtpengine", rtpengine=tuple(each.address for each in self.daemons))
        return RtpengineEngine(settings, reactor)


class One(Daemons, Contract, TestCase):
    """A single daemon."""

    @inlineCallbacks
    def test_srtp_for_one_party_and_none_for_the_other(self) -> Any:
        yield self.begin(srtp_clients="off")
        a, b = SdesPhone(A), self.phone(B)
        self.phones.append(a)
        b.learn((yield self.offer(a)))
        a.learn((yield self.answer(b)))
        yield self.talk(a, b)
        yield self.hears(b, a.say())

    @inlineCallbacks
    def test_a_new_signalling_process_finds_the_calls_at_the_daemon(self) -> Any:
        yield self.begin()
        a, b = self.phone(A), self.phone(B)
        yield self.call(a, b)
        text = self.calls.snapshot("leg") or ""
        settings = replace(self.settings, engine="rtpengine", rtpengine=(self.daemons[0].address,))
        after = RtpengineEngine(settings, reactor)
        after.prepare()
        self.assertTrue((yield after.restore("leg", text)))
        self.assertFalse((yield after.restore("unknown", text)))
        yield self.hears(b, a.say())
        statistics = yield after.close("leg")
        self.assertGreater(statistics.packets, 2)
        yield after.stop()

    @inlineCallbacks
    def test_without_a_daemon_calls_are_refused_and_those_there_are_ended(self) -> Any:
        yield self.begin(timeout=10.0)
        yield self.call(self.phone(A), self.phone(B))
        self.daemons[0].kill()
        error = yield self.assertFailure(self.offer(self.phone(A), key="second"), RemoteError)
        self.assertEqual(error.status, 503)
        yield self.until(lambda: self.faults, "the call is given up")
        self.assertEqual((self.faults[0][0], self.faults[0][1].cause), ("leg", "lost"))


class AtTheFarEnd(Conversation, TestCase):
    """Not our relay but somebody else's: SRTP between the two, phones without it on both sides."""

    @inlineCallbacks
    def encrypted(self, suite: bytes) -> Any:
        with given_back():
            daemon = Rtpengine(Path(tempfile.mkdtemp(prefix="rtpengine-")))
            self.addCleanup(daemon.stop)
            yield self.begin(srtp_clients="sdes")
            a, b = self.phone(A), self.phone(B)
            offered = yield self.offer(a)
            lines = offered.split(b"\r\n")
            kept = [line for line in lines if not line.startswith(b"a=crypto:") or suite in line.split()]
            b.learn(daemon.ask("offer", b"\r\n".join(kept), "RTP/AVP"))
            answer = daemon.ask("answer", b.describe(), "RTP/SAVP")
            self.assertIn(suite, answer)
            a.learn((yield self.calls.answer("leg", answer, source=daemon.host, from_="b")))
            yield self.talk(a, b)
            yield self.hears(b, a.say())
            yield self.hears(a, b.say())

    def make(self, settings: MediaSettings) -> Engine:
        return InlineEngine(settings, reactor)

    def test_aes_gcm_256(self) -> Any:
        return self.encrypted(b"AEAD_AES_256_GCM")

    def test_aes_gcm_128(self) -> Any:
        return self.encrypted(b"AEAD_AES_128_GCM")

    def test_aes_cm_80(self) -> Any:
        return self.encrypted(b"AES_CM_128_HMAC_SHA1_80")

    def test_aes_cm_32(self) -> Any:
        return self.encrypted(b"AES_CM_128_HMAC_SHA1_32")


class Two(Daemons, TestCase):
    """Two of them."""

    count = 2

    @inlineCallbacks
    def test_calls_are_shared_and_one_may_die(self) -> Any:
        yield self.begin()
        pairs = {key: (self.phone(A), self.phone(B)) for key in "abcd"}
        for key, pair in pairs.items():
            yield self.call(*pair, key=key)
        engine: Any = self.engine
        self.assertEqual([each.legs for each in engine.daemons], [2, 2])
        victim, survivor = engine.daemons
        self.daemons[0].kill()
        at_survivor = [key for key in pairs if engine._legs[key].daemon is survivor]
        for key in at_survivor:
            yield self.talk(*pairs[key])
        yield self.call(self.phone(A), self.phone(B), key="new")
        self.assertIs(engine._legs["new"].daemon, survivor)
        yield self.until(lambda: len(self.faults) >= 2, "the calls of the dead one are given up")
        self.assertEqual({key for key, _ in self.faults}, set(pairs) - set(at_survivor))
        self.assertFalse(victim.alive)


@pytest.mark.parametrize("keys", ["srtp-mand"])
def test_a_phone_calls_through_the_sbc_with_rtpengine(kamailio, sbc, baresip, rtpengine, keys):
    upper, relay = kamailio(), rtpengine()
    media = {"relay": "always", "engine": "rtpengine", "rtpengine": [relay.name], "srtp_upper": "off"}
    border = sbc(upper, sections={"media": media})
    bob = baresip("bob", border.address, parameters=(f"mediaenc={keys}",))
    alice = baresip("alice", f"{upper.host}:{upper.port}", answer=True)

    bob.call("sip:alice@example.test")
    bob.wait("CALL_ESTABLISHED")
    talk(alice, bob)
    bob.hang_up()
    alice.wait("CALL_CLOSED")
    talked(alice, bob)
    [media_event] = border.wait_rows("select detail from call_events where kind = 'media'")
    assert "from the caller 0 packets" not in media_event["detail"]
