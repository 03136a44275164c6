"""Puts the rooms together: the only module that knows every class. `service.py` starts what is built here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from sbc import collecting, gauges, rooms
from sbc.admin.build import admin_service
from sbc.admin.ports import Node
from sbc.admin.settings import AdminSettings
from sbc.bookkeeping import BanRecords, call_log, expire_bindings, restore_bans
from sbc.clocks import Clocks
from sbc.collecting import Collecting
from sbc.counted import Counted
from sbc.credentials import ApiKeys
from sbc.derived import derive
from sbc.draining import drained
from sbc.dryrun import dry_run
from sbc.media.calls import MediaCalls
from sbc.media.engines import make_engine
from sbc.media.settings import MediaSettings
from sbc.observe.exposition import Exposition
from sbc.observe.flushing import Flushing
from sbc.observe.lag import LagProbe
from sbc.observe.load import level
from sbc.observe.log import LogObserver, observe
from sbc.observe.metrics import Metrics
from sbc.observe.settings import LogSettings
from sbc.observe.trace import TraceRing
from sbc.operations import Operations
from sbc.policy import Policy
from sbc.proxy.border import Border
from sbc.proxy.dialog import Dialogs
from sbc.proxy.lasting import SETTLE
from sbc.proxy.mailbox import LOOK_AGAIN
from sbc.proxy.masking import masker
from sbc.proxy.settings import ProxySettings
from sbc.proxy.terms import WATCH
from sbc.push.orders import PushType
from sbc.push.service import PushService
from sbc.push.settings import PushSettings
from sbc.recording import PushRecords, own_addresses, push_configuration
from sbc.security.guard import Guard
from sbc.security.settings import SecuritySettings
from sbc.settings import Configuration, NodeSettings
from sbc.sip.values import split_commas
from sbc.standstill import after_reading
from sbc.store import queries
from sbc.store.records import Subscriber, UpperRegistration, User
from sbc.store.records import Target as Device
from sbc.store.secret import Secret
from sbc.store.service import READS_WAITING, WRITES_WAITING, Store
from sbc.store.settings import DatabaseSettings
from sbc.store.upkeep import Upkeep
from sbc.transaction.driver import TICK, Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transaction.table import TransactionTable
from sbc.transport.limits import BANNED
from sbc.transport.resolver import Resolver
from sbc.transport.service import Transports
from sbc.transport.settings import DEFAULT_LISTENS, ListenSettings, TransportSettings
from sbc.transport.tls import ClientTrust
from sbc.upper.refresher import POLL
from sbc.upper.watch import LOOK
from sbc.upper.ways import RESOLVE_AGAIN
from sbc.uppers import READ_AGAIN, Uppers

log = Logger()

DRAIN = 10.0
"""Seconds that calls may go on after SIGTERM before both sides get a BYE; new ones are refused meanwhile."""

EXPIRE_EVERY = 60.0
"""Seconds between two looks for bindings without push whose time has passed."""


class Sbc(MultiService):
    """One node. `configuration` is what it runs with; `reconfigure` puts another in its place."""

    def __init__(
        self,
        reactor: Any,
        configuration: Configuration,
        read: Callable[[], Configuration],
        observer: LogObserver | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reactor = reactor
        self.configuration = configuration
        self.observer = observer
        self.started_at = time.time()
        self.serving = False
        self._ours: frozenset[bytes] = frozenset()
        self.clocks = Clocks(reactor)
        state = Path(configuration[NodeSettings].state)
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = Secret.from_file(state / "secret.key")
        self.metrics = Metrics()
        self.trace = TraceRing(configuration[LogSettings].trace_bytes)
        if configuration[LogSettings].trace:
            self.trace.start()
        self.store = Store(reactor, configuration[DatabaseSettings].url, secret)
        self.call_log = call_log(self.store, configuration[NodeSettings].name)
        self.identifiers = Identifiers(os.urandom)
        table = TransactionTable(limit=configuration[ProxySettings].transactions)
        self.driver = Driver(table, time.monotonic)
        self.guard = Guard(
            configuration[SecuritySettings], BanRecords(self.store, lambda source: self.transports.cut(source, BANNED))
        )
        transport = configuration[TransportSettings]
        self.resolver = resolver = Resolver(reactor, nameservers=transport.dns_servers())
        self.uppers = Uppers(
            configuration=lambda: self.configuration,
            resolver=resolver,
            connect=lambda where: self.transports.connect(where, side="upper"),
            fitting=lambda flow, size: self.transports.fitting(flow, size, side="upper"),
            own=self.ours,
            driver=self.driver,
            identifiers=self.identifiers,
            store=self.store,
            metrics=self.metrics,
            clock_at=time.time,
        )
        self.servers, self.ways = self.uppers.servers, self.uppers.ways
        records = PushRecords(self.store, self.metrics)
        self.push = PushService(
            reactor,
            push_configuration(configuration),
            recorder=records,
            meter=records,
            own_addresses=own_addresses(configuration),
        )
        self.policy = Policy(lambda: self.configuration, self.push, self.load)
        self.derived = derive(configuration, self.push.rules())
        self.engine = make_engine(configuration[MediaSettings], reactor, state)
        self.media = MediaCalls(configuration[MediaSettings], self.engine)
        self.masked = masker(secret.derive("call id"))
        dialogs = Dialogs()
        self.lasting = rooms.lasting(self, dialogs)
        self.refresher = rooms.refresher(self)
        self.calls = rooms.calls(self, dialogs)
        self.registrar = rooms.registrar(self, secret)
        self.switch = rooms.switch(self)
        self.border = Border(
            driver=self.driver,
            guard=self.guard,
            metrics=self.metrics,
            trace=self.trace,
            gone=lambda flow: self.registrar.live.leave(flow.token),
            clock_at=time.time,
            udp_flow=lambda flow, peer: self.transports.udp_flow(flow.listener, peer),
            alias=lambda flow, port: self.transports.alias(flow, port),
        )
        trust = ClientTrust(
            ca_file=transport.ca_file, verify=transport.verify, certificate=transport.certificate, key=transport.key
        )
        listens = configuration.each(ListenSettings) or DEFAULT_LISTENS
        self.transports = Transports(reactor, listens, self.border, transport.limits(), gate=self.guard, trust=trust)
        self.switch.transports = self.transports
        self.media.on_fault = self.calls.endings.media_ended
        self.operations = Operations(self, read)
        self._offspring(state)
        gauges.watch(self)

    def _offspring(self, state: Path) -> None:
        """The services below this one, in the order in which they start; they stop in the opposite order."""
        self.api_keys = ApiKeys(self.store)
        self.counted = Counted(self.reactor, self.store)
        node = Node(
            name=self.configuration[NodeSettings].name,
            missing=self.missing,
            metrics_text=Exposition(self.metrics, self._metric_failed).text,
            store=self.store,
            call_log=self.call_log,
            trace=self.trace,
            actions=self.operations,
            configuration=lambda: self.configuration,
            uppers=self.uppers.view,
            dry_run=partial(dry_run, self.uppers.router),
            started_at=self.started_at,
            bindings=self.counted.bindings,
            registrations=self.counted.registrations,
        )
        settings = self.configuration[AdminSettings]
        self.admin = admin_service(
            self.reactor, settings, node, state, version("sbc"), monotonic=time.monotonic, utc=time.time
        )
        self.lag = LagProbe(self.reactor, time.monotonic)
        flushing = Flushing(self.reactor, self.call_log, time.time)
        upkeep = Upkeep(
            self.reactor,
            self.store,
            settings=lambda: self.configuration[DatabaseSettings],
            gone_after=lambda: self.configuration[PushSettings].client_max_offline_days,
            utc=time.time,
        )
        for service in (
            self.store,
            upkeep,
            flushing,
            self.media,
            self.push,
            self.lag,
            self.counted,
            self.transports,
            self.admin,
        ):
            service.setServiceParent(self)  # type: ignore[no-untyped-call]

    # Life

    def startService(self) -> None:
        """Start everything; nothing is heard before the store is ready."""
        super().startService()  # type: ignore[no-untyped-call]
        faces = [face for each in self.transports.listeners for face in each.faces]
        hosts = {host for face in faces for host in (face.advertise_host, face.host.encode())}
        self._ours = frozenset(host.strip(b"[]").lower() for host in hosts) - {b"0.0.0.0", b"::"}
        restored = self.lasting.restore(self.calls.terms.resume)
        restored.addErrback(lambda failure: log.failure("dialogs could not be restored", failure))
        self.clocks.every(TICK, after_reading(self.driver.tick, time.monotonic, TICK))
        self.clocks.every(SETTLE, self.lasting.settle)
        self.clocks.every(LOOK_AGAIN, self.calls.mailbox.look)
        self.clocks.every(WATCH, self.calls.terms.watch)
        name = self.configuration[NodeSettings].name
        resumed = self.uppers.resume(name, self.configuration[PushSettings].resume_on_start)
        resumed.addErrback(lambda failure: log.failure("not all registrations were ended as set", failure))
        resumed.addCallback(lambda _: self.clocks.every(POLL, self.refresher.tick) if self.running else None)
        self.clocks.every(RESOLVE_AGAIN, self._locate)
        self.clocks.every(LOOK, self.uppers.watch.tick)
        self.clocks.every(READ_AGAIN, self._look_at_tables)
        self.clocks.every(EXPIRE_EVERY, lambda: expire_bindings(self.store))
        self.clocks.every(1.0, lambda: self.registrar.live.age(time.monotonic()))
        self.clocks.every(1.0, lambda: self.guard.bans.expire(time.time()))
        restore_bans(self.store, self.guard.bans)
        self.serving = True
        self.clocks.every(collecting.LOOK, Collecting(lambda: len(self.driver.table), time.monotonic).look)
        collecting.settle()

    def stopService(self) -> Deferred[None]:
        """Drain: no new calls. Those that are not answered have `DRAIN` seconds to be so; the answered ones are left to
        the next process, or have as long to end by themselves before both sides get a BYE (`node.stop`)."""
        self.serving = False
        if self.configuration[NodeSettings].stop == "leave":
            calls_end = drained(self.reactor, lambda: len(self.calls.open), self._leave_calls, DRAIN)
        else:
            calls_end = drained(
                self.reactor, lambda: len(self.call_log), lambda: self.calls.end_all("the SBC stops"), DRAIN
            )
        return calls_end.addCallback(self._stop)

    def _leave_calls(self) -> None:
        left = self.calls.leave_all()
        self.media.leaves = left > 0
        if left:
            log.info("{left} calls go on; the next process takes them over", left=left)

    def _stop(self, _: None) -> Deferred[None]:
        self.clocks.stop()
        stopped: Deferred[None] = super().stopService()  # type: ignore[no-untyped-call]
        return stopped

    # What the rooms ask

    def shown_call_id(self, call_id: bytes) -> bytes:
        """What a Call-ID is on the other side: the same, or its mask (`proxy.mask_call_id`)."""
        return self.masked(call_id) if self.derived.calls.mask_call_id else call_id

    def ours(self) -> frozenset[bytes]:
        """Hosts that name this node, lower case."""
        return self._ours

    def missing(self) -> Sequence[str]:
        """What keeps the node from serving."""
        if not self.serving:
            return ("the node stops",) if self.running else ("the node starts",)
        return ()

    def setServiceParent(self, parent: Any) -> None:
        """Under twistd: the log goes where the configuration says, before anything is logged."""
        if self.observer is not None:
            observe(parent, self.observer)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def reconfigure(self, configuration: Configuration) -> None:
        """Settings that need no restart take effect from here on.

        Raises CertificateError when a certificate cannot be read: the one before stays, all other settings are new.
        """
        self.configuration = configuration
        self.derived = derive(configuration, self.push.rules())
        if self.observer is not None:
            self.observer.configure(configuration[LogSettings])
        self.uppers.configure()
        self._locate()
        self.guard.configure(configuration[SecuritySettings])
        self.admin.configure(configuration[AdminSettings])
        # Last, since it may raise CertificateError when everything else is in force.
        transport = configuration[TransportSettings]
        self.transports.configure(configuration.each(ListenSettings) or DEFAULT_LISTENS, transport.limits())

    def _metric_failed(self, name: str, error: Exception) -> None:
        log.error("metric {name} failed: {error}", name=name, error=error)

    def _locate(self) -> Deferred[None]:
        return self.ways.locate_all().addCallback(lambda _: self.guard.befriend(self.servers.hosts()))

    def _look_at_tables(self) -> Deferred[None]:
        """What operators changed in the database."""
        looked = self.uppers.look().addCallback(lambda changed: self._locate() if changed else None)
        looked.addErrback(lambda failure: log.failure("the tables of routing could not be read", failure))
        barred = self.store.report(queries.barred).addCallback(self.registrar.bar)
        barred.addErrback(lambda failure: log.failure("the barred users could not be read", failure))
        return gatherResults([looked, barred]).addCallback(lambda _: None)

    def asleep(self, device: Device, subscriber: Subscriber) -> bool:
        """Whether a push may ask this device to register again: it is not here, and the settings let one go out."""
        awake = self.switch.reach(self.driver.clock(), device).awake
        return not awake and self.policy.pushes(PushType.REFRESH, device, awake, subscriber)

    def load(self) -> int:
        """How busy the node is: 0 (low) to 4 (extreme)."""
        writes, reads, _ = self.store.waiting
        transactions = len(self.driver.table) / self.configuration[ProxySettings].transactions
        return level(self.lag.lasting(), transactions, writes / WRITES_WAITING, reads / READS_WAITING)

    def rerouted(self, user: User, row: UpperRegistration) -> None:
        """A refresh may have brought a user another Service-Route: its next request takes it."""
        routes = tuple(split_commas(row.service_route.encode()))
        self.registrar.live.reroute(user.username, user.domain, row.upper, routes)

    def needs_wake(self, user: User, row: UpperRegistration) -> None:
        """A registration that only its app can keep alive."""
        self.operations.wake_to_refresh(user.id)
