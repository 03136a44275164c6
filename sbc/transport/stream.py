"""One stream connection, incoming or outgoing, and the flow others see of it.

The life of a connection: (PROXY preamble) -> (in line for TLS, TLS handshake) -> (WebSocket handshake) -> open ->
ended. A flow exists from `open` on; every step before has a deadline, so that slow starters hold nothing for long.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any
from typing import Protocol as Shape

from cryptography.x509 import Certificate
from OpenSSL import SSL
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sbc.transport.address import normal_host
from sbc.transport.codec import Codec, Heard
from sbc.transport.deadlines import Deadlines
from sbc.transport.flow import Flow, Gate, Listener, Receiver
from sbc.transport.limits import BAD_HANDSHAKE, DRAIN_SECONDS, LINGER_SECONDS, NOT_READING, SILENT, SLOW, Limits
from sbc.transport.proxyprotocol import Preamble
from sbc.transport.tcpoptions import keep_alive
from sbc.transport.tls import names_of


class State(Enum):
    """Where a connection stands; the order is the order of life."""

    PROXY = auto()
    LINE = auto()
    TLS = auto()
    PREAMBLE = auto()
    OPEN = auto()
    ENDED = auto()


class StreamFlow(Flow):
    """An open connection as others see it; outlives the connection as a closed one."""

    __slots__ = ("_connection", "_token", "name")

    def __init__(self, connection: "StreamConnection", token: str, peer: tuple[str, int], heard_at: float) -> None:
        super().__init__(connection.listener, peer, heard_at)
        self._connection: StreamConnection | None = connection
        self._token = token
        self.name = connection.name
        """The name the peer's certificate was checked against, empty if none was."""

    @property
    def token(self) -> str:
        return self._token

    def send(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.send(data)

    def close(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.end(reason)

    def names(self) -> set[str]:
        """The names in the certificate that the peer of an incoming connection showed and OpenSSL verified."""
        certificate = self._connection.shown() if self._connection is not None else None
        return names_of(certificate) if certificate is not None else set()

    def ended(self) -> None:
        """The connection under this flow is gone."""
        self.open = False
        self._connection = None


class House(Shape):
    """What a connection needs of the place it lives in."""

    limits: Limits
    receiver: Receiver
    gate: Gate
    deadlines: "Deadlines[StreamConnection]"
    clock: Callable[[], float]

    def arrived(self, connection: "StreamConnection") -> None:
        """A connection is there, of whatever source."""

    def admit(self, connection: "StreamConnection", host: str) -> str | None:
        """Count the connection against its source; None, or the refusal (one of `limits.REFUSALS`)."""

    def queue(self, connection: "StreamConnection") -> bool:
        """Whether its TLS handshake may begin; else its `begin_tls` is called when its turn has come."""

    def opened(self, connection: "StreamConnection") -> StreamFlow:
        """The connection may carry messages: give it a flow."""

    def closed(self, connection: "StreamConnection", reason: str) -> None:
        """The connection is gone, whether it ever opened or not; its flow, if any, is ended."""


@implementer(IPushProducer, IHandshakeListener)
class StreamConnection(Protocol):
    """Bytes of one connection to and from whole messages."""

    _log = Logger()

    def __init__(
        self,
        house: House,
        listener: Listener,
        codec: Codec,
        *,
        tls: Any = None,
        preamble: Preamble | None = None,
        outgoing: bool = False,
        name: str = "",
    ) -> None:
        """`tls`: a Twisted context factory or creator, for either direction; `preamble`: PROXY header to expect."""
        self.listener = listener
        self.outgoing = outgoing
        self.name = name
        self.flow: StreamFlow | None = None
        self.peer: tuple[str, int] = ("", 0)
        self.reason = ""
        """Why we ended it; empty while we have not."""
        self._house = house
        self._codec = codec
        self._tls = tls
        self._preamble = preamble
        self._state = State.PROXY
        self._paused = False
        self._unsent = 0
        self._partial = False
        self._pings = 0
        self._rest = b""

    # -- beginning

    def connectionMade(self) -> None:
        transport: Any = self.transport
        peer = transport.getPeer()
        self.peer = (normal_host(peer.host), peer.port)
        keep_alive(transport)
        transport.registerProducer(self, True)
        house = self._house
        house.arrived(self)
        house.deadlines.set(self, house.clock() + house.limits.first_message)
        if self._preamble is None:
            self._known()

    def _known(self) -> None:
        """The peer's true address is known."""
        refusal = self._house.admit(self, self.peer[0])
        if refusal is not None:
            self.refuse(refusal)
        elif self._tls is None:
            self._greet()
        elif self.outgoing or self._house.queue(self):
            self.begin_tls()
        else:
            self._state = State.LINE
            transport: Any = self.transport
            transport.pauseProducing()

    def begin_tls(self) -> None:
        """The turn of this connection has come."""
        transport: Any = self.transport
        if self._state is State.LINE:
            transport.resumeProducing()
        self._state = State.TLS
        house = self._house
        if not self.outgoing:
            house.deadlines.set(self, house.clock() + house.limits.handshake)
        transport.startTLS(self._tls)
        rest, self._rest = self._rest, b""
        if rest:
            # After startTLS the transport's protocol is the TLS layer: what came behind a PROXY header is its.
            transport.protocol.dataReceived(rest)

    def handshakeCompleted(self) -> None:
        """TLS is up."""
        if self._state is State.TLS:
            house = self._house
            house.deadlines.set(self, house.clock() + house.limits.first_message)
            self._greet()

    def shown(self) -> Certificate | None:
        """The certificate of the peer, which OpenSSL has verified, if it showed one."""
        transport: Any = self.transport
        certificate = transport.getPeerCertificate() if self._tls is not None else None
        return certificate.to_cryptography() if certificate is not None else None

    def _greet(self) -> None:
        self._state = State.PREAMBLE
        greeting = self._codec.greet()
        if greeting:
            self._write(greeting)
        if self._codec.ready:
            self._open()

    def _open(self) -> None:
        self._state = State.OPEN
        self.flow = self._house.opened(self)
        if self.outgoing:
            # Whoever we connected to owes us nothing until it is asked.
            self._settle()

    # -- hearing

    def dataReceived(self, data: bytes) -> None:
        if self._state is State.PROXY:
            self._read_preamble(data)
            return
        if self._state is State.ENDED:
            return
        if self._state is State.LINE:
            self._rest += data
            return
        heard = self._codec.feed(data)
        if heard.reply:
            self._write(heard.reply)
        if self._state is State.PREAMBLE and self._codec.ready:
            self._open()
        self._take(heard)
        if self.reason:
            return
        if heard.refusal:
            self._write(heard.refusal)
            self._turn_away(heard.problem or "")
        elif heard.problem is not None:
            self.refuse(heard.problem, orderly=bool(heard.reply))
        elif heard.bye:
            self.end(heard.bye, orderly=True)

    def _read_preamble(self, data: bytes) -> None:
        assert self._preamble is not None
        try:
            done = self._preamble.feed(data)
        except ValueError:
            self.refuse(BAD_HANDSHAKE)
            return
        if done is None:
            return
        source, rest = done
        if source is not None:
            self.peer = (normal_host(source[0]), source[1])
        self._preamble = None
        if self._tls is not None:
            self._rest = rest
            self._known()
            return
        self._known()
        if rest and not self.reason:
            self.dataReceived(rest)

    def _take(self, heard: Heard) -> None:
        flow = self.flow
        if flow is None:
            return
        house = self._house
        flow.heard_at = house.clock()
        self._pings = 0
        for message in heard.messages:
            try:
                house.receiver.received(message, flow)
            except Exception:  # noqa: BLE001  (our own bug with one message must not cost the connection)
                self._log.failure("a message from {peer} made us fail", peer=self.peer)
            if not flow.open:
                return
        partial = self._codec.partial
        if partial:
            if not self._partial or heard.messages:
                self._partial = True
                # Kept while more of the same message trickles in: only a whole message moves the deadline.
                house.deadlines.set(self, flow.heard_at + house.limits.partial_message)
        elif self._partial or heard.messages or heard.keep_alive:
            self._partial = False
            self._settle()

    def _settle(self) -> None:
        """Nothing is half done: the next deadline is that of an idle stream."""
        limits = self._house.limits
        pause = limits.websocket_ping if self._codec.pings else limits.idle
        self._house.deadlines.set(self, self._house.clock() + pause)

    def due(self, now: float) -> None:
        """The deadline last set has passed."""
        if self._state is State.ENDED:
            transport: Any = self.transport
            transport.abortConnection()
            return
        if self.flow is None or self._partial:
            self.refuse(SLOW if self._partial else SILENT)
            return
        quiet = now - self.flow.heard_at
        limits = self._house.limits
        if quiet >= limits.idle or not self._codec.pings or self._pings >= 2:
            self.refuse(SILENT)
            return
        if quiet >= limits.websocket_ping:
            self._pings += 1
            self._write(self._codec.ping())
        self._house.deadlines.set(self, now + limits.websocket_ping)

    # -- telling

    def send(self, data: bytes) -> None:
        """Send one whole message; a client that lets too much pile up is cut."""
        if self._state is not State.OPEN:
            return
        if self.outgoing and self._unsent + len(data) > self._house.limits.write_buffer_bytes:
            # Who floods a server through us must not cost all the others its connection: the message is lost, and
            # its transaction ends by the clock. A server that is gone ends the connection by itself.
            self._refused(NOT_READING)
            return
        self._write(self._codec.wrap(data))

    def _write(self, data: bytes) -> None:
        if self._paused:
            self._unsent += len(data)
            if self._unsent > self._house.limits.write_buffer_bytes:
                self.refuse(NOT_READING)
                return
        transport: Any = self.transport
        transport.write(data)

    def pauseProducing(self) -> None:
        """The transport's own buffer is full (64 KiB): from here on we count."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self._paused = False
        self._unsent = 0

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost follows."""

    @property
    def unsent(self) -> bool:
        """Whether messages may still be waiting in our buffers."""
        return self._paused

    # -- ending

    def refuse(self, what: str, *, orderly: bool = False) -> None:
        """Cut the connection for the peer's fault, one of `limits.REFUSALS`."""
        self.end(what, orderly=orderly)
        self._refused(what)

    def _turn_away(self, what: str) -> None:
        """Cut the connection for the peer's fault once it had time to read why. What it still sends is not kept.

        A socket that is closed over unread bytes is reset, and with it goes what was said last.
        """
        self._state = State.ENDED
        self.reason = what
        if self.flow is not None:
            self.flow.open = False
        self._house.deadlines.set(self, self._house.clock() + DRAIN_SECONDS)
        self._refused(what)

    def _refused(self, what: str) -> None:
        flow = self.flow
        if flow is None:
            flow = StreamFlow(self, "", self.peer, 0.0)
            flow.ended()
        self._house.receiver.refused(flow, what)

    def end(self, reason: str, *, orderly: bool = False) -> None:
        """End the connection: at once, or after what is buffered has been sent."""
        if self._state is State.ENDED:
            return
        self._state = State.ENDED
        self.reason = reason
        if self.flow is not None:
            self.flow.open = False
        transport: Any = self.transport
        if not orderly:
            self._house.deadlines.forget(self)
            transport.abortConnection()
            return
        self._house.deadlines.set(self, self._house.clock() + LINGER_SECONDS)
        transport.write(self._codec.farewell())
        # A registered push producer would keep the transport from closing.
        transport.unregisterProducer()
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        failed = self._state is State.TLS and isinstance(reason.value, SSL.Error)
        self._state = State.ENDED
        if failed and not self.outgoing:
            self._refused(BAD_HANDSHAKE)
        self._house.deadlines.forget(self)
        if self._tls is not None:
            # Twisted's startTLS ties transport and TLS layer together by these; unbound, both are freed at once.
            for name in ("getHandle", "getPeerCertificate"):
                vars(self.transport).pop(name, None)
        self._house.closed(self, self.reason or reason.getErrorMessage())
