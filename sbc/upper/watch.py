"""Watches over the upper servers: sends OPTIONS, hears of real requests, tells who is to be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.logger import Logger

from sbc.sip.build import make_request
from sbc.sip.message import Response
from sbc.transaction.client import ClientTransaction
from sbc.transaction.driver import Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transaction.retry import Retry
from sbc.transport.flow import Flow
from sbc.upper.face import via
from sbc.upper.health import DOWN, Health
from sbc.upper.servers import UpperServer, UpperServers
from sbc.upper.ways import Ways, on_flow

log = Logger()

LOOK = 0.5
"""Seconds between two looks for OPTIONS that are due."""
SETTLED = 3600.0
"""Seconds after a server came back, or this node started, until the registrations of its domain are taken to be where
they belong: the time in which most of a million of them are moved."""
PATIENCE = 4.0
"""Seconds that an OPTIONS may take: four times the round trip of a satellite, with two repetitions inside."""


class Listener(Protocol):
    """Who wants to know that servers go and come."""

    def upper_changed(self, server: UpperServer, health: Health) -> None:
        """The server is down now, or up again."""


class Watch:
    """The health of all servers. `tick` is called every `LOOK` seconds; `interval` gives the setting, 0 for never."""

    def __init__(
        self,
        *,
        servers: UpperServers,
        driver: Driver,
        ways: Ways,
        identifiers: Identifiers,
        interval: Callable[[], float],
        clock_at: Callable[[], float],
    ) -> None:
        self.servers = servers
        self.driver = driver
        self.ways = ways
        self.identifiers = identifiers
        self.clock_at = clock_at
        self.listeners: list[Listener] = []
        self._interval = interval
        self._known: dict[str, Health] = {}
        self._fallen: set[str] = set()

    def of(self, server: UpperServer) -> Health:
        """What is known of a server."""
        health = self._known.get(server.name)
        if health is None:
            health = self._known[server.name] = Health(self._interval(), self.clock_at())
        return health

    def down(self, server: UpperServer) -> bool:
        """Whether the server is to be used only when there is no other."""
        health = self._known.get(server.name)
        return health is not None and health.down

    def settled(self, servers: Sequence[UpperServer]) -> bool:
        """Whether none of these servers has been in trouble for a good while."""
        now_at = self.clock_at()
        return all(self.of(server).settled(SETTLED, now_at) for server in servers)

    def tick(self) -> None:
        """Ask every server whose turn it is; forget those that are not configured any more."""
        interval, now = self._interval(), self.driver.clock()
        for server in self.servers.ordered:
            health = self.of(server)
            health.interval = interval
            if health.due(now):
                _Probe(self, server, now)
        for name in [name for name in self._known if self.servers.get(name) is None]:
            del self._known[name]

    def served(self, server: UpperServer, status: int, flow: Flow | None = None) -> None:
        """A real request got its first response from this server; `flow`: by which."""
        if status == 503 and flow is not None and self.ways.failed(server, flow.peer):
            return  # RFC 3263 section 4.3: that address is out of service, not yet the server
        health = self.of(server)
        self.told(server, health, health.served(status, self.clock_at()))

    def silent(self, server: UpperServer, reason: str, flow: Flow | None = None) -> None:
        """A real request got no response from this server, or could not be sent to it; `flow`: by which it went.

        As long as the server has an address that was not tried in vain it is in no trouble.
        """
        if flow is not None and self.ways.failed(server, flow.peer):
            log.info("upper server {name} is silent at {peer}: {why}", name=server.name, peer=flow.peer, why=reason)
            return
        health = self.of(server)
        self.told(server, health, health.silent(reason, self.clock_at()))

    def told(self, server: UpperServer, health: Health, changed: bool) -> None:
        """Something was learnt of a server; those who listen hear when it went down, and when it came back."""
        if not changed:
            return
        if health.state is DOWN:
            log.warn("upper server {name} is down: {reason}", name=server.name, reason=health.reason)
            self._fallen.add(server.name)
        elif server.name in self._fallen:
            log.info("upper server {name} is up again", name=server.name)
            self._fallen.discard(server.name)
        else:
            return
        for listener in self.listeners:
            listener.upper_changed(server, health)


class _Probe:
    """One OPTIONS on its way."""

    __slots__ = ("flow", "sent", "server", "watch")

    def __init__(self, watch: Watch, server: UpperServer, now: float) -> None:
        self.watch = watch
        self.server = server
        self.sent = now
        self.flow: Flow | None = None
        on_flow(watch.ways.flow(server), self._send, self._lost)

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        if response.status < 200:
            return
        health = self.watch.of(self.server)
        changed = health.probed(response.status, now - self.sent, self.watch.clock_at())
        self.watch.told(self.server, health, changed)

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        self._lost("no answer to OPTIONS")

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        self._lost(reason)

    def _lost(self, reason: str) -> None:
        self.watch.silent(self.server, reason, self.flow)

    def _send(self, flow: Flow) -> None:
        watch, self.flow = self.watch, flow
        host = self.server.uri.render().partition(b";")[0]
        us = b"<sip:%s>" % flow.listener.uri_host
        request = make_request(
            b"OPTIONS",
            host,
            via=via(flow.listener, watch.identifiers.branch()),
            from_=us + b";tag=" + watch.identifiers.tag(),
            to=b"<%s>" % host,
            call_id=watch.identifiers.call_id(),
            cseq=1,
            headers=[(b"Contact", us), (b"Accept", b"application/sdp")],
        )
        self.sent = watch.driver.clock()
        watch.driver.send(request, flow, self, Retry(give_up=PATIENCE))
