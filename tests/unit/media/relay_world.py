"""Two phones on loopback and a relay between them, on real sockets, without a reactor."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sbc.media.calls import MediaCalls
from sbc.media.engine import Fault
from sbc.media.inline import InlineEngine
from sbc.media.rtp import HEADER
from sbc.media.sdp import parse
from sbc.media.settings import MediaSettings
from sbc.settings import Ports

#: What the parties are shown: the relay binds there. It is an address of this process's own: others run such tests with
#: the same ports at the same time, and packets to a port that was closed would come to them.
RELAY = b"127.%d.%d.2" % (100 + os.getpid() // 250 % 100, os.getpid() % 250)
PORTS = Ports(20000, 29999)


def result(deferred: Deferred[Any]) -> Any:
    """What a Deferred that has fired gives, or raises."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert found, "the Deferred has not fired"
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


class Phone:
    """A party with an RTP and an RTCP socket."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.rtp, self.rtcp = self._pair()
        self.far: tuple[str, int] = ("", 0)
        self._sequence = 0

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        for even in range(30000, 40000, 2):
            pair = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
            try:
                for sock, port in zip(pair, (even, even + 1), strict=True):
                    sock.bind((self.host, port))
                    sock.setblocking(False)
            except OSError:
                for sock in pair:
                    sock.close()
            else:
                return pair
        raise AssertionError("no port free")

    @property
    def address(self) -> tuple[str, int]:
        return self.rtp.getsockname()[:2]

    def describe(self, *more: bytes, host: str = "", port: int | None = None) -> bytes:
        """An SDP body; `host` and `port` in place of the true ones."""
        shown = (host or self.host).encode()
        family = b"IP6" if b":" in shown else b"IP4"
        port = self.address[1] if port is None else port
        lines = [b"v=0", b"o=- 1 1 IN %s %s" % (family, shown), b"s=-", b"c=IN %s %s" % (family, shown), b"t=0 0"]
        return b"\r\n".join([*lines, b"m=audio %d RTP/AVP 0 101" % port, b"a=rtpmap:0 PCMU/8000", *more, b""])

    def learn(self, body: bytes) -> None:
        """Send to what the description says from now on."""
        place = parse(body).rtp_place(parse(body).media[0])
        assert place is not None
        self.far = (place.host, place.port)

    def packet(self, payload: bytes = b"x" * 160) -> bytes:
        """The next RTP packet."""
        self._sequence += 1
        return HEADER.pack(0x80, 0, self._sequence & 0xFFFF, self._sequence * 160 & 0xFFFFFFFF, 0x1234) + payload

    def say(self, payload: bytes = b"x" * 160, sock: socket.socket | None = None) -> bytes:
        """Send one packet; returns it."""
        packet = self.packet(payload)
        (sock or self.rtp).sendto(packet, self.far)
        return packet

    def report(self) -> bytes:
        """Send an RTCP receiver report; returns it."""
        report = b"\x81\xc9\x00\x07" + b"\x00\x00\x12\x34" * 7
        self.rtcp.sendto(report, (self.far[0], self.far[1] + 1))
        return report

    def heard(self, sock: socket.socket | None = None) -> list[bytes]:
        """All packets that arrived."""
        packets = []
        while True:
            try:
                packets.append((sock or self.rtp).recv(65535))
            except BlockingIOError:
                return packets

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


class World:
    """A relay with a clock of its own, and phones."""

    def __init__(self, ports: Ports = PORTS, **more: Any) -> None:
        settings = MediaSettings(ports=ports, **more)
        self.clock = Clock()
        self.engine = InlineEngine(settings, self.clock, Random(7))
        self.core = self.engine.relay
        self.calls = MediaCalls(settings, self.engine)
        self.silences: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.calls.on_fault = self._fault
        self.phones: list[Phone] = []

    def _fault(self, key: str, fault: Fault) -> None:
        self.faults.append(fault)
        self.silences.append((key, fault.text))

    def phone(self, host: str) -> Phone:
        self.phones.append(Phone(host))
        return self.phones[-1]

    def offer(
        self, body: bytes, from_: str = "a", *, source: str = "127.0.0.3", key: str = "leg", **more: Any
    ) -> bytes:
        addresses = {"toward": RELAY, "back": RELAY}
        return result(self.calls.offer(key, body, source=source, from_=from_, **{**addresses, **more}))

    def answer(
        self, body: bytes, from_: str = "b", *, source: str = "127.0.0.4", key: str = "leg", **more: Any
    ) -> bytes:
        return result(self.calls.answer(key, body, source=source, from_=from_, **more))

    def call(self, a: Phone, b: Phone, key: str = "leg") -> None:
        """Offer and answer; both phones know where to send."""
        b.learn(self.offer(a.describe(), source=a.host, key=key))
        a.learn(self.answer(b.describe(), source=b.host, key=key))

    def turn(self) -> None:
        """Forward everything that waits."""
        while self.engine.forwarder.turn(0.005):
            pass

    def close(self) -> None:
        self.engine.stop()
        for phone in self.phones:
            phone.close()


@contextmanager
def world(**options: Any) -> Iterator[World]:
    made = World(**options)
    try:
        yield made
    finally:
        made.close()


def both_ways(relay: World, a: Phone, b: Phone) -> None:
    """Each hears what the other says, three times."""
    for _ in range(3):
        spoken, replied = a.say(), b.say()
        relay.turn()
        assert (b.heard(), a.heard()) == ([spoken], [replied])
