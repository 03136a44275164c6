"""Whatever happens until the end of an INVITE, no device sees a second one: a node between an upper server and phones.

The phones sleep, wake on other flows, come under another instance with the same token, lose their flows in the middle,
answer late or not at all; the server says its INVITE again and gives up; time passes.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed

from sbc.push.tokens import PushToken
from sbc.registrar.flows import Awake
from sbc.sip.build import respond
from sbc.sip.message import Request, Response, parse
from sbc.store.records import Binding, Subscriber, Target, Token, User
from tests.unit.proxy.node_world import BODY, SDP, Wire, World, message

FLOWS = 2
TIMER_B = 31.0
"""Seconds in which a server that hears nothing says an INVITE again (RFC 3261 section 17.1.1.2)."""
DEVICES = ("a", "b")
NUMBERS = count(1)
EVENTS = st.one_of(
    st.tuples(st.just("again"), st.just(""), st.just(0)),
    st.tuples(st.just("register"), st.sampled_from(DEVICES), st.integers(0, FLOWS - 1)),
    st.tuples(st.just("renamed"), st.sampled_from(DEVICES), st.integers(0, FLOWS - 1)),
    st.tuples(st.just("broken"), st.sampled_from(DEVICES), st.integers(0, FLOWS - 1)),
    st.tuples(st.just("says"), st.sampled_from(DEVICES), st.sampled_from((100, 180, 200, 486, 603))),
    st.tuples(st.just("cancel"), st.just(""), st.just(0)),
    st.tuples(st.just("time"), st.just(""), st.sampled_from((0.3, 1.0, 3.0, 12.0, 45.0))),
)


class Path(Wire):
    """One way to a device: a stream, or datagrams."""

    def __init__(self, host: str, port: int, *, reliable: bool) -> None:
        super().__init__((host, port))
        self.reliable = reliable


class Phones:
    """A world with two devices of one user, and what each of them has seen of the present call."""

    def __init__(self, folder: str) -> None:
        self.world = world = World(folder, monotonic=True)
        node = world.node
        node.store.read = lambda query: succeed(self.subscriber)  # type: ignore[method-assign, assignment]
        node.store.write = lambda operation: Deferred()  # type: ignore[method-assign]
        node.switch.pushes = lambda kind, device, awake, subscriber: not awake
        node.push.send = lambda order: Deferred()  # type: ignore[method-assign]
        self.flows: dict[str, Wire] = {world.upper.token: world.upper}
        node.transports.flow = self.flows.get  # type: ignore[method-assign]
        self.subscriber: Any = None

    def begin(self, awake: dict[str, bool]) -> None:
        """A call comes for a user none of whose devices was seen before; those in `awake` are taken for awake."""
        self.number = next(NUMBERS)
        self.world.upper.out.clear()
        self.flows.clear()
        self.flows[self.world.upper.token] = self.world.upper
        self.paths = {
            name: [
                Path(f"198.51.{100 + at}.{device + 1}", 1024 + self.number % 60_000, reliable=at > 0)
                for at in range(FLOWS)
            ]
            for device, name in enumerate(DEVICES)
        }
        self.flows.update({flow.token: flow for paths in self.paths.values() for flow in paths})
        self.names = {name: f"{name}{self.number}" for name in DEVICES}
        user = User(id=self.number, username="bob", domain="example.com", upper="pbx")
        targets = [self.target(name, at, awake[name]) for at, name in enumerate(DEVICES) if name in awake]
        self.subscriber = Subscriber(user, tuple(targets))
        start = b"INVITE sip:bob@192.0.2.1 SIP/2.0"
        contact = b"Contact: <sip:ada@192.0.2.10>"
        self.invite = message(start, b"INVITE", contact, SDP, number=self.number, body=BODY)
        self.world.arrive(self.invite, self.world.upper)

    def target(self, name: str, at: int, awake: bool) -> Target:
        flow = self.paths[name][0].token if awake else ""
        binding = Binding(
            id=100 * self.number + at, user_id=self.number, identity=self.names[name], contact=f"sip:{name}@h",
            flow=flow, node=self.world.node.switch.node, push=True, expires_at=4e9,
        )  # fmt: skip
        return Target(binding, (self.token(name),))

    def token(self, name: str) -> Token:
        prid = f"{name}{self.number}"
        return Token(provider="apns", param="app", prid=prid, registered_at=1.0)

    def register(self, name: str, at: int) -> None:
        """A device has registered on one of its flows, and lives there."""
        flow = self.paths[name][at]
        flow.open = True
        flow.heard_at = self.world.clock.seconds()
        tokens = (PushToken("apns", "app", f"{name}{self.number}"),)
        contact = f"sip:{name}@h{at}"
        news = Awake(self.number, 1, "bob", "example.com", "pbx", self.names[name], contact, flow, tokens)
        self.world.node.registrar.awake(news)

    def renamed(self, name: str, at: int) -> None:
        self.names[name] += "x"
        self.register(name, at)

    def broken(self, name: str, at: int) -> None:
        flow = self.paths[name][at]
        flow.open = False
        self.world.node.driver.lost(flow)

    def seen(self, name: str) -> list[tuple[Wire, Request]]:
        """Every INVITE on the device's flows."""
        heard = [(flow, parse(data)) for flow in self.paths[name] for data in flow.out]
        return [(flow, each) for flow, each in heard if isinstance(each, Request) and each.method == b"INVITE"]

    def says(self, name: str, status: int) -> None:
        """The device answers what it saw last, where that flow is still there."""
        for flow, invite in self.seen(name)[-1:]:
            if flow.open:
                headers = [(b"Contact", b"<sip:%b@h>" % name.encode())]
                answer = respond(invite, status, to_tag=name.encode(), headers=headers)
                self.world.arrive(answer.render(), flow)

    def pass_time(self, seconds: float) -> None:
        for _ in range(4):
            self.world.clock.advance(seconds / 4)
            self.world.node.driver.tick()

    def finals(self) -> list[int]:
        """The final statuses of the call that the upper server heard, each retransmission once."""
        heard = [parse(data) for data in self.world.upper.out if data.startswith(b"SIP/2.0")]
        call = [each for each in heard if isinstance(each, Response) and each.call_id == b"c%d@h" % self.number]
        return sorted({each.status for each in call if each.cseq.method == b"INVITE" and each.status >= 200})


@pytest.fixture(scope="module")
def phones(tmp_path_factory: Any) -> Phones:
    return Phones(str(tmp_path_factory.mktemp("node")))


def distinct(invites: list[tuple[Wire, Request]]) -> list[bytes]:
    """The Via branches under which INVITEs came, each once, in their order."""
    return list(dict.fromkeys(invite.branch for _, invite in invites))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(DEVICES), st.booleans(), min_size=1),
    st.lists(EVENTS, max_size=25),
)
@example({"a": True}, [("says", "a", 180), ("register", "a", 1)])
@example({"a": False}, [("register", "a", 0), ("says", "a", 100), ("register", "a", 1), ("time", "", 3.0)])
@example({"a": True, "b": True}, [("says", "a", 180), ("cancel", "", 0), ("register", "b", 1), ("register", "a", 1)])
def test_no_device_sees_a_second_invite(phones: Phones, awake: dict[str, bool], events: list[Any]) -> None:
    phones.begin(awake)
    said: dict[str, int] = {}
    before_end: dict[str, int] = {}
    over, begun = False, phones.world.clock.seconds()
    for kind, name, what in events:
        if kind == "again":
            if phones.world.clock.seconds() - begun > TIMER_B:
                continue  # nobody says it again by then
            phones.world.arrive(phones.invite, phones.world.upper)
        elif kind == "cancel":
            cancel = phones.invite.replace(b"INVITE sip:", b"CANCEL sip:").replace(b" INVITE", b" CANCEL")
            phones.world.arrive(cancel.partition(b"Content-Type")[0] + b"Content-Length: 0\r\n\r\n", phones.world.upper)
            over = True
        elif kind == "time":
            phones.pass_time(what)
        elif kind == "says":
            said[name] = max(said.get(name, 0), what if phones.seen(name) else 0)
            phones.says(name, what)
        else:
            getattr(phones, kind)(name, what)
            if kind == "renamed":
                said[name] = 0  # the app was started anew: it knows nothing of what rang before
        for each in DEVICES:
            branches = len(distinct(phones.seen(each)))
            assert not (over and branches > before_end.get(each, 0)), f"{each} rings after the end"
            if said.get(each, 0) > 100:
                assert branches <= before_end.get(each, branches), f"{each} rang already"
            before_end[each] = branches
        over = over or bool(phones.finals())
    phones.pass_time(300)
    assert len(phones.finals()) == 1
