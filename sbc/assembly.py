"""Puts the rooms together: the only module that knows every class. `service.py` starts what is built here."""

from __future__ import annotations

import gc
import os
import random
import time
from collections import Counter as TallyOf
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.admin.build import admin_service
from sbc.admin.ports import Node
from sbc.admin.settings import AdminSettings
from sbc.bookkeeping import BanRecords, ban_of
from sbc.counted import Counted
from sbc.credentials import ApiKeys
from sbc.derived import derive
from sbc.media.calls import MediaCalls
from sbc.media.python import PythonEngine
from sbc.media.settings import MediaSettings
from sbc.observe.calllog import Batch, CallLog
from sbc.observe.exposition import Exposition
from sbc.observe.flushing import Flushing
from sbc.observe.lag import LagProbe
from sbc.observe.load import level
from sbc.observe.log import LogObserver, observe
from sbc.observe.metrics import Metrics, Reading
from sbc.observe.settings import LogSettings
from sbc.observe.trace import TraceRing
from sbc.operations import Operations
from sbc.proxy.border import Border
from sbc.proxy.calls import WATCH, Calls
from sbc.proxy.dialog import Dialogs
from sbc.proxy.lasting import SETTLE, Lasting
from sbc.proxy.mailbox import LOOK_AGAIN, Mailbox
from sbc.proxy.settings import ProxySettings
from sbc.proxy.sleepers import Sleepers
from sbc.proxy.switch import Switch
from sbc.proxy.target import push_tokens
from sbc.proxy.waiting import Waiting
from sbc.push.decide import decide
from sbc.push.indication import Serving
from sbc.push.orders import PushType
from sbc.push.service import PushService
from sbc.push.settings import PushSettings
from sbc.recording import PushRecords, push_configuration
from sbc.registrar.flows import LiveFlows
from sbc.registrar.ledger import Ledger
from sbc.registrar.registrar import Registrar
from sbc.security.guard import Guard
from sbc.security.settings import SecuritySettings
from sbc.settings import Configuration, NodeSettings
from sbc.store import queries
from sbc.store.housekeeping import ExpireBindings
from sbc.store.journal import SaveCalls
from sbc.store.records import Subscriber, UpperRegistration, User
from sbc.store.records import Target as Device
from sbc.store.secret import Secret
from sbc.store.service import READS_WAITING, WRITES_WAITING, Store
from sbc.store.settings import DatabaseSettings
from sbc.store.upkeep import Upkeep
from sbc.transaction.driver import TICK, Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transaction.table import TransactionTable
from sbc.transport.flow import Flow
from sbc.transport.limits import BANNED
from sbc.transport.resolver import Resolver
from sbc.transport.service import Transports
from sbc.transport.settings import DEFAULT_LISTENS, ListenSettings, TransportSettings
from sbc.transport.tls import ClientTrust
from sbc.upper.refresher import POLL, Refresher
from sbc.upper.watch import LOOK
from sbc.upper.ways import RESOLVE_AGAIN
from sbc.uppers import READ_AGAIN, Uppers

log = Logger()

DRAIN = 10.0
"""Seconds that calls may go on after SIGTERM before both sides get a BYE; new ones are refused meanwhile."""

GC_THRESHOLDS = (50_000, 20, 50)
"""Allocations between two collections: what is there at the start is frozen, transactions form no cycles."""

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
        self._loops: list[LoopingCall] = []
        state = Path(configuration[NodeSettings].state)
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = Secret.from_file(state / "secret.key")
        self.metrics = Metrics()
        self.trace = TraceRing(configuration[LogSettings].trace_bytes)
        if configuration[LogSettings].trace:
            self.trace.start()
        self.store = Store(reactor, configuration[DatabaseSettings].url, secret)
        self.call_log = CallLog(self._write_calls)
        self.identifiers = Identifiers(os.urandom)
        table = TransactionTable(limit=configuration[ProxySettings].transactions)
        self.driver = Driver(table, time.monotonic, self._sent)
        self.guard = Guard(
            configuration[SecuritySettings], BanRecords(self.store, lambda source: self.transports.cut(source, BANNED))
        )
        transport = configuration[TransportSettings]
        resolver = Resolver(reactor, nameservers=transport.dns_servers())
        self.uppers = Uppers(
            configuration=lambda: self.configuration,
            resolver=resolver,
            connect=lambda where: self.transports.connect(where, side="upper"),
            own=self.ours,
            driver=self.driver,
            identifiers=self.identifiers,
            store=self.store,
            metrics=self.metrics,
            clock_at=time.time,
        )
        self.servers, self.ways = self.uppers.servers, self.uppers.ways
        records = PushRecords(self.store, self.metrics)
        self.push = PushService(reactor, push_configuration(configuration), recorder=records, meter=records)
        self.derived = derive(configuration, self.push.rules())
        self.engine = PythonEngine(configuration[MediaSettings], reactor)
        self.media = MediaCalls(configuration[MediaSettings], self.engine)
        self.calls = self._make_calls()
        self.registrar = self._make_registrar(secret)
        self.refresher = self._make_refresher()
        self.switch = self._make_switch()
        self.border = Border(
            driver=self.driver,
            guard=self.guard,
            metrics=self.metrics,
            trace=self.trace,
            gone=lambda flow: self.registrar.live.leave(flow.token),
            clock_at=time.time,
            udp_flow=lambda flow, peer: self.transports.udp_flow(flow.listener, peer),
        )
        trust = ClientTrust(
            ca_file=transport.ca_file, verify=transport.verify, certificate=transport.certificate, key=transport.key
        )
        listens = configuration.each(ListenSettings) or DEFAULT_LISTENS
        self.transports = Transports(reactor, listens, self.border, transport.limits(), gate=self.guard, trust=trust)
        self.switch.transports = self.transports
        self.media.on_silence = self.calls.silent
        self.operations = Operations(self, read)
        self._offspring(state)
        self._watch()

    def _make_calls(self) -> Calls:
        dialogs, waiting = Dialogs(), Waiting()
        self.lasting = Lasting(
            dialogs=dialogs,
            store=self.store,
            log=self.call_log,
            node=self.configuration[NodeSettings].name,
            clock=time.monotonic,
            clock_at=time.time,
            flow=lambda token: self.transports.flow(token),
            media=self.media,
        )
        return Calls(
            driver=self.driver,
            ways=self.ways,
            identifiers=self.identifiers,
            media=self.media,
            push=self.push,
            log=self.call_log,
            metrics=self.metrics,
            settings=lambda: self.derived.calls,
            ours=self.ours,
            clock_at=time.time,
            call_later=self.reactor.callLater,
            dialogs=dialogs,
            waiting=waiting,
            lasting=self.lasting,
            uppers=self.uppers.watch,
            router=self.uppers.router,
            mailbox=Mailbox(
                store=self.store,
                driver=self.driver,
                identifiers=self.identifiers,
                log=self.call_log,
                keep=self._keep_messages,
                clock_at=time.time,
            ),
            calls_off=self._calls_off,
            sleepers=Sleepers(
                store=self.store,
                push=self.push,
                waiting=waiting,
                pushes=self._pushes,
                clock=self.driver.clock,
                clock_at=time.time,
                call_later=self.reactor.callLater,
            ),
        )

    def _make_registrar(self, secret: Secret) -> Registrar:
        return Registrar(
            driver=self.driver,
            servers=self.servers,
            watch=self.uppers.watch,
            router=self.uppers.router,
            choose=self.uppers.choose,
            store=self.store,
            identifiers=self.identifiers,
            live=LiveFlows(),
            rules=lambda: self.derived.rules,
            secret=secret.derive("upper contact"),
            nonce_secret=secret.derive("nonces"),
            purr_secret=secret.derive("purr"),
            serving=self._serving,
            ours=self.ours,
            uniform=random.random,
            clock_at=time.time,
            event=lambda call_id, kind, detail: self.call_log.event(call_id, kind, detail, time.time()),
            vouch=self.guard.bans.vouch,
            offence=lambda flow, kind: self.border.offence(flow, kind),
            udp_flow=lambda flow, peer: self.transports.udp_flow(flow.listener, peer),
        )

    def _make_refresher(self) -> Refresher:
        return Refresher(
            ledger=Ledger(self.store, lambda: self.derived.ledger, self._needs_wake),
            driver=self.driver,
            watch=self.uppers.watch,
            router=self.uppers.router,
            restore=self.uppers.restore,
            identifiers=self.identifiers,
            pace=lambda: self.derived.pace,
            call_later=self.reactor.callLater,
            uniform=random.random,
        )

    def _make_switch(self) -> Switch:
        return Switch(
            driver=self.driver,
            registrar=self.registrar,
            calls=self.calls,
            servers=self.servers,
            store=self.store,
            metrics=self.metrics,
            ours=self.ours,
            udp_awake=lambda: self.derived.udp_awake,
            pushes=self._pushes,
            clock_at=time.time,
            node=self.configuration[NodeSettings].name,
            accepting=lambda: self.serving,
            offence=lambda flow, kind: self.border.offence(flow, kind),
        )

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

    def _watch(self) -> None:
        """The gauges."""
        watch = self.metrics.watch
        engine = self.engine
        watch("sbc_transactions", lambda: len(self.driver.table))
        watch("sbc_calls", lambda: len(self.call_log))
        watch("sbc_waiting_requests", lambda: len(self.calls.waiting))
        watch("sbc_bans", lambda: len(self.guard.bans))
        watch("sbc_event_loop_lag_seconds", self.lag.worst)
        watch("sbc_load", self.load)
        watch("sbc_bindings", self.counted.bindings)
        watch("sbc_upper_registrations", self.counted.registrations)
        watch("sbc_call_log_dropped_total", lambda: self.call_log.dropped)
        watch("sbc_flows", self._flows)
        watch("sbc_relay_packets_total", lambda: engine.packets)
        watch("sbc_relay_streams", lambda: {(engine.name,): engine.streams})

    # Life

    def startService(self) -> None:
        """Start everything; nothing is heard before the store is ready."""
        super().startService()  # type: ignore[no-untyped-call]
        hosts = {host for each in self.transports.listeners for host in (each.advertise_host, each.host.encode())}
        self._ours = frozenset(host.strip(b"[]").lower() for host in hosts) - {b"0.0.0.0", b"::"}
        self.lasting.restore().addErrback(lambda failure: log.failure("dialogs could not be restored", failure))
        self._loop(self.driver.tick, TICK)
        self._loop(self.lasting.settle, SETTLE)
        self._loop(self.calls.mailbox.look, LOOK_AGAIN)
        self._loop(self.calls.watch, WATCH)
        name = self.configuration[NodeSettings].name
        resumed = self.uppers.resume(name, self.configuration[PushSettings].resume_on_start)
        resumed.addErrback(lambda failure: log.failure("not all registrations were ended as set", failure))
        resumed.addCallback(lambda _: self._loop(self.refresher.tick, POLL) if self.running else None)
        self._loop(self._locate, RESOLVE_AGAIN)
        self._loop(self.uppers.watch.tick, LOOK)
        self._loop(self._look_at_tables, READ_AGAIN)
        self._loop(self._expire, EXPIRE_EVERY)
        self._loop(lambda: self.registrar.live.age(time.monotonic()), 1.0)
        self._loop(lambda: self.guard.bans.expire(time.time()), 1.0)
        bans = self.store.report(lambda connection: queries.bans(connection, time.time()))
        bans.addCallback(lambda rows: self.guard.bans.restore(map(ban_of, rows), time.time()))
        bans.addErrback(lambda failure: log.failure("the bans could not be read", failure))
        self.serving = True
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    def stopService(self) -> Deferred[None]:
        """Drain: no new calls; those there are may end by themselves for `DRAIN` seconds, then both sides get a BYE."""
        self.serving = False
        return self._drained().addCallback(self._stop)

    def _drained(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        patience = self.reactor.seconds() + DRAIN

        def look() -> None:
            if len(self.call_log) and self.reactor.seconds() < patience:
                self.reactor.callLater(0.1, look)
                return
            try:
                self.calls.end_all("the SBC stops")
            finally:
                done.callback(None)

        look()
        return done

    def _stop(self, _: None) -> Deferred[None]:
        for loop in self._loops:
            loop.stop()
        self._loops.clear()
        stopped: Deferred[None] = super().stopService()  # type: ignore[no-untyped-call]
        return stopped

    def _loop(self, function: Callable[[], object], seconds: float) -> None:
        def turn() -> object:
            try:
                return function()
            except Exception:  # noqa: BLE001 - a clock goes on whatever happens at one of its strokes
                log.failure("what a clock of the SBC started met a bug")
                return None

        loop = LoopingCall(turn)
        loop.clock = self.reactor
        loop.start(seconds).addErrback(lambda failure: log.failure("a clock of the SBC stopped", failure))
        self._loops.append(loop)

    def _flows(self) -> Reading:
        held = TallyOf(connection.listener.transport for connection in self.transports.connections.all)
        return {(transport,): float(count) for transport, count in held.items()}

    # What the rooms ask

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

    def _sent(self, data: bytes, flow: Flow) -> None:
        self.border.sent(data, flow)

    def _write_calls(self, batch: Batch) -> None:
        node = self.configuration[NodeSettings].name
        written = self.store.write(SaveCalls(batch.calls, batch.events, node))
        written.addErrback(self._calls_lost, batch)

    def _calls_lost(self, failure: Failure, batch: Batch) -> None:
        self.call_log.lost(batch)
        log.failure("calls could not be written", failure)

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

    def _expire(self) -> None:
        expired = self.store.write(ExpireBindings(time.time()))
        expired.addErrback(lambda failure: log.failure("expired bindings could not be removed", failure))

    def _keep_messages(self) -> float | None:
        keeps = self.configuration[ProxySettings].store_messages
        return self.configuration[DatabaseSettings].keep_messages if keeps else None

    def _serving(self) -> Serving:
        push = self.configuration[PushSettings]
        return Serving(
            providers=self.push.providers(),
            ready=self.push.ready,
            vapid=self.push.vapid_key(),
            send_555=push.send_555,
            short=push.short_registration,
        )

    def _pushes(self, kind: PushType, device: Device, awake: bool, subscriber: Subscriber) -> bool:
        offline = time.time() - subscriber.user.last_seen_at
        settings = self.configuration[PushSettings]
        ready = any(self.push.ready(token) for token in push_tokens(device))
        return decide(settings, kind, awake=awake, load=self.load(), ready=ready, offline_for=offline).push

    def _calls_off(self) -> bool:
        return decide(self.configuration[PushSettings], PushType.CANCEL, awake=False, load=self.load()).push

    def asleep(self, device: Device, subscriber: Subscriber) -> bool:
        """Whether a push may ask this device to register again: it is not here, and the settings let one go out."""
        awake = self.switch.reach(self.driver.clock(), device).awake
        return not awake and self._pushes(PushType.REFRESH, device, awake, subscriber)

    def load(self) -> int:
        """How busy the node is: 0 (low) to 4 (extreme)."""
        writes, reads, _ = self.store.waiting
        transactions = len(self.driver.table) / self.configuration[ProxySettings].transactions
        return level(self.lag.worst(), transactions, writes / WRITES_WAITING, reads / READS_WAITING)

    def _needs_wake(self, user: User, row: UpperRegistration) -> None:
        self.operations.wake_to_refresh(user.id)
