"""One place that takes pushes: its connections kept warm, one queue, one back-off.

``post`` is answered once: with an ``Answer``, or with a ``LostError``. HTTP/2 where the server's ALPN says so (or,
without TLS, where *plain_http2* says that it is known), else HTTP/1.1.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from sbc.push.connect import Connector, ForbiddenAddressError, Place
from sbc.push.exchange import Exchange, LostError
from sbc.push.http1 import Http1Client
from sbc.push.http2 import Http2Connection
from sbc.push.reactors import Timer
from sbc.push.waiting import Waiting
from sbc.push.wire import Answer, Post

# Requests waiting for a connection or for room on one: at 1,000 pushes a second two seconds' worth.
MAX_WAITING = 2000
# Seconds between attempts to connect: floor, ceiling and growth of the back-off.
BACKOFF_FLOOR = 0.2
BACKOFF_CEILING = 30.0
BACKOFF_FACTOR = 2.0
# Seconds after which a connection that nobody wants warm is closed.
IDLE = 60.0

OVERFLOW = "the queue is full"
TIMED_OUT = "no answer in time"


class Origin:
    """See the module. *warm*: connected before the first request, and again whenever the connection is lost."""

    def __init__(
        self,
        reactor: Any,
        connector: Connector,
        place: Place,
        *,
        certificate: bytes = b"",
        connections: int = 1,
        warm: bool = True,
        plain_http2: bool = False,
        random: Random,
    ) -> None:
        self._reactor, self._connector, self.place = reactor, connector, place
        self._certificate, self._wanted, self._warm, self._random = certificate, connections, warm, random
        self._waiting: Waiting[Exchange] = Waiting(MAX_WAITING)
        self._connections: list[Http2Connection] = []
        self._connecting: set[Deferred[Any]] = set()
        self._backoff = 0.0
        self._again: Timer | None = None
        self._idle: Timer | None = None
        self._http1: Http1Client | None = None
        if not place.secure and not plain_http2:
            self._use_http1()
        self._closed = False
        self.last_error = ""

    # What the sender calls.

    def start(self) -> None:
        """Connect, if this place is to be kept warm."""
        if self._warm and not self._closed:
            self._connect()

    @property
    def connected(self) -> bool:
        return self._http1 is not None or any(connection.ready for connection in self._connections)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def post(self, post: Post, rank: int, within: float, done: Callable[[Answer | LostError], None]) -> Exchange:
        """Send *post*; *done* hears of the outcome once, after *within* seconds at the latest."""
        exchange = Exchange(post, rank, done)
        exchange.timer = self._reactor.callLater(within, self._too_late, exchange)
        connection = self._with_room()
        if connection is not None:
            connection.send(exchange)
        elif self._http1 is not None and self._http1.room > 0:
            self._http1.send(exchange, self._pump)
        else:
            dropped = self._waiting.put(exchange, rank)
            if dropped is not None:
                dropped.finish(LostError(OVERFLOW, processed=False, final=True))
            self._connect()
        return exchange

    def retire(self, connection: Http2Connection | None, reason: str) -> None:
        """Stop using *connection* (the provider said so) and get another."""
        if connection is not None and not connection.retired:
            connection.retire(reason)

    def stop(self) -> None:
        """Close all; what waits fails."""
        self._closed = True
        for timer in (self._again, self._idle):
            if timer is not None and timer.active():
                timer.cancel()
        while (exchange := self._waiting.take()) is not None:
            exchange.finish(LostError("shutting down", processed=False))
        for connecting in list(self._connecting):
            connecting.cancel()
        for connection in list(self._connections):
            connection.retire("shutting down")
        if self._http1 is not None:
            self._http1.close()

    # What a connection calls.

    def connection_ready(self, connection: Http2Connection) -> None:
        self._backoff = 0.0
        self.last_error = ""

    def connection_has_room(self, connection: Http2Connection) -> None:
        while len(self._waiting) and connection.room > 0:
            exchange = self._waiting.take()
            if exchange is not None:
                connection.send(exchange)
        if not self._warm and not connection.busy:
            self._close_when_idle(connection)

    def connection_retired(self, connection: Http2Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
        self._replace(connection)

    def connection_gone(self, connection: Http2Connection, reason: str) -> None:
        # One that was retired in order has left the list before.
        surprise = connection in self._connections
        if surprise:
            self._connections.remove(connection)
        if self._closed:
            return
        self.last_error = reason
        if not self._connections and not self._connecting and not connection.useful:
            self._fail_waiting(reason)
        if surprise:
            self._replace(connection)

    def speaks_http1(self, connection: Http2Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
        self._use_http1()
        self._pump()

    # Inside.

    def _with_room(self) -> Http2Connection | None:
        best, most = None, 0
        for connection in self._connections:
            room = connection.room
            if room > most:
                best, most = connection, room
        return best

    def _pump(self) -> None:
        while self._http1 is not None and self._http1.room > 0:
            exchange = self._waiting.take()
            if exchange is None:
                return
            self._http1.send(exchange, self._pump)

    def _use_http1(self) -> None:
        if self._http1 is None:
            base = (b"https://" if self.place.secure else b"http://") + self.place.authority
            self._http1 = Http1Client(self._reactor, base, lambda: self._endpoint([b"http/1.1"]))

    def _endpoint(self, protocols: list[bytes]) -> Any:
        return self._connector.endpoint(self.place, protocols=protocols, certificate=self._certificate)

    def _too_late(self, exchange: Exchange) -> None:
        exchange.timer = None
        connection = exchange.connection
        if connection is not None:
            connection.abandon(exchange)
            connection.suspect()
        self._waiting.discard(exchange, exchange.rank)
        exchange.finish(LostError(self.last_error if connection is None and self.last_error else TIMED_OUT))
        if connection is None and self._http1 is not None:
            self._http1.abandon(exchange)

    def _replace(self, connection: Http2Connection) -> None:
        """Another one for a connection that ended: at once if it was of any use, else after a pause.

        A server that ends every connection at its start (a certificate it does not like) is not to be stormed.
        """
        if not self._warm and not len(self._waiting):
            return
        if connection.useful:
            self._connect()
        else:
            self._later()

    def _connect(self) -> None:
        """Open what is missing, unless a back-off runs."""
        while len(self._connections) + len(self._connecting) < self._wanted:
            # Looked at each time: an endpoint may refuse at once and so begin a back-off.
            if self._closed or self._http1 is not None or (self._again is not None and self._again.active()):
                return
            self._open()

    def _open(self) -> None:
        factory = Factory.forProtocol(self._connection)
        factory.noisy = False
        try:
            connecting: Deferred[Any] = self._endpoint([b"h2", b"http/1.1"]).connect(factory)
        except Exception as error:  # noqa: BLE001 - a broken client certificate shows only here
            self._refused(error)
            return
        self._connecting.add(connecting)

        def over(result: Any) -> None:
            self._connecting.discard(connecting)
            if isinstance(result, Failure):
                self._refused(result.value)
            elif self._closed:
                result.retire("shutting down")

        connecting.addBoth(over)

    def _connection(self) -> Http2Connection:
        connection = Http2Connection(self, self._reactor, self.place.authority, secure=self.place.secure)
        self._connections.append(connection)
        return connection

    def _refused(self, error: BaseException | None) -> None:
        if self._closed:
            return
        self.last_error = f"{type(error).__name__}: {error}"[:200]
        if not any(connection.ready for connection in self._connections):
            self._fail_waiting(self.last_error, final=isinstance(error, ForbiddenAddressError))
        self._later()

    def _fail_waiting(self, reason: str, *, final: bool = False) -> None:
        """Nobody waits for a back-off here: the sender knows how much time its call has."""
        failing = []
        while (exchange := self._waiting.take()) is not None:
            failing.append(exchange)
        for exchange in failing:
            exchange.finish(LostError(reason, processed=False, final=final))

    def _later(self) -> None:
        if self._closed or (self._again is not None and self._again.active()):
            return
        if not self._warm and not len(self._waiting):
            return
        self._backoff = min(max(BACKOFF_FLOOR, self._backoff * BACKOFF_FACTOR), BACKOFF_CEILING)
        self._again = self._reactor.callLater(self._backoff * self._random.uniform(0.75, 1.25), self._connect)

    def _close_when_idle(self, connection: Http2Connection) -> None:
        if self._idle is not None and self._idle.active():
            self._idle.cancel()

        def close() -> None:
            if not connection.busy:
                connection.retire("idle")

        self._idle = self._reactor.callLater(IDLE, close)
