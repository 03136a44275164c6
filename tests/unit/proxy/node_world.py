"""An SBC between a phone and an upper server without sockets, threads or a database, and what both of them say."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock

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
[security]
source_rate = 0
ban = false
[media]
engine = "inline"
[database]
url = "sqlite:///{state}/sbc.db"
"""

BODY = b"v=0\r\no=- 1 1 IN IP4 198.51.100.10\r\ns=-\r\nc=IN IP4 198.51.100.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def message(start: bytes, method: bytes, *more: bytes, tag: bytes = b"", number: int = 1, body: bytes = b"") -> bytes:
    lines = [
        start,
        b"Via: SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bK%d%b;rport" % (number, method),
        b"Max-Forwards: 70",
        b'From: "Ada, \\"x\\"" <sip:ada@example.com>;tag=a1',
        b"To: <sip:bob@example.com>" + tag,
        b"Call-ID: c%d@h" % number,
        b"CSeq: %d %b" % (number, method),
        *more,
        b"Content-Length: %d" % len(body),
        b"",
        body,
    ]
    return b"\r\n".join(lines)


CONTACT = b'Contact: <sip:ada@198.51.100.10:5060;ob>;+sip.instance="<urn:uuid:1>";expires=60'
SDP = b"Content-Type: application/sdp"


class Wire(Flow):
    """A flow that keeps what was sent on it."""

    def __init__(self, peer: tuple[str, int]) -> None:
        super().__init__(Listener(0, b"UDP", "192.0.2.1", 5060), peer)
        self.out: list[bytes] = []

    @property
    def token(self) -> str:
        return f"udp/0/{self.peer[0]}:{self.peer[1]}"

    def send(self, data: bytes) -> None:
        self.out.append(data)


class World:
    """One SBC between a phone and an upper server, without sockets or threads."""

    def __init__(self, state: str, *, monotonic: bool = False) -> None:
        """`monotonic`: the dialogs' clock is the one that the test moves too."""
        self.clock: Any = Clock()
        self.clock.callFromThread = lambda call, *args: call(*args)
        configuration = load(CONFIGURATION.format(state=state), SECTIONS, path="test")
        self.node = Sbc(self.clock, configuration, lambda: configuration)
        self.node.serving = True
        self.node._ours = frozenset((b"192.0.2.1",))
        self.phone, self.upper = Wire(("198.51.100.10", 5060)), Wire(("192.0.2.10", 5060))
        self.node.ways.flow = lambda server: succeed(self.upper)  # type: ignore[method-assign]
        self.node.transports.udp_flow = lambda listener, peer: Wire(peer)  # type: ignore[method-assign]
        self.node.driver.clock = self.clock.seconds
        flows = {flow.token: flow for flow in (self.phone, self.upper)}
        self.node.transports.flow = flows.get  # type: ignore[method-assign]
        self.node.ways.flow_to = lambda uri, transport=None, guarded=False: succeed(self.upper)  # type: ignore[method-assign]
        self.node.lasting.write = lambda operation: None  # type: ignore[method-assign]
        if monotonic:
            self.node.lasting._clock = self.node.calls.terms._clock = self.clock.seconds
        self.logged: list[Any] = []

    def arrive(self, data: bytes, flow: Wire) -> None:
        self.node.border.received(data, flow)


def answer_to(request: bytes, status: bytes) -> bytes:
    kept = [
        line for line in request.split(b"\r\n") if line.split(b":")[0] in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
    ]
    kept = [line + b";tag=b" if line.startswith(b"To:") and b"tag=" not in line else line for line in kept]
    head = [
        b"SIP/2.0 " + status,
        *kept,
        b"Record-Route: <sip:192.0.2.10;lr>",
        b"Contact: <sip:bob@192.0.2.77>;expires=60",
    ]
    return b"\r\n".join([*head, SDP, b"Content-Length: %d" % len(BODY), b"", BODY])
