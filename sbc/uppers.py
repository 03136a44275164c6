"""The upper side of a node put together: servers, ways, health; and how operators see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sbc.admin.ports import UpperView
from sbc.observe.metrics import Metrics, Reading
from sbc.settings import Configuration
from sbc.store.pacing import BringForward
from sbc.store.service import Store
from sbc.transaction.driver import Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transport.flow import Destination, Flow
from sbc.transport.resolver import Resolver
from sbc.upper.health import Health
from sbc.upper.servers import UpperServer, UpperServers, server_from
from sbc.upper.settings import RoutingSettings, UpperSettings
from sbc.upper.watch import Watch
from sbc.upper.ways import Ways

log = Logger()

MOVE_OVER = 30.0
"""Seconds over which registrations are spread that have to move because a server went down or came back; the refresher
keeps to its rate besides."""


class Uppers:
    """What a node knows of its upper servers. `configuration` gives the settings as they are now."""

    def __init__(
        self,
        *,
        configuration: Callable[[], Configuration],
        resolver: Resolver,
        connect: Callable[[Destination], Deferred[Flow]],
        driver: Driver,
        identifiers: Identifiers,
        store: Store,
        metrics: Metrics,
        clock_at: Callable[[], float],
    ) -> None:
        self._configuration = configuration
        self._store = store
        self._clock_at = clock_at
        self.servers = UpperServers(server_from(each) for each in configuration().each(UpperSettings))
        self.ways = Ways(self.servers, resolver, connect)
        self.watch = Watch(
            servers=self.servers,
            driver=driver,
            ways=self.ways,
            identifiers=identifiers,
            interval=lambda: configuration()[RoutingSettings].health_interval,
            clock_at=clock_at,
        )
        self.watch.listeners.append(self)
        metrics.watch("sbc_upper_up", self._up)
        metrics.watch("sbc_upper_round_trip_seconds", self._round_trips)

    def configure(self) -> None:
        """The settings have changed."""
        self.servers.configure(server_from(each) for each in self._configuration().each(UpperSettings))
        self.ways.forget()

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
        def again(count: int) -> None:
            if count >= moved.limit:
                self._forward(moved)

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
