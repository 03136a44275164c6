"""SIP over WebSocket (RFC 7118): each message of the `sip` subprotocol is one SIP message. Pure, over wsproto.

No extensions are negotiated: compression would give attackers a bomb and SIP nothing.
"""

from collections.abc import Sequence
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from sbc.transport.codec import Heard
from sbc.transport.limits import BAD_HANDSHAKE, BROKEN_FRAMING, NOT_SIP, OVERSIZED
from sbc.transport.sniff import begins_sip

SUBPROTOCOL = "sip"
FRAMES_PER_READ = 1_024
"""Frames taken of one piece of stream, 64 KiB at most: more are no SIP but a way to keep us busy."""
HANDSHAKE_BYTES = 16_384
"""Longest HTTP request head; browsers with fat cookies stay below 8 KiB."""


class WebSocketCodec:
    """One end of one WebSocket. `toward` is (host for the Host header, path) on the side that connects."""

    __slots__ = (
        "_begun",
        "_handshake_bytes",
        "_limit",
        "_mid_frame",
        "_origins",
        "_parts",
        "_path",
        "_size",
        "_toward",
        "_ws",
        "ready",
    )

    pings = True

    def __init__(
        self, limit: int, *, path: str = "/", origins: Sequence[str] = (), toward: tuple[str, str] | None = None
    ) -> None:
        """`limit`: bytes of a message; `origins`: web origins allowed, none given: any. Clients without Origin pass:
        only browsers send one, and only they can be made to connect against their user's will."""
        self.ready = False
        self._ws = WSConnection(ConnectionType.SERVER if toward is None else ConnectionType.CLIENT)
        self._limit = limit
        self._path = path
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._toward = toward
        self._parts: list[bytes] = []
        self._begun = False
        self._size = 0
        self._mid_frame = False
        self._handshake_bytes = 0

    @property
    def partial(self) -> bool:
        return self._begun or self._mid_frame

    def greet(self) -> bytes:
        if self._toward is None:
            return b""
        host, path = self._toward
        return self._ws.send(Request(host=host, target=path, subprotocols=[SUBPROTOCOL]))

    def wrap(self, message: bytes) -> bytes:
        # A peer that closed in the same breath hears no answer any more.
        try:
            return self._last(TextMessage(message.decode("utf-8")))
        except UnicodeDecodeError:
            return self._last(BytesMessage(message))

    def ping(self) -> bytes:
        return self._last(Ping())

    def farewell(self) -> bytes:
        return self._last(CloseConnection(CloseReason.GOING_AWAY)) if self.ready else b""

    def feed(self, data: bytes) -> Heard:
        heard = Heard()
        if not data:  # which would mean the end of the stream to h11
            return heard
        if not self.ready:
            self._handshake_bytes += len(data)
            if self._handshake_bytes > HANDSHAKE_BYTES:
                heard.problem = BAD_HANDSHAKE
                return heard
        self._mid_frame = self.ready
        try:
            self._ws.receive_data(data)
            for count, event in enumerate(self._ws.events()):
                self._mid_frame = False
                self._event(event, heard)
                if count >= FRAMES_PER_READ:
                    heard.problem = BROKEN_FRAMING
                    heard.reply = self._last(CloseConnection(CloseReason.POLICY_VIOLATION))
                if heard.problem is not None or heard.bye:
                    break
        except RemoteProtocolError as error:
            self._broken(error, heard)
        except UnicodeError:
            # wsproto decodes Host and target without asking whether it can.
            heard.problem = BAD_HANDSHAKE if not self.ready else BROKEN_FRAMING
        return heard

    def _event(self, event: Event, heard: Heard) -> None:
        if isinstance(event, Message):
            self._message(event, heard)
        elif isinstance(event, Ping):
            heard.keep_alive = True
            heard.reply += self._last(event.response())
        elif isinstance(event, Pong):
            heard.keep_alive = True
        elif isinstance(event, CloseConnection):
            # wsproto tells of frames it cannot read as if the peer had closed; only a real close changes its state.
            if self._ws.state is ConnectionState.REMOTE_CLOSING:
                heard.bye = f"closed by the peer ({int(event.code)})"
            else:
                heard.problem = BROKEN_FRAMING
            heard.reply += self._last(CloseConnection(event.code))
        elif isinstance(event, Request):
            self._request(event, heard)
        elif isinstance(event, AcceptConnection):
            if event.subprotocol == SUBPROTOCOL:
                self.ready = True
            else:
                heard.problem = BAD_HANDSHAKE
        elif isinstance(event, RejectConnection):
            heard.problem = BAD_HANDSHAKE

    def _request(self, request: Request, heard: Heard) -> None:
        """A client asks for a WebSocket."""
        origin = next((value for name, value in request.extra_headers if name == b"origin"), None)
        if request.target.partition("?")[0] != self._path:
            status = 404
        elif SUBPROTOCOL not in request.subprotocols:
            status = 400
        elif self._origins and origin is not None and not self._allowed(origin):
            status = 403
        else:
            heard.reply += self._ws.send(AcceptConnection(subprotocol=SUBPROTOCOL))
            self.ready = True
            return
        heard.reply += self._ws.send(RejectConnection(status_code=status))
        heard.problem = BAD_HANDSHAKE

    def _allowed(self, origin: bytes) -> bool:
        return origin.decode("ascii", "replace").lower() in self._origins

    def _message(self, event: Message[Any], heard: Heard) -> None:
        data = event.data
        part = data.encode("utf-8") if isinstance(data, str) else bytes(data)
        self._size += len(part)
        if self._size > self._limit:
            heard.reply += self._last(CloseConnection(CloseReason.MESSAGE_TOO_BIG))
            heard.problem = OVERSIZED
            return
        if part:
            self._parts.append(part)
        self._begun = not event.message_finished
        if self._begun:
            return
        whole = b"".join(self._parts).lstrip(b"\r\n")
        bare_line_ends = self._size if not whole else 0
        self._parts.clear()
        self._size = 0
        if not whole:
            heard.keep_alive = True
            if bare_line_ends == 4:
                # Some clients ping as over TCP (RFC 5626 3.5.1) although RFC 7118 6 has WebSocket's own.
                heard.reply += self.wrap(b"\r\n")
        elif begins_sip(whole):
            heard.messages.append(whole)
        else:
            heard.problem = NOT_SIP

    def _broken(self, error: RemoteProtocolError, heard: Heard) -> None:
        if self.ready:
            heard.problem = BROKEN_FRAMING
            heard.reply += self._last(CloseConnection(CloseReason.PROTOCOL_ERROR))
            return
        heard.problem = BAD_HANDSHAKE
        if self._toward is None and isinstance(error.event_hint, RejectConnection):
            try:
                heard.reply += self._ws.send(error.event_hint)
            except LocalProtocolError:
                return  # it was not even HTTP: nothing can be answered

    def _last(self, event: Event) -> bytes:
        """A frame, if the WebSocket is still open for one."""
        try:
            return self._ws.send(event)
        except LocalProtocolError:
            return b""
