"""The scene of every conversation here: the SBC on 127.0.0.1, its upper server on 127.0.0.2, phones on 127.0.0.3.

`FlowCase.begin(...)` puts up what a test needs; everything is gone when the test ends. The SBC runs in the process of
the tests (`within`), unless a test wants it as a child.

A machine that runs tests stalls for a second now and then. So a test waits for events (`waits.until`, a diary), never
for a time in which something should have happened; that something does not happen is looked at after the event that
comes behind it. A time limit of the SBC whose end is tested is turned on by hand (`unheard`, `in_vain`); one that must
not end is long.
"""

from __future__ import annotations

import gc
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase

from sbc import assembly
from sbc.lab.call import IncomingCall
from sbc.lab.phone import Manners, Phone
from sbc.lab.world import PHONE, World
from sbc.proxy import branch, passing
from sbc.store.operation import Execute
from sbc.transport.flow import Flow
from tests.flow.strangers import Raw, Stranger
from tests.flow.waits import PATIENCE, pause, turns, until
from tests.flow.within import UDP_AWAKE, Scene

__all__ = ["Calls", "DOMAIN", "FlowCase", "OWN", "Raw", "Row", "Scene", "Stranger", "USERS", "pause", "until"]

USERS = {"alice": "secret-alice", "bob": "secret-bob", "carol": "secret-carol"}
DOMAIN = "pbx.example.com"
OWN = ("node", "database", "registrar", "media", "admin", "push", "apns", "fcm", "webpush")
"""Sections that the laboratory's configuration has already: a test adds lines to them."""
Row = sqlite3.Row


class FlowCase(TestCase):
    """A test with an SBC. Each test begins with `begin`."""

    timeout = 170
    world: World
    doubt = 15.0
    """Seconds of silence until a phone that looked awake is doubted: no stall is to do it. `next_moment` makes them
    pass."""

    @inlineCallbacks
    def begin(
        self,
        *,
        users: dict[str, str] | None = None,
        providers: tuple[str, ...] = ("apns",),
        changes: dict[str, str] | None = None,
        child: bool = False,
        **sections: str,
    ) -> Any:
        """Put up push services, upper server and SBC. `sections` are lines for the sections of its configuration, by
        name (two underscores for a dot); `child` makes it a process of its own."""
        for module in (branch, passing):
            self.patch(module, "DOUBT", self.doubt)
        folder = tempfile.TemporaryDirectory(prefix="sbc-flow-")
        named = {name.replace("__", "."): text for name, text in sections.items()}
        own = {name: text for name, text in named.items() if name in OWN}
        more = "\n".join(f"[{name}]\n{text}\n" for name, text in named.items() if name not in OWN)
        options: Any = {"users": users or USERS, "providers": providers, "settings": own, "sections": more}
        directory = Path(folder.name)
        self.world = World(reactor, directory, **options) if child else Scene(directory, changes or {}, **options)
        self.upper, self.apns = self.world.upper, self.world.apns
        self._folder = folder
        self.addCleanup(self._end)
        yield self.world.start()

    @inlineCallbacks
    def _end(self) -> Any:
        patience, assembly.DRAIN = assembly.DRAIN, 0.0
        try:
            yield self.world.stop()
        finally:
            assembly.DRAIN = patience
            self._folder.cleanup()
            gc.unfreeze()
            gc.set_threshold(700, 10, 10)  # Python's own: other tests have no quiet moments
        yield pause(0.02)  # the sockets that were closed are gone

    @property
    def sbc(self) -> assembly.Sbc:
        """The SBC in this process."""
        border: Any = self.world.border
        return border.sbc

    # -- phones -------------------------------------------------------------------------------------------------

    def phone(self, username: str = "bob", **more: Any) -> Phone:
        """A phone of that user behind the SBC that is switched on later. TCP unless told otherwise: the SBC knows at
        once when such a phone has gone."""
        more.setdefault("transport", "tcp")
        manners = {name: more.pop(name) for name in tuple(more) if name in Manners.__slots__}
        settings = {"wake_delay": 0.05, "answer_delay": 0.1, "talks": False, **manners}
        return self.world.phone(username, manners=Manners(**settings), **more)

    @inlineCallbacks
    def awake(self, username: str = "bob", **more: Any) -> Any:
        """A phone that has registered and is awake."""
        phone = self.phone(username, **more)
        response = yield phone.start()
        self.assertEqual(response.status, 200)
        return phone

    @inlineCallbacks
    def asleep(self, username: str = "bob", **more: Any) -> Any:
        """A phone that has registered and sleeps; the SBC could know it."""
        phone = yield self.awake(username, **more)
        yield self.fall_asleep(phone)
        return phone

    @inlineCallbacks
    def fall_asleep(self, phone: Phone) -> Any:
        """Its sockets are closed, and the SBC has noticed; a UDP phone has been silent for as long as it takes to be
        thought asleep."""
        if phone.transport == b"UDP":
            yield turns()  # what it repeated is heard before
        self.unheard(phone)
        flows = self.flows(phone)
        yield phone.sleep()
        if phone.transport == b"UDP" or not isinstance(self.world, Scene):
            yield pause(0.05)
        else:
            yield until(lambda: not any(flow.open for flow in flows), "the ends of the connections")

    def unheard(self, phone: Phone) -> None:
        """The SBC has not heard a UDP phone for longer than it takes such a phone for awake. (Its clock is turned back
        for this phone: a test that waited would depend on how busy the machine is.)"""
        if phone.transport == b"UDP":
            for flow in self.flows(phone):
                flow.heard_at -= UDP_AWAKE + 1

    def flows(self, phone: Phone) -> list[Flow]:
        """Where the SBC in this process has the phone's registrations."""
        if phone.wire is None or not isinstance(self.world, Scene):
            return []
        tokens = [row["flow"] for row in self.rows("select flow from bindings where flow is not null")]
        found = [self.sbc.transports.flow(token) for token in tokens]
        return [flow for flow in found if flow is not None and flow.peer == phone.wire.local]

    def stranger(self, host: str = PHONE, **more: Any) -> Stranger:
        """Somebody whom the SBC does not know."""
        stranger = Stranger(host, **more)
        self.addCleanup(stranger.party.close)
        return stranger

    def raw(self, host: str = PHONE) -> Raw:
        """A socket for any bytes."""
        raw = Raw(host)
        self.addCleanup(raw.close)
        return raw

    # -- what happened ------------------------------------------------------------------------------------------

    def pushes(self, phone: Phone) -> list[Any]:
        """The pushes that Apple got for this phone."""
        return self.apns.inbox.of(phone.token.prid)

    @inlineCallbacks
    def final(self, call: Any, within: float = PATIENCE) -> Any:
        """The final status that the caller hears (0: none came)."""
        entry = yield call.diary.when("final").addTimeout(within, reactor)
        return getattr(entry.detail, "status", 0)

    @inlineCallbacks
    def happened(self, diary: Any, kind: str, count: int = 1, within: float = PATIENCE) -> Any:
        """The entry of a diary, once it is there."""
        entry = yield diary.when(kind, count).addTimeout(within, reactor)
        return entry.detail

    def heard(self, call: Any) -> list[int]:
        """The provisional statuses that the caller heard, without 100. A response that is repeated, as datagrams are,
        counts once."""
        responses = {entry.detail.render(): entry.detail.status for entry in call.diary.all("provisional")}
        return [status for status in responses.values() if status != 100]

    def rows(self, query: str, *parameters: object) -> list[Row]:
        """Rows of the SBC's database."""
        return self.world.border.rows(query, parameters)

    @inlineCallbacks
    def record(self, call: Any, count: int = 1) -> Any:
        """The CDRs of a call and the kinds of its timeline in order, once it is over."""
        call_id = call.call_id.decode()
        query = "select * from cdrs where call_id = ? order by id"

        def written() -> bool:
            self.sbc.call_log.flush(time.time(), everything=True)
            return len(self.rows(query, call_id)) >= count

        yield until(written, f"{count} CDR of the call")
        events = self.rows("select * from call_events where call_id = ? order by at, id", call_id)
        return self.rows(query, call_id), [row["kind"] for row in events]

    @inlineCallbacks
    def in_vain(self, count: int = 1) -> Any:
        """Requests wait for sleeping devices, `count` pushes of this test have been answered, and the time of the wait
        is over. (The clock is turned on: a wait so short that a test could sit it out would end in a stall.)"""
        waiting = self.sbc.calls.open
        yield until(lambda: waiting and all(each.fork.waiting for each in waiting), "a request that waits")
        yield until(lambda: len(self.rows("select id from pushes")) >= count, f"{count} pushes")
        yield self.next_moment()

    @inlineCallbacks
    def next_moment(self, count: int = 1) -> Any:
        """`count` requests are on their way, and what they wait for by the clock comes now: the end of a wait, of a
        doubt, of ringing."""
        waiting = self.sbc.calls.open
        yield until(
            lambda: len(waiting) >= count and all(each.fork.deadline() is not None for each in waiting),
            f"{count} requests that wait",
        )
        for attempt in tuple(waiting):
            at = attempt.fork.deadline()
            attempt._run(attempt.fork.expire(at), at)

    @inlineCallbacks
    def written(self) -> Any:
        """What the SBC has given to its database until now is there."""
        yield self.sbc.store.write(Execute(lambda connection: None))

    def ringing(self, phone: Phone) -> IncomingCall:
        """The latest call that came to this phone."""
        found = [call for call in phone.calls if isinstance(call, IncomingCall)]
        assert found, "no call came"
        return found[-1]

    def in_order(self, told: list[str], *kinds: str) -> None:
        """`kinds` stand in `told` in this order; others may stand between them."""
        rest = iter(told)
        missing = [kind for kind in kinds if kind not in rest]
        self.assertEqual(missing, [], f"in {told}")


class Calls(FlowCase):
    """A test about calls of phones that are awake."""

    transport = "udp"

    @inlineCallbacks
    def talking(self, **more):
        """A call from the upper server to bob's phone, answered and acknowledged."""
        phone = yield self.awake(transport=self.transport, talks=True, **more)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.ringing(phone).diary, "ack")
        return phone, call, self.ringing(phone)

    @inlineCallbacks
    def calling(self, **more):
        """A call from bob's phone to a user that the upper server answers for."""
        self.upper.answering["echo"] = 0.05
        phone = yield self.awake(transport=self.transport, talks=True, **more)
        call = phone.call("echo")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.upper.calls[-1].diary, "ack")
        return phone, call, self.upper.calls[-1]
