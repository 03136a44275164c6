"""Whatever arrives, nothing is raised and nothing breaks: real messages, mutated, through the whole of the SIP side."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher

from tests.unit.proxy.node_world import BODY, CONTACT, SDP, World, answer_to, message

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
