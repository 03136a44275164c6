"""Phones that encrypt: with keys in the description, and as browsers do. On real sockets, through the relay's eyes."""

from __future__ import annotations

import os

from sbc.media import protection, stun
from sbc.media.dtls import Association, Identity
from sbc.media.protection import Protection
from sbc.media.sdes import GCM_128, Crypto, Suite
from sbc.media.sdp import Session, parse
from sbc.media.srtp import Opener, Refused, Sealer
from tests.unit.media.relay_world import Phone, World


class SdesPhone(Phone):
    """Offers and expects one suite."""

    def __init__(self, host: str, suite: Suite = GCM_128) -> None:
        super().__init__(host)
        self.crypto = Crypto(7, suite, os.urandom(suite.size))
        self.opener: Opener | None = None
        self.sealer = Sealer(suite, self.crypto.key)
        self.bad = 0

    def describe(self, *more: bytes, **places: object) -> bytes:
        line = b"a=crypto:" + self.crypto.render()
        return super().describe(line, *more, **places).replace(b"RTP/AVP", b"RTP/SAVP")  # type: ignore[arg-type]

    def learn(self, body: bytes) -> None:
        super().learn(body)
        said = protection.read(parse(body), parse(body).media[0])
        assert said.mode == "sdes", body
        theirs = next(each for each in said.cryptos if each.suite == self.crypto.suite)
        self.crypto = Crypto(theirs.tag, self.crypto.suite, self.crypto.key)
        self.opener = Opener(theirs.suite, theirs.key)

    def say(self, payload: bytes = b"x" * 160, **_: object) -> bytes:
        packet = self.packet(payload)
        self.rtp.sendto(self.sealer.rtp(packet), self.far)
        return packet

    def heard(self, sock: object = None) -> list[bytes]:
        assert self.opener is not None
        clear = []
        for packet in super().heard():
            try:
                clear.append(self.opener.rtcp(packet) if 192 <= packet[1] <= 223 else self.opener.rtp(packet))
            except Refused:
                self.bad += 1
        return clear


class Browser(Phone):
    """A full ICE agent with DTLS, one port for everything. `setup` is what it says of its DTLS role."""

    mode = "web"

    def __init__(self, host: str, setup: bytes = b"actpass", *, ufrag: bytes = b"brow") -> None:
        super().__init__(host)
        self.identity = Identity()
        self.setup, self.ufrag, self.password = setup, ufrag, b"password-of-the-browser"
        self.said: Protection | None = None
        self.description: Session | None = None
        self.dtls: Association | None = None
        self.opener: Opener | None = None
        self.sealer: Sealer | None = None
        self.answers: list[stun.Message] = []
        self.clear: list[bytes] = []
        self.bad = 0

    def describe(self, *more: bytes, **_: object) -> bytes:
        """As Chromium writes it, shortened; without candidates, which trickle."""
        return b"\r\n".join(
            [
                b"v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0",
                b"a=extmap-allow-mixed\r\na=msid-semantic: WMS stream",
                b"m=audio 9 UDP/TLS/RTP/SAVPF 111 0 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0",
                b"a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=ice-options:trickle" % (self.ufrag, self.password),
                b"a=fingerprint:" + self.identity.fingerprint.render(),
                b"a=setup:%s\r\na=mid:0" % self.setup,
                b"a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
                b"a=sendrecv\r\na=msid:stream track\r\na=rtcp-mux\r\na=rtcp-rsize",
                b"a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=rtpmap:126 telephone-event/8000",
                b"a=ssrc:4660 cname:x",
                *more,
                b"",
            ]
        )

    def learn(self, body: bytes) -> None:
        super().learn(body)
        self.description = parse(body)
        self.said = said = protection.read(self.description, self.description.media[0])
        assert said.mode == self.mode, body
        active = said.setup == b"passive" or (said.setup == b"actpass" and self.setup == b"active")
        if self.dtls is None:
            self.dtls = Association(self.identity, said.fingerprints, active=active)

    def check(self, *, nominate: bool = True, password: bytes | None = None) -> bytes:
        """Send a connectivity check; returns it."""
        assert self.said is not None
        assert self.said.ice is not None
        ice = self.said.ice
        attributes = [(stun.USERNAME, ice.ufrag + b":" + self.ufrag), (stun.ICE_CONTROLLING, bytes(8))]
        attributes += [(stun.USE_CANDIDATE, b"")] if nominate else []
        packet = stun.request(os.urandom(12), attributes, password or ice.password)
        self.rtp.sendto(packet, self.far)
        return packet

    def take(self) -> None:
        """Deal with what arrived."""
        assert self.dtls is not None
        for data in super().heard():
            if data[0] < 4:
                message = stun.parse(data)
                assert message is not None
                self.answers.append(message)
            elif data[0] < 64:
                self._send(self.dtls.receive(data))
            elif self.opener is not None:
                try:
                    self.clear.append(self.opener.rtcp(data) if 192 <= data[1] <= 223 else self.opener.rtp(data))
                except Refused:
                    self.bad += 1
        if self.dtls.keys is not None and self.opener is None:
            keys = self.dtls.keys
            self.opener, self.sealer = Opener(keys.suite, keys.inbound), Sealer(keys.suite, keys.outbound)

    def _send(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            self.rtp.sendto(datagram, self.far)

    def connect(self, relay: World) -> None:
        """Checks and handshake."""
        assert self.dtls is not None
        self.check()
        relay.turn()
        self.take()
        self._send(self.dtls.begin())
        for _ in range(6):
            relay.turn()
            self.take()

    def say(self, payload: bytes = b"x" * 160, **_: object) -> bytes:
        assert self.sealer is not None
        packet = self.packet(payload)
        self.rtp.sendto(self.sealer.rtp(packet), self.far)
        return packet

    def report(self) -> bytes:
        assert self.sealer is not None
        report = b"\x81\xc9\x00\x07" + b"\x00\x00\x12\x34" * 7
        self.rtp.sendto(self.sealer.rtcp(report), self.far)
        return report

    def heard(self, sock: object = None) -> list[bytes]:
        self.take()
        clear, self.clear = self.clear, []
        return clear


class DtlsPhone(Browser):
    """A SIP phone with DTLS-SRTP and without ICE."""

    mode = "dtls"

    def describe(self, *more: bytes, **places: object) -> bytes:
        fingerprint = self.identity.fingerprint.render()
        lines = [b"a=setup:" + self.setup, b"a=fingerprint:" + fingerprint, *more]
        return Phone.describe(self, *lines, **places).replace(b"RTP/AVP", b"UDP/TLS/RTP/SAVPF")  # type: ignore[arg-type]

    def connect(self, relay: World) -> None:
        assert self.dtls is not None
        self._send(self.dtls.begin())
        for _ in range(6):
            relay.turn()
            self.take()
