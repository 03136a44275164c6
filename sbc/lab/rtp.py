"""A tiny RTP party: sends 50 packets of silence a second, each saying whose they are, and counts what it hears.

In: where to talk to, packets. Out: packets, counts, the body of an SDP offer or answer. RFC 3550 section 5.1, RFC 8866.
"""

from __future__ import annotations

import secrets
import struct
from collections import Counter

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall

from sbc.lab.loop import DatagramPort, Reactor, close

INTERVAL = 0.02  # s of sound in a packet
SAMPLES = 160  # of PCMU in it, a byte each
MARK = b"lab:"  # what our payloads begin with, then the label and a zero byte
MAX_PACKET = 2048  # bytes; larger ones are cut
HEADER = struct.Struct("!BBHII")


class RtpStream(DatagramProtocol):
    """One end of a stream. `label` is put into every packet sent; `heard` counts the labels of those received.

    `sources` are the addresses that packets came from, `lost` counts gaps in their sequence numbers, `strange` what
    was no RTP of a laboratory party.
    """

    noisy = False

    def __init__(self, reactor: Reactor, host: str, label: str) -> None:
        self.host, self.port = host, 0
        self.label = label
        self.sent = self.received = self.lost = self.strange = 0
        self.heard: Counter[str] = Counter()
        self.sources: set[tuple[str, int]] = set()
        self.first_at: float | None = None
        self.last_at: float | None = None
        self._reactor = reactor
        self._port: DatagramPort | None = None
        self._target: tuple[str, int] | None = None
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(15)
        self._expected: dict[int, int] = {}
        self._payload = (MARK + label.encode() + b"\x00").ljust(SAMPLES, b"\xff")
        self._clock = LoopingCall(self._send)
        self._clock.clock = reactor  # type: ignore[assignment]

    def open(self) -> None:
        """Bind a free port."""
        self._port = self._reactor.listenUDP(0, self, interface=self.host, maxPacketSize=MAX_PACKET)
        assert self._port is not None
        self.port = self._port.getHost().port

    def close(self) -> Deferred[None]:
        """Stop talking and listening; the counts stay."""
        self.hush()
        port, self._port = self._port, None
        return close(port)

    def talk(self, host: str, port: int) -> None:
        """Send to there from now on."""
        self._target = (host, port)
        if self._port is not None and not self._clock.running:
            self._clock.start(INTERVAL)

    def hush(self) -> None:
        """Send no more."""
        if self._clock.running:
            self._clock.stop()

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Count it."""
        if len(datagram) < HEADER.size or datagram[0] >> 6 != 2:
            self.strange += 1
            return
        _, _, sequence, _, ssrc = HEADER.unpack_from(datagram)
        mark, _, rest = datagram[HEADER.size :].partition(MARK)
        if mark or not rest:
            self.strange += 1
            return
        self.received += 1
        self.heard[rest.partition(b"\x00")[0].decode("utf-8", "replace")] += 1
        self.sources.add((addr[0], addr[1]))
        self.last_at = self._reactor.seconds()
        if self.first_at is None:
            self.first_at = self.last_at
        gap = (sequence - self._expected.get(ssrc, sequence)) & 0xFFFF
        if gap < 0x8000:
            self.lost += gap
            self._expected[ssrc] = (sequence + 1) & 0xFFFF

    def _send(self) -> None:
        if self._port is None or self._target is None:
            return
        stamp = (self.sent * SAMPLES) & 0xFFFFFFFF
        header = HEADER.pack(0x80, 0 if self.sent else 0x80, self._sequence, stamp, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._port.write(header + self._payload, self._target)
        self.sent += 1

    def sdp(self) -> bytes:
        """An offer or answer of one PCMU stream at this port."""
        family = "IP6" if ":" in self.host else "IP4"
        lines = [
            "v=0",
            f"o=lab {self._ssrc} 1 IN {family} {self.host}",
            "s=-",
            f"c=IN {family} {self.host}",
            "t=0 0",
            f"m=audio {self.port} RTP/AVP 0 101",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=ptime:20",
            "a=sendrecv",
        ]
        return "".join(f"{line}\r\n" for line in lines).encode()


def media_address(sdp: bytes) -> tuple[str, int] | None:
    """Address and port of the first audio stream, None when there is none or it is refused (port 0)."""
    session = own = ""
    port = 0
    for line in sdp.decode("utf-8", "replace").splitlines():
        if line.startswith("c=") and len(line.split()) == 3:
            address = line.split()[2].partition("/")[0]
            if port:
                own = own or address
            else:
                session = address
        elif line.startswith("m="):
            if port:
                break
            words = line[2:].split()
            if words[0] == "audio" and len(words) > 1 and words[1].isdecimal():
                port = int(words[1])
    host = own or session
    return (host, port) if host and port else None
