"""UDP: one reader per socket that drains it on each wake-up, and flows that send straight to the socket.

Twisted's `listenUDP` checks each address by regular expression on every write and calls one protocol per datagram; this
reader costs about half of it under load.
"""

import socket
from collections import Counter, deque
from collections.abc import Callable
from errno import EAGAIN, EINTR, EWOULDBLOCK, errorcode
from struct import unpack_from
from typing import Any

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sbc.transport.address import normal_host
from sbc.transport.flow import Flow, Gate, Listener, Receiver
from sbc.transport.limits import (
    BANNED,
    CLEARED_SHARE,
    CROWDED_SHARE,
    DATAGRAM_BYTES,
    DATAGRAMS_PER_WAKE,
    NOT_SIP,
    OVERSIZED,
    RECEIVE_BUFFER_BYTES,
    SHED_PER_WAKE,
    UDP_FLOWS,
    UDP_QUEUE_DATAGRAMS,
    Limits,
)
from sbc.transport.sniff import begins_sip
from sbc.transport.stunkeepalive import binding_answer

SO_MEMINFO = 55
"""Linux: how much memory a socket's buffers take (socket(7)); the socket module has no name for it."""
_FULL = (EAGAIN, EWOULDBLOCK, EINTR)
_SILENCE = frozenset(b"\r\n\0 ")
"""Octets of which the keep-alives in use consist (CRLF, double CRLF, one or four NUL)."""


class UdpFlow(Flow):
    """A remote UDP address seen from one of our sockets. Always open; cheap; equal tokens may be different objects."""

    __slots__ = ("_address", "_port", "_token")

    def __init__(self, port: "UdpPort", peer: tuple[str, int], address: tuple[Any, ...], heard_at: float) -> None:
        super().__init__(port.listener, peer, heard_at)
        self._port = port
        self._address = address
        self._token = ""

    @property
    def token(self) -> str:
        """`udp/<listener index>/<host>:<port>`: names the same flow on this node after a restart too."""
        if not self._token:
            self._token = f"udp/{self.listener.index}/{self.peer[0]}:{self.peer[1]}"
        return self._token

    def send(self, data: bytes) -> None:
        self._port.send(data, self._address, self)

    def close(self, reason: str) -> None:
        """A UDP flow has nothing to close."""


@implementer(IReadWriteDescriptor)
class UdpPort:
    """One bound UDP socket, its reader, its send queue and the peers it knows."""

    def __init__(
        self,
        reactor: Any,
        listener: Listener,
        receiver: Receiver,
        limits: Limits,
        gate: Gate,
        clock: Callable[[], float],
    ) -> None:
        self.listener = listener
        self.errors: Counter[str] = Counter()
        """Sends that failed, by errno name, and `dropped` for a full queue."""
        self._reactor = reactor
        self._receiver = receiver
        self.limits = limits
        self._gate = gate
        self._clock = clock
        self._socket: socket.socket | None = None
        self._queue: deque[tuple[bytes, tuple[Any, ...]]] = deque()
        # Two generations: when the young one is full it becomes the old one and the old one is forgotten. Peers that
        # are heard or written to move to the young one, so that a flood of forged sources cannot push them out.
        self._young: dict[tuple[Any, ...], UdpFlow] = {}
        self._old: dict[tuple[Any, ...], UdpFlow] = {}
        self._full = False
        """The last wake read as much as it may: more may wait."""
        self._crowded = self._cleared = 0.0
        self._log = Logger()

    # -- life

    def bind(self, *, only_ipv6: bool = False) -> int:
        """Open and bind the socket; returns the real port. Raises OSError."""
        listener = self.listener
        opened = socket.socket(socket.AF_INET6 if listener.ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            if listener.ipv6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_ipv6))
            enlarge_receive_buffer(opened)
            opened.bind((listener.host, listener.port))
        except OSError:
            opened.close()
            raise
        room = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._crowded, self._cleared = room * CROWDED_SHARE, room * CLEARED_SHARE
        self._socket = opened
        return int(opened.getsockname()[1])

    def start(self) -> None:
        """Begin to read."""
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Stop reading and close; datagrams still queued are lost."""
        if self._socket is None:
            return
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._socket.close()
        self._socket = None
        self._queue.clear()
        self._young.clear()
        self._old.clear()

    @property
    def queued(self) -> int:
        """Datagrams waiting for the socket to take them."""
        return len(self._queue)

    # -- flows

    def flow(self, host: str, port: int) -> UdpFlow:
        """The flow to a peer, `host` an IP address of this socket's family, or IPv4 on a dual-stack one."""
        if not self.listener.ipv6:
            return self._flow((host, port), 0.0)
        return self._flow((host if ":" in host else f"::ffff:{host}", port, 0, 0), 0.0)

    def _flow(self, address: tuple[Any, ...], heard_at: float) -> UdpFlow:
        flow = self._young.get(address)
        if flow is not None:
            return flow
        flow = self._old.get(address)
        if flow is None:
            flow = UdpFlow(self, (normal_host(address[0]), address[1]), address, heard_at)
        if len(self._young) >= UDP_FLOWS:
            self._old = self._young
            self._young = {}
        self._young[address] = flow
        return flow

    # -- IReadWriteDescriptor

    def fileno(self) -> int:
        return self._socket.fileno() if self._socket is not None else -1

    def logPrefix(self) -> str:
        return "sip-udp"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives the descriptor up (at shutdown)."""
        self.stop()

    def doRead(self) -> None:
        if self._full and self._waiting() > self._crowded:
            self._shed()
        young, gate = self._young, self._gate
        self._full = False
        for _ in range(DATAGRAMS_PER_WAKE):
            if self._socket is None:
                return
            try:
                data, address = self._socket.recvfrom(DATAGRAM_BYTES)
            except OSError as error:
                if error.errno not in _FULL:
                    # Errors of earlier sends (ICMP) surface here on some systems; the next read goes on.
                    self.errors[errorcode.get(error.errno or 0, "unknown")] += 1
                return
            now = self._clock()
            flow = young.get(address)
            if flow is None:
                flow = self._flow(address, now)
                young = self._young
            if not gate.admits(flow.peer[0]):
                self._receiver.refused(flow, BANNED)
                continue
            flow.heard_at = now
            self._take(data, flow)
        self._full = True

    def _shed(self) -> None:
        """More waits than can be served in time: what strangers sent is dropped unread until less does."""
        gate, dropped = self._gate, 0
        for number in range(SHED_PER_WAKE):
            if self._socket is None or (number % DATAGRAMS_PER_WAKE == 0 and self._waiting() < self._cleared):
                break
            try:
                data, address = self._socket.recvfrom(DATAGRAM_BYTES)
            except OSError:
                break
            host = normal_host(address[0])
            if not gate.known(host):
                dropped += 1
            elif gate.admits(host):
                flow = self._flow(address, 0.0)
                flow.heard_at = self._clock()
                self._take(data, flow)
        if dropped:
            self._receiver.shed(dropped)

    def _waiting(self) -> int:
        """Bytes of memory that datagrams waiting to be read take; 0 where the system does not say."""
        if self._socket is None:
            return 0
        try:
            return int(unpack_from("=I", self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[0])
        except OSError:
            return 0

    def _take(self, data: bytes, flow: UdpFlow) -> None:
        """One datagram of an admitted peer."""
        if len(data) < 5 and _SILENCE.issuperset(data):
            if data == b"\r\n\r\n":
                # Ping and pong are the stream's (RFC 5626 4.4.1), but phones send them over UDP too, and the answer
                # keeps their NAT open at no gain for an attacker: two octets for four.
                flow.send(b"\r\n")
            return
        if data[0] in _SILENCE:
            answer = binding_answer(data, *flow.peer)
            if answer is not None:
                flow.send(answer)
                return
            data = data.lstrip(b"\r\n")  # RFC 3261 7.5
        if not begins_sip(data):
            self._receiver.refused(flow, NOT_SIP)
        elif len(data) > self.limits.message_bytes:
            self._receiver.refused(flow, OVERSIZED)
        else:
            try:
                self._receiver.received(data, flow)
            except Exception:  # noqa: BLE001  (our own bug with one datagram must not cost the socket)
                self._log.failure("a datagram from {peer} made us fail", peer=flow.peer)

    def doWrite(self) -> None:
        queue = self._queue
        while queue and self._socket is not None:
            data, address = queue[0]
            try:
                self._socket.sendto(data, address)
            except OSError as error:
                if error.errno in _FULL:
                    return
                self.errors[errorcode.get(error.errno or 0, "unknown")] += 1
            queue.popleft()
        if self._socket is not None:
            self._reactor.removeWriter(self)

    # -- sending

    def send(self, data: bytes, address: tuple[Any, ...], flow: UdpFlow) -> None:
        """Send one datagram; queue it if the socket is full. An address that cannot be reached is told as lost."""
        if self._socket is None:
            return
        if not self._queue:
            try:
                self._socket.sendto(data, address)
            except OSError as error:
                if error.errno not in _FULL:
                    self._failed(flow, errorcode.get(error.errno or 0, "unknown"))
                    return
                self._reactor.addWriter(self)
            except OverflowError:  # what Python makes of a port above 65535
                self._failed(flow, "port")
                return
            else:
                return
        if len(self._queue) >= UDP_QUEUE_DATAGRAMS:
            self.errors["dropped"] += 1
            return
        self._queue.append((data, address))

    def _failed(self, flow: UdpFlow, name: str) -> None:
        self.errors[name] += 1
        # Not now: whoever called send() is in the midst of a decision.
        self._reactor.callLater(0, self._receiver.lost, flow, name)


def enlarge_receive_buffer(opened: socket.socket) -> None:
    """Ask for RECEIVE_BUFFER_BYTES, past the system's bound where we have the privilege."""
    forced = getattr(socket, "SO_RCVBUFFORCE", 33)  # Linux; the socket module has no name for it
    try:
        opened.setsockopt(socket.SOL_SOCKET, forced, RECEIVE_BUFFER_BYTES)
    except OSError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
