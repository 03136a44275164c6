"""Whatever arrives, nothing is raised and nothing breaks: real messages, mutated, through the whole of the SIP side."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

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
SEEDS = (
    message(b"INVITE sip:bob@example.com SIP/2.0", b"INVITE", CONTACT, SDP, body=BODY),
    message(b"REGISTER sip:example.com SIP/2.0", b"REGISTER", CONTACT, b"X-MPUSH: i:com.example.phone:" + b"ab" * 32,
            b"X-PIID: " + b"0f" * 16),
    message(b"REGISTER sip:example.com SIP/2.0", b"REGISTER", b"Contact: *", b"Expires: 0"),
    message(b"MESSAGE sip:bob@example.com SIP/2.0", b"MESSAGE", b"Content-Type: text/plain", body=b"hello"),
    message(b"BYE sip:abcdefghijklmnop@192.0.2.1 SIP/2.0", b"BYE", tag=b";tag=b"),
    message(b"ACK sip:abcdefghijklmnop@192.0.2.1 SIP/2.0", b"ACK", tag=b";tag=b", body=BODY),
    message(b"CANCEL sip:bob@example.com SIP/2.0", b"CANCEL"),
    message(b"SUBSCRIBE sip:bob@example.com SIP/2.0", b"SUBSCRIBE", CONTACT, b"Event: presence"),
    message(b"OPTIONS sip:192.0.2.1 SIP/2.0", b"OPTIONS"),
)  # fmt: skip
ANSWERS = (b"100 Trying", b"180 Ringing", b"183 Progress", b"200 OK", b"302 Moved", b"401 No", b"486 Busy", b"603 No")
PIECES = st.sampled_from(
    (b"\r\n", b"\r\n ", b";", b",", b"<", b">", b'"', b"\\", b"\x00", b"\xff\xfe", b"%", b"%00", b"sip:", b"[::1]",
     b"*", b"9" * 30, b"-1", b" ", b"tag=", b"Via: x", b"Contact: *\r\n", b"m=audio 0\r\n",
     b"application/sdp", b"z9hG4bK")
)  # fmt: skip


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

    def __init__(self, state: str) -> None:
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
        self.logged: list[Any] = []

    def arrive(self, data: bytes, flow: Wire) -> None:
        self.node.border.received(data, flow)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(str(tmp_path_factory.mktemp("state")))

    def look(event: Any) -> None:
        if event.get("log_failure") is not None:
            made.logged.append(event["log_failure"])

    globalLogPublisher.addObserver(look)
    yield made
    globalLogPublisher.removeObserver(look)


@st.composite
def mutations(draw):
    """Up to six cuts, insertions and repetitions, as (kind, place in 1/1000, length, piece)."""
    kinds = st.sampled_from(("cut", "insert", "repeat", "flip"))
    return draw(st.lists(st.tuples(kinds, st.integers(0, 999), st.integers(1, 40), PIECES), max_size=6))


def mutated(data: bytes, changes: Any) -> bytes:
    for kind, place, length, piece in changes:
        at = len(data) * place // 1000
        if kind == "cut":
            data = data[:at] + data[at + length :]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "repeat":
            data = data[:at] + data[at : at + length] * 3 + data[at + length :]
        elif data:
            data = data[:at] + bytes([data[at % len(data)] ^ (1 << length % 8)]) + data[at + 1 :]
    return data


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


def test_an_ack_that_cannot_be_passed_on_is_dropped(world):
    world.arrive(SEEDS[0].replace(b"c1@h", b"ack@h").replace(b"z9hG4bK1", b"z9hG4bKack"), world.phone)
    world.arrive(answer_to(world.upper.out[-1], b"200 OK"), world.upper)
    ack = message(b"ACK sip:bob@192.0.2.1 SIP/2.0", b"ACK", tag=b";tag=b").replace(b"c1@h", b"ack@h")
    sent = len(world.upper.out)
    world.arrive(ack.replace(b"Max-Forwards: 70", b"Max-Forwards: many"), world.phone)
    assert len(world.upper.out) == sent
    assert not world.logged
    world.arrive(ack, world.phone)
    assert world.upper.out[-1].startswith(b"ACK sip:bob@192.0.2.77 ")


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(SEEDS), mutations(), st.sampled_from(ANSWERS), mutations()), min_size=1, max_size=4
    )
)
def test_nothing_that_arrives_is_raised_or_logged_as_a_bug(world, conversation):
    for request, changes, status, more_changes in conversation:
        world.arrive(mutated(request, changes), world.phone)
        for sent in world.upper.out[-3:]:
            if not sent.startswith(b"SIP/2.0"):
                world.arrive(mutated(answer_to(sent, status), more_changes), world.upper)
        world.upper.out.clear()
        world.phone.out.clear()
        world.clock.advance(0.05)
        world.node.driver.tick()

    assert world.node.metrics.refused.values.get(("bug",), 0) == 0, world.logged[-1:]
    assert not world.logged, world.logged[-1].getTraceback()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_noise_is_dropped(world, noise):
    world.arrive(noise, world.phone)
    assert world.node.metrics.refused.values.get(("bug",), 0) == 0, world.logged[-1:]
