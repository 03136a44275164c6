"""Encrypted calls outlive the media process that has their keys."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase

from sbc.media.dtls import Keys
from sbc.media.engine import Engine
from sbc.media.ice import Credentials
from sbc.media.process import ProcessEngine
from sbc.media.rtp import HEADER
from sbc.media.sdes import CM_80, GCM_128, Crypto
from sbc.media.settings import MediaSettings
from sbc.media.snapshot import ENCRYPTED
from tests.long.engine_contract import A, B, Conversation
from tests.unit.media.crypt_phones import Browser, DtlsPhone, SdesPhone
from tests.unit.media.relay_world import Phone


class Survival(Conversation, TestCase):
    """`a` encrypts, `b` does not; what is between is killed."""

    def make(self, settings: MediaSettings) -> Engine:
        self.state = Path(tempfile.mkdtemp(prefix="media-state-", dir=os.environ.get("TMPDIR")))
        return ProcessEngine(settings, reactor, self.state, "python")

    @inlineCallbacks
    def killed(self, *, keeper: bool = False) -> Any:
        """The media process dies (with what would begin the next one at once)."""
        engine: Any = self.engine
        yield self.until(lambda: engine._legs.kept("leg"), "the leg is remembered")
        before = engine.pid
        if keeper:
            engine._child.kill()
        else:
            os.kill(before, signal.SIGKILL)
        yield self.until(lambda: engine.pid not in (0, before), "there is another one")
        yield self.calls.restore("no leg", "")  # is answered after those that there are

    def plain(self) -> Phone:
        return self.phone(B)

    def encrypting(self, phone: Any) -> Any:
        self.phones.append(phone)
        return phone

    @inlineCallbacks
    def sdes_call(self, **more: Any) -> Any:
        yield self.begin(srtp_clients="off")
        a, b = self.encrypting(SdesPhone(A, **more)), self.plain()
        yield self.call(a, b)
        return a, b

    @inlineCallbacks
    def handshake(self, phone: Browser) -> Any:
        assert phone.dtls is not None

        def round_() -> bool:
            assert phone.dtls is not None
            phone._send(phone.dtls.begin() or phone.dtls.timeout())
            phone.take()
            return phone.opener is not None

        yield self.until(round_, "keys are agreed on")

    @inlineCallbacks
    def dtls_call(self, phone: Browser, *, checks: bool = False, **offer: Any) -> Any:
        b = self.plain()
        b.learn((yield self.offer(phone, **offer)))
        phone.learn((yield self.answer(b)))
        if checks:
            phone.check()
        yield self.handshake(phone)
        yield self.talk(phone, b)
        return b

    # It goes on

    @inlineCallbacks
    def test_with_keys_from_the_description(self) -> Any:
        a, b = yield self.sdes_call(suite=CM_80)
        far = a.far, b.far
        yield self.killed()
        yield self.talk(a, b)
        self.assertEqual((a.far, b.far), far)
        self.assertEqual(self.faults, [])
        self.assertEqual(self.calls.snapshot("leg"), ENCRYPTED, "what goes to a disk has no keys")

    @inlineCallbacks
    def test_after_a_handshake_in_either_role(self) -> Any:
        yield self.begin(srtp_clients="off")
        for role in (b"active", b"passive"):
            phone = self.encrypting(DtlsPhone(A, role))
            b = yield self.dtls_call(phone)
            yield self.killed()
            yield self.talk(phone, b)
            yield self.calls.close("leg")
        self.assertEqual(self.faults, [])

    @inlineCallbacks
    def test_with_a_browser_and_the_certificate_stays(self) -> Any:
        yield self.begin()
        browser = self.encrypting(Browser(A))
        b = yield self.dtls_call(browser, checks=True)
        far, fingerprints = browser.far, browser.said.fingerprints
        yield self.killed(keeper=True)
        yield self.talk(browser, b)
        b.learn((yield self.offer(browser)))
        browser.learn((yield self.answer(b)))
        self.assertEqual((browser.far, browser.said.fingerprints), (far, fingerprints))
        yield self.talk(browser, b)
        browser.check()
        yield self.until(lambda: browser.take() or len(browser.answers) > 1, "checks are answered")
        self.assertEqual(self.faults, [])

    @inlineCallbacks
    def test_after_the_sequence_numbers_began_anew_twice(self) -> Any:
        a, b = yield self.sdes_call(suite=GCM_128)
        for sequence in range(30_000, 150_000, 30_000):
            a._sequence = b._sequence = sequence
            yield self.talk(a, b)
        yield self.killed()
        yield self.talk(a, b)
        yield self.killed()
        yield self.talk(a, b)
        self.assertEqual(a.bad, 0)

    @inlineCallbacks
    def test_an_offer_again_leaves_the_keys(self) -> Any:
        a, b = yield self.sdes_call()
        key = a.opener.key
        yield self.killed()
        yield self.call(a, b)
        self.assertEqual(a.opener.key, key)

    @inlineCallbacks
    def test_a_call_that_rings_is_answered_with_the_keys_that_were_offered(self) -> Any:
        yield self.begin(srtp_clients="sdes")
        a, b = self.phone(A), self.encrypting(SdesPhone(B))
        b.learn((yield self.offer(a)))
        key = b.opener.key
        yield self.killed()
        a.learn((yield self.answer(b)))
        yield self.talk(a, b)
        self.assertEqual(b.opener.key, key)

    # Nothing is given away

    @inlineCallbacks
    def test_packets_of_before_are_neither_believed_nor_sealed_anew(self) -> Any:
        a, b = yield self.sdes_call()
        a._sequence = b._sequence = 65_500
        sealed, clear = [], []
        for _ in range(90):
            packet = a.packet()
            sealed.append(a.sealer.rtp(packet))
            a.rtp.sendto(sealed[-1], a.far)
            clear.append(b.say())
        heard: list[bytes] = []
        yield self.until(lambda: heard.extend(a.heard()) or clear[-1] in heard, "all are there")
        yield self.until(lambda: packet in b.heard(), "in both directions")
        yield self.killed()
        for each in sealed:
            a.rtp.sendto(each, a.far)
        for each in clear:
            head = HEADER.unpack_from(each)
            b.rtp.sendto(HEADER.pack(*head) + b"another content", b.far)
        last, reply = a.say(), b.say()
        yield self.hears(b, last)
        yield self.hears(a, reply)

    @inlineCallbacks
    def test_reports_go_on_under_indexes_of_their_own(self) -> Any:
        a, b = yield self.sdes_call()
        told: list[bytes] = []

        def reported() -> int:
            b.report()
            told.extend(Phone.heard(a, a.rtcp))
            return len(told)

        yield self.until(lambda: reported() > 2, "reports arrive")
        yield self.killed()
        yield self.until(lambda: reported() > 5, "more arrive")
        indexes = [each[-4:] for each in told]
        self.assertEqual(len(set(indexes)), len(indexes))

    def test_keys_are_in_no_repr(self) -> None:
        for each in (Keys(GCM_128, b"secret", b"secret"), Crypto(1, GCM_128, b"secret"), Credentials(b"u", b"secret")):
            self.assertNotIn("secret", repr(each))
