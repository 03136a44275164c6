"""A phone behind a real NAT: three machines and a router as network namespaces, masquerading by iptables."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.kernel.nat import INSIDE, Nat
from tests.kernel.wires import PHONE, RELAY
from tests.unit.media.relay_world import Phone, World, result

OUTSIDE = PHONE["a"][4]  # of the router: what the relay sees
BACK, TOWARD = RELAY["a"][4].encode(), RELAY["b"][4].encode()


@pytest.fixture
def nat() -> Iterator[Nat]:
    made = Nat()
    try:
        yield made
    finally:
        made.close()


class Call:
    """Between the phone behind NAT and one without, through a relay between their networks."""

    def __init__(self, nat: Nat) -> None:
        self.nat = nat
        with nat.inside("n"):
            self.a = Phone(INSIDE)
        with nat.inside("b"):
            self.b = Phone(PHONE["b"][4])
        with nat.inside("r"):
            self.relay = World()
        self.relay.phones += [self.a, self.b]
        self.signal()

    def signal(self) -> None:
        """Offer and answer; the phone's description says where it thinks that it is."""
        with self.nat.inside("r"):
            offered = self.relay.offer(self.a.describe(), source=OUTSIDE, toward=TOWARD, back=BACK)
            answered = self.relay.answer(self.b.describe(), source=self.b.host)
        self.b.learn(offered)
        self.a.learn(answered)

    def turn(self) -> None:
        with self.nat.inside("r"):
            self.relay.turn()

    def arrives(self, sender: Phone, receiver: Phone) -> bool:
        """Whether what one says is heard by the other, unchanged, in fifty attempts."""
        said = set()
        for _ in range(50):
            said.add(sender.say())
            time.sleep(0.01)
            self.turn()
            time.sleep(0.01)
            if set(receiver.heard()) & said:
                return True
        return False


def test_both_hear_each_other_through_the_nat(nat: Nat) -> None:
    call = Call(nat)
    assert not call.arrives(call.b, call.a), "nobody knows yet where the phone is"
    assert call.arrives(call.a, call.b)
    assert call.arrives(call.b, call.a)
    [channel] = call.relay.core._legs["leg"].channels.values()
    source = channel.rtp["a"].source
    assert source is not None
    assert source[0] == OUTSIDE
    assert source[1] != call.a.address[1], "the router chose another port"
    statistics = result(call.relay.calls.close("leg"))
    assert statistics.streams[0].from_a.foreign == 0
    call.relay.close()


def test_a_new_mapping_is_followed_once_the_phone_says_something(nat: Nat) -> None:
    call = Call(nat)
    assert call.arrives(call.a, call.b)
    before = call.a.rtp
    with nat.inside("n"):
        moved = Phone(INSIDE)  # another port inside is another mapping outside
    call.relay.phones.append(moved)
    call.a.rtp = moved.rtp
    assert not call.arrives(call.a, call.b), "it could be anybody behind that router"
    call.signal()
    assert call.arrives(call.a, call.b)
    assert call.arrives(call.b, call.a)
    before.close()
    call.relay.close()
