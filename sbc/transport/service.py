"""The service that opens all listeners, finds flows again and connects to destinations."""

import secrets
import socket
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall

from sbc.transport.address import (
    DEFAULT_PORTS,
    MAX_PORT,
    advertised,
    bracketed,
    is_ip,
    is_wildcard,
    parse_listen,
    within,
)
from sbc.transport.codec import Codec, SipCodec
from sbc.transport.connections import Accepting, Connections, Dialler, UnreachableError
from sbc.transport.fitting import Fitting
from sbc.transport.flow import CLIENT, UPPER, Destination, Flow, Gate, Listener, OpenGate, Receiver
from sbc.transport.limits import STOP_SECONDS, SWEEP_SECONDS, Limits
from sbc.transport.settings import ListenSettings
from sbc.transport.tls import CertificateError, ClientTrust, Files, ServerIdentity
from sbc.transport.udp import UdpFlow, UdpPort
from sbc.transport.websocket import WebSocketCodec

BACKLOG = 1_024
"""Connections the kernel holds for us between two wake-ups: a reconnect storm after an outage."""

SPEAKERS = 4_096
"""Destinations for which the choice of a listener is remembered; choosing costs some 10 us."""


class Transports(Service):
    """All listeners, connections and flows of this node.

    `listeners` stand in the order of the configuration; their real ports are known once the service has started.
    """

    name = "transports"

    def __init__(
        self,
        reactor: Any,
        listens: Sequence[ListenSettings],
        receiver: Receiver,
        limits: Limits,
        *,
        gate: Gate | None = None,
        trust: ClientTrust | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`trust`: whom to believe when connecting by TLS; the system's authorities if not given."""
        self._reactor = reactor
        self._receiver = receiver
        self._limits = limits
        self._gate = gate if gate is not None else OpenGate()
        self._clock = clock
        self._listens = list(listens)
        self.listeners: list[Listener] = [_listener(index, each) for index, each in enumerate(self._listens)]
        self.connections = Connections(
            receiver, limits, self._gate, clock, start_id=secrets.token_hex(4), call_later=reactor.callLater
        )
        self.connections.crowded = self._crowd
        self._dialler = Dialler(reactor, self.connections)
        self._fitting = Fitting(reactor, lambda where, side: self.connect(where, side=side), clock)
        self._udp: dict[Listener, UdpPort] = {}
        self._accepting: list[Any] = []
        self._speakers: dict[tuple[bytes, str, str], Listener | None] = {}
        self._sweeping = LoopingCall(self.connections.sweep)
        self._sweeping.clock = reactor
        self._trust = trust
        self._identities: dict[Listener, ServerIdentity] = {}
        self._bound = False

    # -- life

    def privilegedStartService(self) -> None:
        """Bind every listener while we may still use ports below 1024. Raises CannotListenError."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._bind()

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._bind()
        for port in self._udp.values():
            port.start()
        self._sweeping.start(SWEEP_SECONDS, now=False)

    def stopService(self) -> "Deferred[None]":
        """Close everything; fires when all sockets are closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._sweeping.running:
            self._sweeping.stop()
        closing = self._stop_accepting()
        self._dialler.stop()
        self.connections.stop()
        for port in self._udp.values():
            port.stop()
        for connection in list(self.connections.all):
            connection.end("stopping", orderly=True)
        emptied = self.connections.when_empty()
        impatience = self._reactor.callLater(STOP_SECONDS, self._cut_all)

        def done(_: object) -> None:
            if impatience.active():
                impatience.cancel()

        self._bound = False
        return DeferredList([closing, emptied]).addCallback(done)

    def drain(self) -> "Deferred[None]":
        """Take no new connections; those that are open, and UDP, go on. Fires when no listener accepts any more."""
        return self._stop_accepting()

    def _stop_accepting(self) -> "Deferred[None]":
        ports, self._accepting = self._accepting, []
        stopped = [Deferred.fromCoroutine(_stopped(port)) for port in ports]
        return DeferredList(stopped).addCallback(lambda _: None)

    def _crowd(self, crowded: bool) -> None:
        """Leave newcomers to the kernel while too many wait for their TLS handshake."""
        for port in self._accepting:
            if port.factory.listener.secure:
                if crowded:
                    port.stopReading()
                else:
                    port.startReading()

    def _cut_all(self) -> None:
        for connection in list(self.connections.all):
            transport: Any = connection.transport
            transport.abortConnection()

    def _bind(self) -> None:
        if self._bound:
            return
        self._bound = True
        local = {family: _local_address(family) for family in (socket.AF_INET, socket.AF_INET6)}
        for listener, listen in zip(self.listeners, self._listens, strict=True):
            try:
                port = self._bind_one(listener, listen)
            except OSError as error:
                raise CannotListenError(listener.host, listener.port, error) from error  # type: ignore[no-untyped-call]
            own = local[socket.AF_INET6 if listener.ipv6 else socket.AF_INET]
            listener.bound(port, own, local[socket.AF_INET])
        self._speakers.clear()

    def _bind_one(self, listener: Listener, listen: ListenSettings) -> int:
        only_ipv6 = self._beside_ipv4(listener)
        listener.dual = listener.host == "::" and not only_ipv6
        if listener.transport == b"UDP":
            udp = UdpPort(self._reactor, listener, self._receiver, self._limits, self._gate, self._clock)
            port = udp.bind(only_ipv6=only_ipv6)
            self._udp[listener] = udp
            return port
        identity = None
        if listener.secure:
            identity = self._identities[listener] = ServerIdentity(_files(listen))
        factory = Accepting(
            self.connections,
            listener,
            lambda: self._codec(listener),
            tls=identity,
            trusted=lambda host: within(host, self._listens[listener.index].proxies),
        )
        opened = socket.socket(socket.AF_INET6 if listener.ipv6 else socket.AF_INET, socket.SOCK_STREAM)
        with opened:
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listener.ipv6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_ipv6))
            opened.bind((listener.host, listener.port))
            opened.listen(BACKLOG)
            # The reactor duplicates the descriptor; ours is closed on leaving.
            self._accepting.append(self._reactor.adoptStreamPort(opened.fileno(), opened.family, factory))
            return int(opened.getsockname()[1])

    def _beside_ipv4(self, listener: Listener) -> bool:
        """Whether an IPv4 listener of the same port stands beside this IPv6 one, which then must not take IPv4 too."""
        return any(
            other.port == listener.port and not other.ipv6 and other.reliable == listener.reliable
            for other in self.listeners
        )

    def _codec(self, listener: Listener) -> Codec:
        limit = self._limits.message_bytes
        if listener.transport in (b"WS", b"WSS"):
            listen = self._listens[listener.index]
            return WebSocketCodec(limit, path=listen.path, origins=listen.origins)
        return SipCodec(limit)

    def _codec_toward(self, destination: Destination) -> Codec:
        limit = self._limits.message_bytes
        if destination.transport in (b"WS", b"WSS"):
            host = bracketed(destination.name)
            if destination.port != DEFAULT_PORTS[destination.transport]:
                host = f"{host}:{destination.port}"
            return WebSocketCodec(limit, toward=(host, "/"))
        return SipCodec(limit)

    def configure(self, listens: Sequence[ListenSettings], limits: Limits) -> None:
        """Take new limits, and for the listeners that exist new certificates, paths, origins and balancers.

        All certificate files are read again; open connections stay. Which addresses are listened on, and under what
        name, changes by a restart only. Raises CertificateError with everything that is wrong; the rest is in force.
        """
        self._limits = self.connections.limits = limits
        for udp in self._udp.values():
            udp.limits = limits
        by_uri = {each.uri: each for each in listens}
        self._listens = [by_uri.get(each.uri, each) for each in self._listens]
        problems = []
        for listener, identity in self._identities.items():
            listen = self._listens[listener.index]
            try:
                identity.reload(_files(listen))
            except CertificateError as error:
                problems.append(str(error))
        try:
            if self._trust is not None:
                self._trust.reload()
        except CertificateError as error:
            problems.append(str(error))
        if problems:
            raise CertificateError("; ".join(problems))

    def _trust_now(self) -> ClientTrust:
        if self._trust is None:
            self._trust = ClientTrust()
        return self._trust

    # -- flows

    def flow(self, token: str) -> Flow | None:
        """The flow of that token: an open connection, or any UDP peer of a listener that still exists."""
        if not token.startswith("udp/"):
            return self.connections.flow(token)
        index, _, peer = token[4:].partition("/")
        host, _, port = peer.rpartition(":")
        if not (index.isdecimal() and port.isdecimal() and is_ip(host)):
            return None
        try:
            return self.udp_flow(self.listeners[int(index)], (host, int(port)))
        except LookupError:
            return None

    def alias(self, flow: Flow, port: int) -> None:
        """A request on this flow had `;alias` in its Via, which names this port (RFC 5923)."""
        if flow.listener.serves(UPPER):
            self.connections.alias(flow, port)

    def udp_flow(self, listener: Listener, peer: tuple[str, int]) -> UdpFlow:
        """The flow from a UDP listener to a peer. Raises LookupError when the listener is not an open UDP one."""
        return self._udp[listener.whole].flow(*peer)

    def cut(self, source: str, reason: str) -> int:
        """End every connection of this source, an IPv4 address or IPv6 /64; how many there were."""
        return self.connections.cut(source, reason)

    def errors(self) -> dict[str, int]:
        """Failed UDP sends by errno name, all sockets together."""
        total: dict[str, int] = {}
        for port in self._udp.values():
            for name, count in port.errors.items():
                total[name] = total.get(name, 0) + count
        return total

    def connected(self) -> dict[str, int]:
        """Open connections by transport (`tcp`, `tls` …), for metrics."""
        counts = {listener.transport.decode("ascii").lower(): 0 for listener in self.listeners if listener.reliable}
        for connection in self.connections.all:
            word = connection.listener.transport.decode("ascii").lower()
            counts[word] = counts.get(word, 0) + 1
        return counts

    # -- connecting

    def connect(self, destination: Destination, *, side: str) -> "Deferred[Flow]":
        """A flow to the destination: UDP at once, a stream reused (RFC 5923) or opened. Fails with UnreachableError."""
        listener = self._speaker(destination.transport, destination.host, side)
        if listener is None or not 0 < destination.port <= MAX_PORT:
            return fail(UnreachableError(f"no way to {destination.host} port {destination.port} on the {side} side"))
        if destination.transport == b"UDP":
            return succeed(self.udp_flow(listener, (destination.host, destination.port)))
        tls = self._trust_now().toward(destination.name) if listener.secure else None
        return self._dialler.connect(destination, listener, lambda: self._codec_toward(destination), tls)

    def fitting(self, flow: Flow, size: int, *, side: str) -> "Deferred[Flow]":
        """The flow for a request of `size` bytes that would go over `flow`, one that we opened: by TCP when it is too
        large for a datagram and TCP is there."""
        return self._fitting.flow(flow, size, self._limits.datagram_request, side)

    def _speaker(self, transport: bytes, host: str, side: str) -> Listener | None:
        """The listener we speak for toward `host`: of this transport and able to reach it, one of just this side first.

        For a stream transport we do not listen on it is a stand-in that only connects, advertised as another one is.
        """
        key = (transport, host, side)
        if key in self._speakers:
            return self._speakers[key]
        able = [each for each in self.listeners if each.serves(side) and _reaches(each, host)]
        fitting = [each for each in able if each.transport == transport]
        found = min(fitting, key=lambda each: (each.side != side, is_wildcard(each.host)), default=None)
        if found is None and able and transport != b"UDP":
            found = Listener(-1, transport, able[0].host, able[0].port, side=side)
            found.speak_as(able[0].facing(host))
        if len(self._speakers) >= SPEAKERS:
            self._speakers.clear()
        self._speakers[key] = found
        return found


async def _stopped(port: Any) -> None:
    result = port.stopListening()
    if result is not None:
        await result


def _listener(index: int, listen: ListenSettings) -> Listener:
    address = parse_listen(listen.uri)
    told = advertised(listen.advertise)
    own = told.six or told.name if ":" in address.host else told.four or told.name
    if own is None and address.host != "::":
        own = told.six or told.four
    host, port = own or (None, None)
    return Listener(
        index,
        address.transport,
        address.host,
        address.port,
        side=listen.side,
        advertise_host=host,
        advertise_port=port,
        advertise_four=told.four or told.name,
    )


def _files(listen: ListenSettings) -> Files:
    return Files(
        certificate=listen.certificate,
        key=listen.key,
        more=listen.certificates,
        client_ca=listen.client_ca,
        client_must=listen.client_certificate == "required",
    )


def _reaches(listener: Listener, host: str) -> bool:
    """Whether a socket bound as this listener is can send to `host`: same family, and loopback only to loopback."""
    if not is_ip(host):
        return False
    if (":" in host) != listener.ipv6 and not listener.dual:
        return False
    return is_wildcard(listener.host) or not ip_address(listener.host).is_loopback or ip_address(host).is_loopback


def _local_address(family: socket.AddressFamily) -> str | None:
    """The address this machine uses toward the outside, for listeners on all addresses; nothing is sent to find it."""
    outside = "2001:db8::1" if family is socket.AF_INET6 else "192.0.2.1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((outside, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "::1" if family is socket.AF_INET6 else "127.0.0.1"


__all__ = ["CLIENT", "UPPER", "Destination", "Flow", "Listener", "Receiver", "Transports", "UnreachableError"]
