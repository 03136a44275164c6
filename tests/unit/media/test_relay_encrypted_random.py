"""Broken descriptions and packets on lines whose protection ends at the relay: refused or dropped, never fatal."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sbc.media import stun
from sbc.sip.errors import RemoteError
from tests.unit.media.crypt_phones import Browser, SdesPhone
from tests.unit.media.relay_world import Phone, World, world

KINDS = (Phone, SdesPhone, Browser)
FILL = (b"", b"x", b"0", b"=", b":", b"\r\n", b"a=setup:passive\r\n", b"a=mid:0\r\n", b"a=group:BUNDLE 0 0 9\r\n")
FIRST = st.sampled_from([0, 1, 20, 22, 25, 63, 128, 144, 191, 255])


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    made = []
    for kind in KINDS:
        phone = kind("127.0.0.3")
        made.append(phone.describe())
        phone.close()
    return made


def mangled(data: st.DataObject, body: bytes) -> bytes:
    """With some lines gone, doubled, exchanged, or with other bytes in them."""
    lines = body.split(b"\r\n")
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(1, len(lines) - 1))
        what = data.draw(st.sampled_from(["drop", "double", "move", "fill", "cut"]))
        if what == "drop" and len(lines) > 3:
            del lines[place]
        elif what == "double":
            lines.insert(place, lines[place])
        elif what == "move":
            lines.insert(data.draw(st.integers(1, len(lines) - 1)), lines[place])
        elif what == "fill":
            split = data.draw(st.integers(0, len(lines[place])))
            lines[place] = lines[place][:split] + data.draw(st.sampled_from(FILL)) + lines[place][split:]
        else:
            lines[place] = lines[place][: data.draw(st.integers(0, len(lines[place])))]
    return b"\r\n".join(lines)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_descriptions(bodies: list[bytes], data: st.DataObject) -> None:
    with world(srtp_clients=data.draw(st.sampled_from(["keep", "off", "sdes"]))) as relay:
        free = relay.core.free_pairs
        for _ in range(data.draw(st.integers(1, 3))):
            asking = data.draw(st.sampled_from(["a", "b"]))
            try:
                relay.offer(
                    mangled(data, data.draw(st.sampled_from(bodies))), asking, toward_web=data.draw(st.booleans())
                )
                answering = "b" if asking == "a" else "a"
                relay.answer(mangled(data, data.draw(st.sampled_from(bodies))), answering)
            except RemoteError as problem:
                assert problem.status in (400, 488)
        relay.core.sweep()
        relay.calls.close("leg")
        assert relay.engine.streams == 0
        assert relay.core.free_pairs <= free
        assert not len(relay.engine.forwarder)


@pytest.fixture(scope="module")
def call() -> object:
    """A browser has called a phone with keys in its description."""
    with world(srtp_clients="sdes") as relay:
        a, b = Browser("127.0.0.3"), SdesPhone("127.0.0.4")
        relay.phones += [a, b]
        b.learn(relay.offer(a.describe()))
        a.learn(relay.answer(b.describe()))
        a.connect(relay)
        yield relay


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FIRST, st.binary(max_size=300))
def test_packets(call: World, first: int, rest: bytes) -> None:
    packet = bytes((first,)) + rest
    a, b = call.phones
    spoken = 0
    for each in call.core._legs["leg"].negotiation.crossings[0].components():
        for source in (a.address, b.address, ("127.0.0.9", 9)):
            each.receive(packet, source, 1.0)
            each.receive(b"", source, 1.0)
            spoken += 1
    assert spoken == 12


def test_the_call_goes_on_after_all_that(call: World) -> None:
    a, b = call.phones
    a.heard(), b.heard()
    spoken, replied = a.say(), b.say()
    call.turn()
    assert (b.heard(), a.heard()) == ([spoken], [replied])
    assert isinstance(a, Browser)
    assert all(answer.kind in (stun.BINDING_SUCCESS, stun.BINDING_ERROR) for answer in a.answers)
