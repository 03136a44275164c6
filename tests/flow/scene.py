"""The scene of every conversation here: the SBC on 127.0.0.1, its upper server on 127.0.0.2, phones on 127.0.0.3.

`FlowCase.begin(...)` puts up what a test needs; everything is gone when the test ends. `Scene` is the laboratory's
world with the SBC in this process instead of in a child, so that a test starts in a quarter of a second and sees
inside.
"""

from __future__ import annotations

import gc
import sqlite3
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from sbc import assembly
from sbc.lab import world
from sbc.lab.border import Border
from sbc.lab.call import IncomingCall
from sbc.lab.loop import close
from sbc.lab.party import Party, new_branch, new_tag, wire_of
from sbc.lab.phone import Manners, Phone
from sbc.lab.world import BORDER, PHONE, World
from sbc.sections import SECTIONS
from sbc.settings import Configuration, load
from sbc.sip import Request, Response, parse
from sbc.sip.build import make_request, respond
from sbc.store.engine import open_engine
from sbc.store.migrate import upgrade
from sbc.transport.flow import Flow

USERS = {"alice": "secret-alice", "bob": "secret-bob", "carol": "secret-carol"}
DOMAIN = "pbx.example.com"
OWN = ("node", "database", "registrar", "media", "admin", "push", "apns", "fcm", "webpush")
"""Sections that the laboratory's configuration has already: a test adds lines to them."""
UDP_AWAKE = 60
"""Seconds that the SBC takes a silent UDP phone for awake; `FlowCase.unheard` makes them pass."""

Row = sqlite3.Row


class Inside:
    """The SBC in this process. Stands where the laboratory has its child process."""

    def __init__(self, directory: Path, text: str, admin: tuple[str, int], database: Path) -> None:
        self.path = directory / "sbc.toml"
        self.database = database
        self.web = f"http://{admin[0]}:{admin[1]}"
        self.output = ""
        self.running = False
        self._write(text)
        if not database.exists():
            database.write_bytes(migrated())
        self.sbc = assembly.Sbc(reactor, self.read(), self.read)

    def read(self) -> Configuration:
        """The configuration as it stands in the file."""
        return load(self.path.read_text(encoding="utf-8"), SECTIONS, path=str(self.path))

    def rewrite(self, old: str, new: str) -> None:
        """The operator edits the file."""
        text = self.path.read_text(encoding="utf-8")
        assert old in text
        self._write(text.replace(old, new))

    def _write(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")
        self.path.chmod(0o600)

    def start(self) -> Deferred[None]:
        """Listens when this fires."""
        self.sbc.privilegedStartService()
        self.sbc.startService()
        self.running = True
        return succeed(None)

    def stop(self) -> Deferred[Any]:
        """As SIGTERM does it; calls that are left get no time."""
        if not self.running:
            return succeed(None)
        self.running = False
        return self.sbc.stopService()

    metrics, rows = Border.metrics, Border.rows

    @property
    def reactor(self) -> Any:
        return reactor


@cache
def migrated() -> bytes:
    """An empty database with the newest schema: migrating one takes longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{folder}/sbc.db")
        upgrade(engine)
        engine.dispose()
        return Path(folder, "sbc.db").read_bytes()


class Scene(World):
    """The laboratory's world around an SBC in this process. `changes`: texts of its configuration to be replaced."""

    def __init__(self, directory: Path, changes: dict[str, str], **options: Any) -> None:
        super().__init__(reactor, directory, **options)
        self.changes = changes

    def configuration(self, database: Path) -> str:
        text = super().configuration(database)
        for old, new in {f'udp_awake = "{world.UDP_AWAKE}s"': f'udp_awake = "{UDP_AWAKE}s"', **self.changes}.items():
            assert old in text, f"no {old!r} in the configuration"
            text = text.replace(old, new)
        return text if "\nengine = " in text else text.replace("[media]\n", '[media]\nengine = "inline"\n')

    @inlineCallbacks
    def restart(self, *, crash: bool = False) -> Any:
        """Stop it when it runs, and start it again on the same ports and database."""
        assert not crash, "only a child process can be killed"
        if self._border is not None:
            yield self._border.stop()
        database = self.directory / "sbc.db"
        text = self.configuration(database)
        self._border = Inside(self.directory, text, (BORDER, self.admin), database)
        yield self._border.start()


class FlowCase(TestCase):
    """A test with an SBC. Each test begins with `begin`."""

    timeout = 25
    world: World

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
    def final(self, call: Any, within: float = 8.0) -> Any:
        """The final status that the caller hears (0: none came)."""
        entry = yield call.diary.when("final").addTimeout(within, reactor)
        return getattr(entry.detail, "status", 0)

    @inlineCallbacks
    def happened(self, diary: Any, kind: str, count: int = 1, within: float = 5.0) -> Any:
        """The entry of a diary, once it is there."""
        entry = yield diary.when(kind, count).addTimeout(within, reactor)
        return entry.detail

    def heard(self, call: Any) -> list[int]:
        """The provisional statuses that the caller heard, without 100."""
        statuses = [entry.detail.status for entry in call.diary.all("provisional")]
        return [status for status in statuses if status != 100]

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


class Stranger:
    """A SIP party of no particular kind: it asks what a test makes up, and answers 200 to whatever it is asked."""

    def __init__(self, host: str = PHONE, *, udp: bool = True) -> None:
        self.party = Party(reactor, host, self)
        if udp:
            self.party.listen_udp()
        self.arrivals: list[Request] = []
        self.tags: list[bytes] = []

    @inlineCallbacks
    def ask(self, method: str, uri: str, port: int, *headers: tuple[bytes, bytes], to: str = "", **more: Any) -> Any:
        """The final response to a request sent to the SBC. `more`: `max_forwards`, `body`, `transport`, `from_`,
        `call_id`."""
        own = [] if any(name == b"contact" for name, _ in headers) else [(b"contact", b"<sip:stranger@%b>")]
        wire = yield self.party.wire(more.pop("transport", b"UDP"), BORDER, port)
        request = make_request(
            method.encode(),
            uri.encode(),
            via=wire.via(new_branch()),
            from_=more.pop("from_", b"<sip:stranger@example.org>;tag=" + new_tag()),
            to=(to or f"<{uri}>").encode(),
            call_id=more.pop("call_id", new_tag()),
            cseq=1,
            headers=[*((name, value % wire.address) for name, value in own), *headers],
            **more,
        )
        response = yield self.party.ask(request, wire).addTimeout(6, reactor)
        return response

    def arrived(self, txn: Any, request: Request) -> None:
        self.arrivals.append(request)
        self.tags.append(new_tag())
        contact = (b"contact", b"<sip:stranger@%b>" % wire_of(txn).address)
        self.party.respond(txn, respond(request, 200, to_tag=self.tags[-1], headers=[contact]))

    def cancelled(self, txn: Any) -> None:
        """Answered already."""

    def acknowledged(self, ack: Request) -> None:
        self.arrivals.append(ack)


class Raw(DatagramProtocol):
    """A UDP socket that says exactly what it is told, and keeps what it hears."""

    noisy = False

    def __init__(self, host: str = PHONE) -> None:
        self.heard: list[Request | Response] = []
        self._port = reactor.listenUDP(0, self, interface=host)
        self.address = (host, self._port.getHost().port)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if datagram.strip():
            self.heard.append(parse(datagram))

    def say(self, data: bytes, port: int) -> None:
        """To the SBC."""
        self._port.write(data, (BORDER, port))

    def statuses(self) -> list[int]:
        """Of the responses heard."""
        return [message.status for message in self.heard if isinstance(message, Response)]

    def close(self) -> Deferred[None]:
        return close(self._port)


def pause(seconds: float) -> Deferred[None]:
    """Let time pass."""
    return deferLater(reactor, seconds, lambda: None)


@inlineCallbacks
def until(true: Any, what: str, within: float = 5.0) -> Any:
    """Wait for something that no Deferred tells."""
    limit = time.monotonic() + within
    while not true():
        if time.monotonic() > limit:
            raise AssertionError(f"not within {within:g} s: {what}")
        yield pause(0.03)
