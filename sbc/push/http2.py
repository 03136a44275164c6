"""One HTTP/2 connection to a push provider, over ``h2`` (RFC 9113, client side).

An ``Exchange`` is handed to ``send`` while ``room`` is above 0 and answered exactly once. The owner
(``origins.Origin``) is told when the connection is usable, has room again, and is gone. PRIORITY frames are never
sent: Apple asks so.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

import h2.config
import h2.connection
import h2.events
import h2.settings
from h2.errors import ErrorCodes
from h2.exceptions import H2Error
from service_identity import VerificationError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from sbc.push.exchange import Exchange, LostError
from sbc.push.literals import LiteralEncoder
from sbc.push.reactors import Clock, Timer
from sbc.push.wire import MAX_ANSWER, Answer

# Seconds without any byte received after which a PING asks whether the other end is still there.
PING_AFTER = 45.0
# Seconds within which it must answer; a dead connection found by a call would cost that call its time.
PONG_WITHIN = 5.0
# Seconds from connecting to the server's SETTINGS.
SETTINGS_WITHIN = 10.0
# Seconds that streams may still be answered after GOAWAY, or after we stop using the connection.
LINGER = 5.0
# Streams in flight on one connection, even if the server allows more: its cost in h2 grows with them.
MAX_STREAMS = 200
# Stream ids end at 2**31; a connection that is used up is replaced well before.
LAST_STREAM = 2**31 - 1001
# Bytes that the server may send us before we give credit again; answers are tiny.
RECEIVE_WINDOW = 1 << 20
# Bytes of a frame that we let the server send: the protocol's own default.
MAX_FRAME = 16_384

_GOAWAY = 7


class Owner(Protocol):
    """Who opened the connection."""

    def connection_ready(self, connection: Http2Connection) -> None: ...
    def connection_has_room(self, connection: Http2Connection) -> None: ...
    def connection_retired(self, connection: Http2Connection) -> None: ...
    def connection_gone(self, connection: Http2Connection, reason: str) -> None: ...
    def speaks_http1(self, connection: Http2Connection) -> None: ...


@implementer(IHandshakeListener)
class Http2Connection(TwistedProtocol):
    """See the module. ``useful``: something was answered on it. ``secure``: wait for TLS and for ALPN to say
    ``h2``; else begin at once (prior knowledge).
    """

    transport: Any

    def __init__(self, owner: Owner, clock: Clock, authority: bytes, *, secure: bool = True) -> None:
        self._owner, self._clock, self._secure = owner, clock, secure
        self._pseudo = [
            (b":method", b"POST"),
            (b":scheme", b"https" if secure else b"http"),
            (b":authority", authority),
        ]
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        self._h2.encoder = LiteralEncoder()  # type: ignore[assignment]
        self._open: dict[int, Exchange] = {}
        self._unsent: deque[tuple[Exchange, int]] = deque()
        self._rest = b""
        self._limit = 0
        self._heard_at = 0.0
        self._timer: Timer | None = None
        self._end: Timer | None = None
        self._flushing = False
        self.ready = False
        self.retired = False
        self.lost = False
        self.useful = False
        self._why = ""

    # What the owner calls.

    @property
    def room(self) -> int:
        """How many more requests may be sent now."""
        if not self.ready or self.retired or self.lost or self._unsent:
            return 0
        return self._limit - len(self._open)

    @property
    def busy(self) -> int:
        """Requests that wait for their answers."""
        return len(self._open)

    def send(self, exchange: Exchange) -> None:
        """Begin *exchange*; allowed while ``room`` > 0."""
        stream = self._h2.get_next_available_stream_id()
        if stream >= LAST_STREAM:
            self.retire("stream ids are used up")
        post = exchange.post
        exchange.stream, exchange.connection = stream, self
        self._open[stream] = exchange
        headers = [*self._pseudo, (b":path", post.path), *post.headers]
        if post.body:
            headers.append((b"content-length", b"%d" % len(post.body)))
        try:
            self._h2.send_headers(stream, headers, end_stream=not post.body)
        except H2Error as error:
            # Nothing that is known leads here; a push must not end its caller if something does.
            del self._open[stream]
            self.retire(f"HTTP/2: {error}")
            exchange.finish(LostError(f"HTTP/2: {error}", processed=False))
            return
        if post.body:
            self._unsent.append((exchange, 0))
            self._pump()
        self._flush()

    def abandon(self, exchange: Exchange) -> None:
        """Nobody waits for *exchange* any more."""
        if self._open.pop(exchange.stream, None) is None or self.lost:
            return
        try:
            self._h2.reset_stream(exchange.stream, ErrorCodes.CANCEL)
        except H2Error:
            pass
        self._flush()
        self._roomy()

    def retire(self, reason: str) -> None:
        """Use it for nothing new; close it when the last answer is there, or after LINGER."""
        if self.retired or self.lost:
            return
        self.retired = True
        self._why = reason
        if self._open:
            self._end = self._clock.callLater(LINGER, self._abort, reason)
        else:
            self._close()
        self._owner.connection_retired(self)

    def suspect(self) -> None:
        """A request went unanswered: ask whether the other end is there, unless it has just spoken."""
        if self.ready and not self.lost and self._clock.seconds() - self._heard_at > PONG_WITHIN / 2:
            self._ping()

    # What Twisted calls.

    def connectionMade(self) -> None:
        try:
            self.transport.setTcpNoDelay(True)
        except AttributeError:
            pass
        self._timer = self._clock.callLater(SETTINGS_WITHIN, self._abort, "no answer to the connection's start")
        if not self._secure:
            self._begin()

    def handshakeCompleted(self) -> None:
        if self.transport.negotiatedProtocol == b"h2":
            self._begin()
        else:
            self._owner.speaks_http1(self)
            self._close()

    def dataReceived(self, received: bytes) -> None:
        self._heard_at = self._clock.seconds()
        frames = self._whole_frames(received)
        if frames:
            try:
                events = self._h2.receive_data(frames)
            except H2Error as error:
                self._flush()
                self._abort(f"HTTP/2 protocol error: {error}")
                return
            for event in events:
                self._react(event)
            self._pump()
            self._flush()
        self._roomy()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost, self.ready = True, False
        for timer in (self._timer, self._end):
            if timer is not None and timer.active():
                timer.cancel()
        text = self._why or _said(reason)
        exchanges, self._open = list(self._open.values()), {}
        unsent = {exchange.stream for exchange, sent in self._unsent if not sent}
        self._unsent.clear()
        # The owner first: what is sent again at once must not meet this connection.
        self._owner.connection_gone(self, text)
        for exchange in exchanges:
            exchange.finish(LostError(text, processed=exchange.stream not in unsent))

    # Inside.

    def _begin(self) -> None:
        self._h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.HEADER_TABLE_SIZE: 4096,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: MAX_ANSWER,
            },
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(RECEIVE_WINDOW)
        self._flush()

    def _whole_frames(self, received: bytes) -> bytes:
        """The frames that are complete, without GOAWAY.

        ``h2`` ends a connection at GOAWAY, but streams up to the last one named there are still answered (RFC 9113
        6.8).
        """
        held = self._rest + received if self._rest else received
        at, start, size, kept = 0, 0, len(held), b""
        while size - at >= 9:
            length = int.from_bytes(held[at : at + 3], "big")
            if length > MAX_FRAME:
                break
            end = at + 9 + length
            if end > size:
                break
            if held[at + 3] == _GOAWAY and length >= 8:
                kept += held[start:at]
                start = end
                self._going_away(held[at + 9 : end])
            at = end
        if size - at >= 3 and int.from_bytes(held[at : at + 3], "big") > MAX_FRAME:
            self._abort("HTTP/2 protocol error: frame too large")
            return b""
        self._rest = held[at:]
        return kept + held[start:at] if kept else held[start:at]

    def _going_away(self, payload: bytes) -> None:
        last = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
        code = int.from_bytes(payload[4:8], "big")
        said = payload[8:200].decode("utf-8", "replace")
        reason = f"GOAWAY {code} {said}".strip()
        self._why = reason
        untouched = [exchange for stream, exchange in self._open.items() if stream > last]
        for exchange in untouched:
            del self._open[exchange.stream]
        self._unsent = deque(pair for pair in self._unsent if pair[0].stream <= last)
        self.retire(reason)
        for exchange in untouched:
            exchange.finish(LostError(reason, processed=False))

    def _react(self, event: object) -> None:
        kind = type(event)
        if kind is h2.events.ResponseReceived:
            exchange = self._open.get(event.stream_id)  # type: ignore[attr-defined]
            if exchange is not None:
                exchange.headers = headers = dict(event.headers)  # type: ignore[attr-defined]
                status = headers.pop(b":status", b"")
                exchange.status = int(status) if len(status) == 3 and status.isdigit() else 0
        elif kind is h2.events.DataReceived:
            self._data(event)
        elif kind is h2.events.StreamEnded:
            exchange = self._open.pop(event.stream_id, None)  # type: ignore[attr-defined]
            if exchange is not None:
                self.useful = True
                exchange.finish(Answer(exchange.status, exchange.headers, b"".join(exchange.body)))
        elif kind is h2.events.StreamReset:
            exchange = self._open.pop(event.stream_id, None)  # type: ignore[attr-defined]
            if exchange is not None:
                code = int(event.error_code or 0)  # type: ignore[attr-defined]
                refused = code == ErrorCodes.REFUSED_STREAM
                exchange.finish(LostError(f"stream reset, code {code}", processed=not refused))
        elif kind is h2.events.RemoteSettingsChanged:
            self._settings()
        elif kind is h2.events.PingAckReceived:
            self._wait_idle()

    def _data(self, event: Any) -> None:
        exchange = self._open.get(event.stream_id)
        if exchange is not None and exchange.size < MAX_ANSWER:
            piece = event.data[: MAX_ANSWER - exchange.size]
            exchange.body.append(piece)
            exchange.size += len(piece)
        if event.flow_controlled_length:
            try:
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            except H2Error:
                pass

    def _settings(self) -> None:
        self._limit = min(self._h2.remote_settings.max_concurrent_streams, MAX_STREAMS)
        if not self.ready and not self.retired:
            self.ready = True
            self._wait_idle()
            self._owner.connection_ready(self)

    def _pump(self) -> None:
        """Send as much of the waiting bodies as the flow-control windows take."""
        while self._unsent:
            exchange, sent = self._unsent[0]
            if exchange.stream not in self._open:
                self._unsent.popleft()
                continue
            body = exchange.post.body
            try:
                while sent < len(body):
                    window = self._h2.local_flow_control_window(exchange.stream)
                    size = min(window, len(body) - sent, self._h2.max_outbound_frame_size)
                    if size <= 0:
                        self._unsent[0] = (exchange, sent)
                        return
                    self._h2.send_data(exchange.stream, body[sent : sent + size], end_stream=sent + size == len(body))
                    sent += size
            except H2Error:
                # The stream was reset in this very moment; its end is reported by its event.
                pass
            self._unsent.popleft()

    def _flush(self) -> None:
        if not self.lost:
            pending = self._h2.data_to_send()
            if pending:
                self.transport.write(pending)

    def _roomy(self) -> None:
        if self.retired:
            if not self._open and not self.lost:
                self._close()
        elif self.room > 0:
            self._owner.connection_has_room(self)

    def _wait_idle(self) -> None:
        self._rearm(PING_AFTER, self._idle)

    def _idle(self) -> None:
        quiet = self._clock.seconds() - self._heard_at
        if quiet >= PING_AFTER:
            self._ping()
        else:
            self._rearm(PING_AFTER - quiet, self._idle)

    def _ping(self) -> None:
        try:
            self._h2.ping(b"\0\0\0\0sbc\0")
        except H2Error:
            return
        self._flush()
        self._rearm(PONG_WITHIN, self._abort, "no answer to PING")

    def _rearm(self, seconds: float, call: Any, *arguments: object) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, call, *arguments)

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
            if self._end is None and not self.lost:
                self._end = self._clock.callLater(LINGER, self._abort, self._why)

    def _abort(self, reason: str) -> None:
        if self.lost or self.transport is None:
            return
        self.retired = True
        self._why = reason
        abort = getattr(self.transport, "abortConnection", None) or self.transport.loseConnection
        abort()


def _said(reason: Failure) -> str:
    """Why a connection ended, in words: TLS errors hide theirs in nested tuples."""
    error = reason.value
    if error is None or isinstance(error, ConnectionDone):
        return "connection closed"
    if isinstance(error, VerificationError):
        return "TLS: the certificate is for another name"
    parts = error.args[0] if error.args and isinstance(error.args[0], list) else None
    if parts:
        return "TLS: " + "; ".join(str(part[-1]) for part in parts if isinstance(part, tuple) and part)
    return f"{type(error).__name__}: {error}"[:200]
