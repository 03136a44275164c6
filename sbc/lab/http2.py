"""A small HTTP/2 server on h2, enough to play Apple's push service.

In: bytes of connections. Out: `Exchange` objects, one a request, handed to an `Application`, which answers them
whenever it likes.
Twisted's own HTTP/2 server is private and cannot send GOAWAY, refuse streams or change its settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Interface

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame
from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from sbc.lab.loop import Stream

MAX_BODY = 65_536  # bytes of one request; pushes are at most 5120
DEFAULT_STREAMS = 1000  # concurrent streams offered, as Apple does to an authenticated client


class Application(Interface):
    """Who answers."""

    def arrived(self, exchange: Exchange) -> None:
        """A whole request is here."""

    def connected(self, connection: Http2Server) -> None:
        """A new connection is ready."""

    def disconnected(self, connection: Http2Server) -> None:
        """A connection is gone; its open exchanges can no longer be answered."""


class Exchange:
    """One request and the way back."""

    __slots__ = ("body", "connection", "headers", "open", "stream")

    def __init__(self, connection: Http2Server, stream: int, headers: dict[str, str]) -> None:
        self.connection = connection
        self.stream = stream
        self.headers = headers
        self.body = b""
        self.open = True

    def reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        """Answer; nothing happens when the stream or connection is gone meanwhile."""
        if not self.open:
            return
        self.open = False
        lines = [(":status", str(status)), *headers.items()]
        self.connection.answer(self.stream, lines, body)

    def refuse(self) -> None:
        """REFUSED_STREAM: not processed, may be sent again (RFC 9113 section 8.7)."""
        if self.open:
            self.open = False
            self.connection.reset(self.stream, ErrorCodes.REFUSED_STREAM)


@implementer(IHandshakeListener)
class Http2Server(Protocol):
    """One connection. `number` counts connections of its factory from 1."""

    transport: Stream  # type: ignore[assignment]

    def __init__(self, application: Application, number: int, max_streams: int) -> None:
        self.application = application
        self.number = number
        self.lost = False
        self._max_streams = max_streams
        self._h2 = H2Connection(config=H2Configuration(client_side=False, header_encoding="utf-8"))
        self._open: dict[int, Exchange] = {}
        self._bodies: dict[int, bytearray] = {}
        self._unsent: dict[int, bytes] = {}

    # -- Twisted ------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Our settings go out at once."""
        self._h2.initiate_connection()
        self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self._max_streams})
        self._flush()
        self.application.connected(self)

    def handshakeCompleted(self) -> None:
        """A TLS client must have agreed on HTTP/2 by ALPN (RFC 9113 section 3.3)."""
        if getattr(self.transport, "negotiatedProtocol", None) != b"h2":
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self._flush()
            self.transport.loseConnection()
            return
        for event in events:
            self._happened(event)
        self._flush()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Open exchanges die with the connection."""
        self.lost = True
        for exchange in self._open.values():
            exchange.open = False
        self._open.clear()
        self._unsent.clear()
        self.application.disconnected(self)

    # -- what an application may do ------------------------------------------------------------------------------

    def peer_certificate(self) -> object | None:
        """The client's certificate (a pyOpenSSL X509) or None."""
        ask: Callable[[], object | None] | None = getattr(self.transport, "getPeerCertificate", None)
        return ask() if ask is not None else None

    def allow_streams(self, count: int) -> None:
        """Change the number of concurrent streams offered."""
        if not self.lost and count != self._max_streams:
            self._max_streams = count
            self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: count})
            self._flush()

    def go_away(self, last_stream: int, reason: bytes = b"") -> None:
        """GOAWAY: streams above `last_stream` were not processed, the others are still answered (RFC 9113 section 6.8).

        The frame is written by hand: h2 would close its own state and could not answer the older streams any more."""
        if not self.lost:
            self._flush()
            frame = GoAwayFrame(stream_id=0, last_stream_id=last_stream, error_code=0, additional_data=reason)
            self.transport.write(frame.serialize())

    def close(self) -> None:
        """End the connection in order."""
        self.transport.loseConnection()

    def abort(self) -> None:
        """Cut the connection."""
        if not self.lost:
            self.transport.abortConnection()

    def answer(self, stream: int, lines: list[tuple[str, str]], body: bytes) -> None:
        """Send a response on `stream`."""
        if self.lost:
            return
        self._open.pop(stream, None)
        self._h2.send_headers(stream, lines, end_stream=not body)
        if body:
            self._unsent[stream] = body
            self._send_bodies()
        self._flush()

    def reset(self, stream: int, code: ErrorCodes) -> None:
        """RST_STREAM."""
        self._open.pop(stream, None)
        if not self.lost:
            self._h2.reset_stream(stream, error_code=code)
            self._flush()

    # -- inside -------------------------------------------------------------------------------------------------

    def _happened(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            headers = {_text(name): _text(value) for name, value in event.headers or ()}
            self._open[event.stream_id] = Exchange(self, event.stream_id, headers)
            self._bodies[event.stream_id] = bytearray()
        elif isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            body = self._bodies.get(event.stream_id)
            if body is not None:
                body += event.data or b""
                if len(body) > MAX_BODY:
                    self._forget(event.stream_id)
                    self._h2.reset_stream(event.stream_id, error_code=ErrorCodes.ENHANCE_YOUR_CALM)
        elif isinstance(event, StreamEnded):
            body = self._bodies.pop(event.stream_id, None)
            exchange = self._open.get(event.stream_id)
            if body is not None and exchange is not None:
                exchange.body = bytes(body)
                self.application.arrived(exchange)
        elif isinstance(event, StreamReset):
            self._forget(event.stream_id)
        elif isinstance(event, WindowUpdated):
            self._send_bodies()
        elif isinstance(event, ConnectionTerminated):
            self.transport.loseConnection()

    def _forget(self, stream: int) -> None:
        exchange = self._open.pop(stream, None)
        if exchange is not None:
            exchange.open = False
        self._bodies.pop(stream, None)
        self._unsent.pop(stream, None)

    def _send_bodies(self) -> None:
        for stream, body in list(self._unsent.items()):
            if len(body) <= self._h2.local_flow_control_window(stream):
                del self._unsent[stream]
                self._h2.send_data(stream, body, end_stream=True)

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self.transport.write(data)


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class Http2Factory(Factory):
    """Makes numbered connections for one application, and remembers the open ones."""

    noisy = False

    def __init__(self, application: Application, max_streams: int = DEFAULT_STREAMS) -> None:
        self.application = application
        self.max_streams = max_streams
        self.count = 0
        self.open: set[Http2Server] = set()

    def buildProtocol(self, addr: IAddress | None) -> Http2Server:
        """One more connection."""
        self.count += 1
        protocol = Http2Server(self.application, self.count, self.max_streams)
        protocol.factory = self
        return protocol
