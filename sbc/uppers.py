"""The upper side of a node put together: servers, ways, health; and how operators see it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from ipaddress import ip_network
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from sbc.admin.ports import UpperView
from sbc.observe.metrics import Metrics, Reading
from sbc.security.targets import Targets
from sbc.settings import Configuration
from sbc.sip.errors import RemoteError
from sbc.sip.uri import Uri
from sbc.store.housekeeping import CHUNK
from sbc.store.pacing import BringForward, EndKeeping
from sbc.store.queries import chosen_uppers, routes, upper_servers
from sbc.store.service import Store
from sbc.transaction.driver import Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transport.flow import Destination, Flow
from sbc.transport.resolver import Resolver
from sbc.upper.health import Health
from sbc.upper.router import Router, Routing
from sbc.upper.rules import MAX_RULES, read_rule
from sbc.upper.selection import CHOSEN, Choice, Selection
from sbc.upper.servers import MAX_CHOSEN, UpperServer, UpperServers, server_from
from sbc.upper.settings import RouteSettings, RoutingSettings, UpperSettings
from sbc.upper.watch import Watch
from sbc.upper.ways import Ways

log = Logger()

MOVE_OVER = 5.0
"""Seconds over which registrations are spread that have to move because a server went down or came back: calls for them
find nobody until then. The refresher keeps to its rate besides, which is what counts where there are many."""
READ_AGAIN = 30.0
"""Seconds between two looks at the tables of upper servers and routes."""

T = TypeVar("T")


class Uppers:
    """What a node knows of its upper servers. `configuration` gives the settings as they are now, `own` the addresses
    that this node is reached at."""

    def __init__(
        self,
        *,
        configuration: Callable[[], Configuration],
        resolver: Resolver,
        connect: Callable[[Destination], Deferred[Flow]],
        fitting: Callable[[Flow, int], Deferred[Flow]],
        own: Callable[[], frozenset[bytes]],
        driver: Driver,
        identifiers: Identifiers,
        store: Store,
        metrics: Metrics,
        clock_at: Callable[[], float],
    ) -> None:
        self._configuration = configuration
        self._own = own
        self._store = store
        self._clock_at = clock_at
        self._rows: list[dict[str, Any]] = []
        self._rules: list[dict[str, Any]] = []
        self.selection: Selection | None = None
        self.servers = UpperServers(())
        self.ways = Ways(self.servers, resolver, connect, self._permits, fitting, driver.clock)
        self.watch = Watch(
            servers=self.servers,
            driver=driver,
            ways=self.ways,
            identifiers=identifiers,
            interval=lambda: configuration()[RoutingSettings].health_interval,
            clock_at=clock_at,
        )
        self.router = Router(servers=self.servers, watch=self.watch, settings=lambda: self.routing, clock=driver.clock)
        self.watch.listeners.append(self)
        metrics.watch("sbc_upper_up", self._up)
        metrics.watch("sbc_upper_round_trip_seconds", self._round_trips)
        self.configure()

    def configure(self) -> None:
        """The settings, or the tables, have changed. What cannot be read in a table is left out and told of."""
        settings = self._configuration()[RoutingSettings]
        self.routing = Routing(
            lookup=settings.upper_server_lookup,
            for_register=settings.for_register,
            quality=settings.quality,
            window=settings.quality_window,
            local_calls=settings.local_calls,
            local_fallback=settings.local_fallback,
        )
        self.selection = Selection(settings.client_uppers) if settings.allow_client_upper_selection else None
        servers = {each.name: server_from(each) for each in self._configuration().each(UpperSettings)}
        for row in self._rows:
            server = _read("upper server", row, server_of)
            if server is not None:
                servers[server.name] = server
        former = {server.name: server.uri for server in self.servers.ordered}
        self.servers.configure(servers.values())
        self.ways.forget()
        rules = [read_rule(_given(each)) for each in self._configuration().each(RouteSettings)]
        tabled = [rule for row in self._rules if (rule := _read("route", row, read_rule)) is not None]
        self.router.rules = tuple([*rules, *tabled][:MAX_RULES])
        elsewhere = [server for server in self.servers.ordered if former.get(server.name, server.uri) != server.uri]
        self._move(elsewhere, failing=False)  # their registrations are at the old address

    def look(self) -> Deferred[bool]:
        """Read the tables `upper_servers` and `routes`; fires with whether anything has changed there."""
        return self._store.report(lambda connection: (upper_servers(connection), routes(connection))).addCallback(
            self._looked
        )

    def _looked(self, found: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> bool:
        if found == (self._rows, self._rules):
            return False
        self._rows, self._rules = found
        self.configure()
        return True

    def choose(self, choice: Choice) -> UpperServer | None:
        """The server that a client asks for; None: clients choose nothing here. Raises RemoteError 403 or 400."""
        if self.selection is None or not choice.server:
            return None
        configured = self.servers.by_domain(choice.server.strip().lower().encode())
        if configured is not None and choice.proxy in ("", choice.server):
            return configured
        server = self.selection.chosen(choice, self.servers.domains)
        return self.servers.get(server.name) or self.servers.adopt(server)

    def restore(self, name: str, domain: str) -> UpperServer | None:
        """A server that a client chose before the last restart, if it still may."""
        if self.selection is None or not name.startswith(CHOSEN):
            return None
        try:
            server = self.selection.chosen(Choice(name, "", domain), self.servers.domains)
        except RemoteError:
            return None
        return self.servers.adopt(server)

    def resume(self, node: str, setting: str | float) -> Deferred[None]:
        """The node has started: what it kept goes on as `push.resume_on_start` says, and the servers that clients chose
        are known again."""
        seen_before = {"auto": None, "off": math.inf}.get(setting) if isinstance(setting, str) else setting
        if isinstance(setting, float):
            seen_before = self._clock_at() - setting
        ended = self._end(node, seen_before) if seen_before is not None else succeed(None)
        if self.selection is not None:
            chosen = self._store.report(lambda connection: chosen_uppers(connection, MAX_CHOSEN))
            chosen.addCallback(self._restored).addErrback(
                lambda failure: log.failure("the servers that clients chose could not be read", failure)
            )
        return ended

    def _restored(self, found: Sequence[tuple[str, str]]) -> None:
        for name, domain in found:
            server = self.restore(name, domain)
            if server is not None:
                self.ways.locate(server)

    def _end(self, node: str, seen_before: float) -> Deferred[None]:
        def more(count: int) -> Deferred[None] | None:
            return self._end(node, seen_before) if count >= CHUNK else None

        return self._store.write(EndKeeping(node=node, seen_before=seen_before)).addCallback(more)

    def _permits(self, host: str, address: str) -> bool:
        if self.selection is None:
            return False
        own = {each.decode("ascii", "replace") for each in self._own()}
        if address in own:
            return False
        return (
            self.selection.lists(host)
            or (self.selection.empty and Targets(self.selection.networks, own).allowed(address))
            or self.selection.lists(address)
        )

    def view(self) -> Sequence[UpperView]:
        """The upper servers as operators see them."""
        return [self._view(server, self.watch.of(server)) for server in self.servers.ordered]

    def upper_changed(self, server: UpperServer, health: Health) -> None:
        """Registrations that would now be better off elsewhere are refreshed soon, and go there.

        A server that went down: its own, where another can take them. One that came back: those at other servers of
        its domain, and its own that failed.
        """
        others = [each for each in self.servers.fellows(server) if each is not server]
        if health.down:
            self._move([server] if others else [], failing=False)
        else:
            self._move(others, failing=False)
            self._move([server], failing=True)

    def _move(self, servers: Sequence[UpperServer], *, failing: bool) -> None:
        for server in servers:
            self._forward(BringForward(upper=server.name, at=self._clock_at(), over=MOVE_OVER, failing=failing))

    def _forward(self, moved: BringForward) -> None:
        def again(after: int) -> None:
            if after:
                self._forward(replace(moved, after=after))

        written = self._store.write(moved).addCallback(again)
        written.addErrback(lambda failure: log.failure("registrations could not be moved", failure))

    def _view(self, server: UpperServer, health: Health) -> UpperView:
        return UpperView(
            name=server.name,
            uri=server.uri.render().decode(),
            domain=server.domain.decode(),
            priority=server.priority,
            weight=server.weight,
            state=health.state,
            reason=health.reason,
            since_at=health.since_at,
            round_trip=health.round_trip,
        )

    def _up(self) -> Reading:
        return {(server.name,): float(not self.watch.down(server)) for server in self.servers.ordered}

    def _round_trips(self) -> Reading:
        found = ((server.name, self.watch.of(server).round_trip) for server in self.servers.ordered)
        return {(name,): seconds for name, seconds in found if seconds is not None}


def server_of(row: dict[str, Any]) -> UpperServer:
    """The server that a row of `upper_servers` describes. ValueError for what is wrong."""
    uri = Uri.parse(str(row["uri"]).encode())
    if not uri.is_sip or uri.user is not None:
        raise ValueError(f"uri: {row['uri']!r} is no SIP URI of a server")
    trust = tuple(ip_network(each.strip(), strict=False) for each in str(row["trust"]).split(",") if each.strip())
    domain = str(row["domain"]).lower().encode() or uri.host.lower()
    return UpperServer(str(row["name"]), uri, domain, int(row["priority"]), int(row["weight"]), trust)


def _given(settings: RouteSettings) -> dict[str, Any]:
    return {each.name: getattr(settings, each.name) for each in fields(settings)}


def _read(what: str, row: dict[str, Any], read: Callable[[dict[str, Any]], T]) -> T | None:
    try:
        return read(row)
    except (ValueError, RemoteError) as mistake:
        log.error("{what} {name} in the database: {mistake}", what=what, name=row["name"], mistake=mistake)
        return None
