"""Whatever the order of offers, answers, ends and passing time: ports add up and no packet reaches the wrong party."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sbc.media.sdp import parse
from sbc.settings import Ports
from sbc.sip.errors import RemoteError
from tests.unit.media.relay_world import RELAY, Phone, World

KEYS = st.sampled_from(["one", "two", "three"])
SIDES = st.sampled_from(["a", "b"])
LINES = st.lists(
    st.sampled_from(
        [b"m=video 4002 RTP/AVP 97", b"m=video 0 RTP/AVP 97", b"m=message 7 TCP/MSRP *", b"a=inactive", b"a=rtcp-mux",
         b"a=rtcp:4009", b"m=image 4004 udptl t38", b"c=IN IP4 0.0.0.0"]
    ),
    max_size=3,
)  # fmt: skip
HOSTS = st.sampled_from(["", "0.0.0.0", RELAY.decode(), "192.168.1.1", "127.0.66.66"])


class Calls(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(ports=Ports(20000, 20031))
        self.phones: dict[tuple[str, str], Phone] = {}
        self.stranger = self.world.phone("127.0.0.9")

    def phone(self, key: str, side: str) -> Phone:
        if (key, side) not in self.phones:
            self.phones[key, side] = self.world.phone("127.0.0.3" if side == "a" else "127.0.0.4")
        return self.phones[key, side]

    def learn(self, key: str, side: str, body: bytes) -> None:
        session = parse(body)
        place = session.rtp_place(session.media[0])
        if place is not None:
            self.phone(key, side).far = (place.host, place.port)

    @rule(key=KEYS, side=SIDES, lines=LINES, host=HOSTS, offers=st.booleans())
    def describe(self, key: str, side: str, lines: list[bytes], host: str, offers: bool) -> None:
        phone = self.phone(key, side)
        body = phone.describe(*lines, host=host)
        ask = self.world.offer if offers else self.world.answer
        try:
            sent_on = ask(body, side, key=key, source=phone.host)
        except RemoteError as refused:
            assert refused.status == 503
            return
        if self.world.engine.carries(key):
            assert phone.host.encode() not in sent_on.replace(b"m=message 7 TCP/MSRP *\r\nc=IN IP4 127.0.0", b"")
            self.learn(key, "b" if side == "a" else "a", sent_on)
        else:
            assert sent_on == body

    @rule(key=KEYS, side=SIDES)
    def talk(self, key: str, side: str) -> None:
        phone = self.phone(key, side)
        if phone.far[1]:
            phone.say(f"{key}{side}".encode())

    @rule(key=KEYS, side=SIDES)
    def spray(self, key: str, side: str) -> None:
        self.stranger.far = self.phone(key, side).far
        if self.stranger.far[1]:
            self.stranger.say(b"stranger")

    @rule(key=KEYS)
    def close(self, key: str) -> None:
        self.world.calls.close(key)

    @rule(seconds=st.sampled_from([1, 31, 61]))
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(seconds)
        self.world.core.sweep()

    @invariant()
    def packets_reach_their_call_only(self) -> None:
        for _ in range(40):
            if not self.world.engine.forwarder.turn(0.0):
                break
        else:
            raise AssertionError("packets circle")
        assert not self.stranger.heard()
        for (key, side), phone in self.phones.items():
            for packet in phone.heard():
                assert packet[12:] == f"{key}{'b' if side == 'a' else 'a'}".encode()

    @invariant()
    def ports_add_up(self) -> None:
        engine = self.world.engine
        pool = engine.relay._pool
        assert len(engine.forwarder) == 4 * engine.streams
        assert len(pool) + len(pool._resting) + 2 * engine.streams == pool.size

    def teardown(self) -> None:
        self.world.close()


Calls.TestCase.settings = settings(max_examples=60, stateful_step_count=25, suppress_health_check=list(HealthCheck))
TestCalls = Calls.TestCase
