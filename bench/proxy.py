"""Microseconds of CPU that one call costs inside the SBC: bytes in to bytes out, no sockets, no database, no relay.

A phone calls through to an upper server: INVITE 100 180 200 ACK BYE 200, six messages in, seven out. Run it with
`python -m bench.proxy [calls] [--profile]`.
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from bench.samples import INVITE, OK
from sbc.assembly import Sbc
from sbc.sections import SECTIONS
from sbc.settings import load
from sbc.transport.flow import Flow, Listener

CONFIGURATION = """
[node]
state = "{state}"
[[listen]]
uri = "udp:192.0.2.1:5060"
[[upper]]
name = "pbx"
uri = "sip:192.0.2.10:5060"
domain = "example.com"
[media]
relay = "never"
[security]
source_rate = 0
[database]
url = "sqlite:///{state}/sbc.db"
"""

RINGING = OK.replace(b"200 OK", b"180 Ringing")


class Wire(Flow):
    """A flow that keeps what was sent on it."""

    def __init__(self, listener: Listener, peer: tuple[str, int]) -> None:
        super().__init__(listener, peer)
        self.out: list[bytes] = []

    @property
    def token(self) -> str:
        return f"udp/0/{self.peer[0]}:{self.peer[1]}"

    def send(self, data: bytes) -> None:
        self.out.append(data)


def header(message: bytes, name: bytes) -> bytes:
    at = message.index(b"\r\n" + name + b":") + len(name) + 3
    return message[at : message.index(b"\r\n", at)].strip()


def value_of(sample: bytes, name: bytes) -> bytes:
    return header(sample, name)


class World:
    """The SBC between two wires."""

    def __init__(self) -> None:
        state = tempfile.mkdtemp(prefix="sbc-bench-")
        configuration = load(CONFIGURATION.format(state=state), SECTIONS, path="bench")
        clock: Any = Clock()
        clock.callFromThread = lambda call, *args: call(*args)
        self.node = Sbc(clock, configuration, lambda: configuration)
        self.node.serving = True
        listener = Listener(0, b"UDP", "192.0.2.1", 5060)
        self.phone = Wire(listener, ("198.51.100.10", 5060))
        self.upper = Wire(listener, ("192.0.2.10", 5060))
        self.node.ways.flow = lambda server: succeed(self.upper)  # type: ignore[method-assign]
        self.node._ours = frozenset((b"192.0.2.1",))
        self.node.lasting.write = lambda operation: None  # type: ignore[method-assign]
        self.calls = 0

    def call(self) -> None:
        """One call from the phone to the upper server."""
        self.calls += 1
        number = b"%d" % self.calls
        phone, upper, received = self.phone.out, self.upper.out, self.node.border.received
        phone.clear()
        upper.clear()
        invite = INVITE.replace(b"5f1c0e6a7b2d4938", b"call" + number).replace(b"0a9c2b44e1", b"inv" + number)
        invite = invite.replace(b"sip:+442079460123@sbc.example.com:5060", b"sip:+442079460123@example.com", 1)
        received(invite, self.phone)
        sent = upper[0]
        for status in (b"180 Ringing", b"200 OK"):
            answer = b"\r\n".join(
                (
                    b"SIP/2.0 " + status,
                    b"Via: " + header(sent, b"Via"),
                    b"From: " + header(sent, b"From"),
                    b"To: " + header(sent, b"To") + b";tag=callee",
                    b"Call-ID: " + header(sent, b"Call-ID"),
                    b"CSeq: " + header(sent, b"CSeq"),
                    b"Record-Route: <sip:192.0.2.10;lr>",
                    b"Contact: <sip:callee@192.0.2.77:5060>",
                    b"Content-Length: 0\r\n\r\n",
                )
            )
            received(answer, self.upper)
        contact = header(phone[-1], b"Contact").strip(b"<>")
        to = header(phone[-1], b"To")
        inside = invite.replace(header(invite, b"To"), to, 1)
        first = inside[: inside.index(b"\r\n")]
        ack = inside.replace(first, b"ACK " + contact + b" SIP/2.0").replace(b"27182 INVITE", b"27182 ACK")
        received(ack.replace(b"inv" + number, b"ack" + number), self.phone)
        bye = inside.replace(first, b"BYE " + contact + b" SIP/2.0").replace(b"27182 INVITE", b"27183 BYE")
        received(bye.replace(b"inv" + number, b"bye" + number), self.phone)
        sent = upper[-1]
        received(
            b"\r\n".join(
                (
                    b"SIP/2.0 200 OK",
                    b"Via: " + header(sent, b"Via"),
                    b"From: " + header(sent, b"From"),
                    b"To: " + header(sent, b"To"),
                    b"Call-ID: " + header(sent, b"Call-ID"),
                    b"CSeq: " + header(sent, b"CSeq"),
                    b"Content-Length: 0\r\n\r\n",
                )
            ),
            self.upper,
        )
        if len(phone) != 4 or len(upper) != 3 or not phone[-1].startswith(b"SIP/2.0 200"):
            raise AssertionError(f"not a call: {[each[:30] for each in phone]} {[each[:30] for each in upper]}")
        if self.calls % 200 == 0:
            self.node.call_log._ended.clear()
            self.node.call_log._events.clear()
            self.node.call_log._buffered = 0
            self.node.lasting.settle()


def measure(what: str, work: Callable[[], None]) -> None:
    """Print what one piece of work costs: the least of five rounds, or its profile with `--profile`."""
    counts = [int(word) for word in sys.argv[1:] if word.isdigit()]
    count = counts[0] if counts else 2000
    for _ in range(200):
        work()
    gc.collect()
    gc.freeze()
    gc.disable()
    if "--profile" in sys.argv:
        profile = cProfile.Profile()
        profile.enable()
        for _ in range(count):
            work()
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(60)
        return
    rounds = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(count // 5):
            work()
        rounds.append((time.process_time() - start) / (count // 5) * 1e6)
    print(f"{what}: {min(rounds):.0f} us CPU (median {sorted(rounds)[2]:.0f})")


def main() -> None:
    measure("one call, 6 messages in and 7 out", World().call)


if __name__ == "__main__":
    main()
