"""The forwarding core: UDP sockets in an epoll set, one turn of the loop, no reactor.

Whoever runs it calls `Forwarder.turn` when `Forwarder.fileno()` is readable (or blocks in it): a reactor in the same
process, or a bare loop in a process of its own.

One datagram is taken per socket and turn: with a packet each 20 ms a second read would only find the queue empty, at
the price of a system call and an exception.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from sbc.media.addresses import Address
from sbc.media.end import LOOPBACK, OTHER, RTCP, End, plausible
from sbc.media.latch import FOREIGN, GRACE, Memory, Source
from sbc.media.pins import Pins
from sbc.media.rtp import HEADER, HEADER_SIZE, MEDIA_BYTE, looks_like_rtcp, looks_like_rtp

#: Sockets served per turn; the rest is served by the next one, after other work had its chance.
MAX_EVENTS = 512
#: Bytes of the largest UDP datagram.
MAX_DATAGRAM = 65_535
#: Legs that packets may pass on their way through relay ports of this process: a call that comes back from an upper
#: server passes two.
MAX_SPIRAL = 4


class Crossed(Protocol):
    """Who deals with the packets of an end that are not simply forwarded."""

    end: End

    def take(self, buffer: bytearray, now: float) -> None:
        """Read one datagram and deal with it. Raises `OSError` when there is none."""


class Forwarder:
    """All ends of this process."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._epoll = select.epoll()
        self._ends: dict[int, End] = {}
        self._crossed: dict[int, Crossed] = {}
        self._watched: dict[int, Callable[[], object]] = {}
        self._names: dict[Address, End] = {}
        self._buffer = bytearray(MAX_DATAGRAM)
        self._view = memoryview(self._buffer)
        #: Seconds, as the times that ends are told.
        self.clock = clock
        #: Whether strangers may latch at all, see `latch`.
        self.strangers = False
        #: What the kernel forwards in place of `turn`.
        self.pins = Pins()
        self._packets_before = 0

    def __len__(self) -> int:
        return len(self._served())

    @property
    def packets(self) -> int:
        """Packets received and believed since the start."""
        return self._packets_before + sum(end.reception.packets for end in self._served())

    def _served(self) -> list[End]:
        forwarded = [end for descriptor, end in self._ends.items() if descriptor != end.direct]
        return forwarded + [crossed.end for crossed in self._crossed.values()]

    def fileno(self) -> int:
        """Readable when `turn` has work."""
        return self._epoll.fileno()

    def add(self, end: End, *names: Address) -> None:
        """Serve this end; `names` are addresses besides `end.name` under which descriptions may speak of it."""
        descriptor = end.socket.fileno()
        self._ends[descriptor] = end
        end.names = (end.name, *names)
        for name in end.names:
            self._names.setdefault(name, end)
        self._epoll.register(descriptor, select.EPOLLIN)

    def remove(self, end: End) -> None:
        """Serve it no more and close its socket. Not to be called from within a turn."""
        self._disconnect(end)
        descriptor = end.socket.fileno()
        self._epoll.unregister(descriptor)
        self._ends.pop(descriptor, None)
        self._crossed.pop(descriptor, None)
        for name in end.names:
            if self._names.get(name) is end:
                del self._names[name]
        self._packets_before += end.reception.packets
        end.peer = end
        end.socket.close()

    def cross(self, end: End, crossed: Crossed | None) -> None:
        """From now on `crossed` deals with the packets of this end; None: they are forwarded again."""
        descriptor = end.socket.fileno()
        self._disconnect(end)
        if crossed is None:
            self._crossed.pop(descriptor, None)
            self._ends[descriptor] = end
        else:
            self._ends.pop(descriptor, None)
            self._crossed[descriptor] = crossed

    def close(self) -> None:
        """Close everything."""
        for end in self._served():
            self.remove(end)
        self._epoll.close()

    def named(self, address: Address) -> End | None:
        """The end that this address means, if it is one of ours."""
        return self._names.get(address)

    def signal(self, end: End, described: Address | None, signalled: str, *, muted: bool) -> None:
        """The party of this end sent a description: see `Latch.signal`. A relay port as destination is only kept when
        packets cannot come back to where they were.
        """
        target = None if described is None else self._names.get(described)
        if target is not None:
            described = None if self._circles(end, target) else target.name
        self._signal(end, described, signalled, muted=muted)

    def _signal(self, end: End, described: Address | None, signalled: str, *, muted: bool) -> None:
        """A program on this machine that signals over loopback may send from our own address to our own address."""
        self._disconnect(end)
        alias = end.name[0] if signalled in LOOPBACK.values() else ""
        strangers_at = self.clock() + GRACE if self.strangers else None
        end.signal(described, signalled, muted=muted, alias=alias, strangers_at=strangers_at)

    def recall(self, end: End, memory: Memory) -> None:
        """Go on after a restart as the end did whose memory this is."""
        end.recall(memory)
        self._signal(end, memory.described, memory.signalled, muted=memory.muted)

    def resume(self, end: End) -> None:
        """Take over, after a restart, what the kernel still forwards for this port."""
        flow = None if self.pins.offload is None else self.pins.offload.left(end.port)
        if flow is not None and end.accept(flow.source, self.clock()):
            self._connect(end)

    def _circles(self, end: End, target: End) -> bool:
        """Whether a packet sent by `end` to `target` could reach `end` or its peer again."""
        for _ in range(MAX_SPIRAL):
            if target is end or target is end.peer:
                return True
            destination = target.peer.destination
            following = None if destination is None else self._names.get(destination[:2])
            if following is None:
                return False
            target = following
        return True

    def watch(self, descriptor: int, call: Callable[[], object], *, writing: bool = False) -> None:
        """Call this, too, when the descriptor is readable (with `writing`: or writable)."""
        events = select.EPOLLIN | (select.EPOLLOUT if writing else 0)
        if descriptor in self._watched:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._watched[descriptor] = call

    def unwatch(self, descriptor: int) -> None:
        """Watch it no more; before it is closed."""
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def turn(self, timeout: float = 0.0) -> int:
        """Wait up to `timeout` seconds (-1: for ever) and forward one datagram of each readable socket.

        Returns how many sockets had one. Never raises for what the network does.
        """
        ends, buffer, view, unpack = self._ends, self._buffer, self._view, HEADER.unpack_from
        events = self._epoll.poll(timeout, MAX_EVENTS)
        now = self.clock()
        for descriptor, _ in events:
            end = ends.get(descriptor)
            if end is None:
                self._take(descriptor, now)
                continue
            try:
                if descriptor == end.direct:
                    size = end.receive_direct(buffer)
                else:
                    size, source = end.receive(buffer)
                    if source != end.source and not self._believe(end, source, size, now):
                        continue
            except OSError:  # an ICMP error is told in place of a packet
                continue
            reception = end.reception
            first, second, sequence, stamp, ssrc = unpack(buffer)
            if (
                sequence == reception.expected
                and ssrc == reception.ssrc
                and second == reception.kind
                and first > 127
                and size >= HEADER_SIZE
            ):
                reception.expected = (sequence + 1) & 0xFFFF
                transit = now * reception.rate - stamp
                step = transit - reception.transit
                reception.transit = transit
                if step < 0.0:
                    step = -step
                if step < reception.largest_step:
                    reception.jitter_units += (step - reception.jitter_units) * 0.0625
            elif looks_like_rtp(first, second, size):
                reception.note(second, sequence, stamp, ssrc, now)
            elif looks_like_rtcp(first, second, size):
                end.reports.note(bytes(view[:size]))
            elif end.carries != OTHER and not (size and MEDIA_BYTE[first]):
                end.foreign += 1
                continue
            reception.packets += 1
            reception.bytes += size
            peer = end.peer
            destination = peer.destination
            if destination is None:
                end.homeless += 1
                continue
            try:
                if peer.direct >= 0:
                    peer.send_direct(view[:size])
                else:
                    peer.send(view[:size], destination)
            except OSError:
                self._again(peer, size, destination)
        return len(events)

    def _take(self, descriptor: int, now: float) -> None:
        crossed = self._crossed.get(descriptor)
        if crossed is None:
            self._watched.get(descriptor, _closed_in_this_turn)()
            return
        try:
            crossed.take(self._buffer, now)
        except OSError:
            pass

    def plausible_source(self, end: End, source: Source) -> bool:
        """Whether packets from here may be believed by this end, as far as can be told without changing it."""
        address: Address = source[:2]
        if address in self._names and address != end.described:
            return False
        return self.strangers or end.fits(source) != FOREIGN

    def _again(self, end: End, size: int, destination: Source) -> None:
        """Send by the first socket: on a connected one an ICMP error, which anybody can forge, is told in place of
        sending."""
        try:
            end.send(self._view[:size], destination)
        except OSError:
            end.unsent += 1

    def _believe(self, end: End, source: Source, size: int, now: float) -> bool:
        """A packet from elsewhere than the latched source: let the latch decide, unless it cannot be media."""
        buffer = self._buffer
        address: Address = source[:2]
        own = self._names.get(address)
        if own is not None and address != end.described:
            end.foreign += 1
            return False
        if plausible(end.carries, buffer[0], buffer[1], size) and end.accept(source, now):
            if end.carries != RTCP:  # a report every few seconds is not worth a descriptor
                self._connect(end)
            return True
        end.foreign += 1
        return False

    def _connect(self, end: End) -> None:
        self._disconnect(end)
        descriptor = end.connect()
        if descriptor >= 0:
            self._ends[descriptor] = end
            self._epoll.register(descriptor, select.EPOLLIN)
            self.pins.pair(end, self._names)

    def _disconnect(self, end: End) -> None:
        if end.direct >= 0:
            self.pins.part(end)
            self._epoll.unregister(end.direct)
            del self._ends[end.direct]
            end.disconnect()


def _closed_in_this_turn() -> None:
    """Its event was already under way."""
