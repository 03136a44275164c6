"""The relay in this process: legs, their ports, their silence; the packets themselves are moved by `forward.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from random import Random, SystemRandom
from secrets import token_bytes
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sbc.media import dtls, snapshot
from sbc.media.addresses import canonical
from sbc.media.component import Surroundings
from sbc.media.engine import Answer, Offer, Side, Statistics, other
from sbc.media.forward import End, Forwarder, join
from sbc.media.interwork import Face, dress, open_bundle, reject, undress
from sbc.media.leg import SIDES, Channel, Guard, Leg, carried
from sbc.media.negotiation import Negotiation
from sbc.media.ports import PortPool
from sbc.media.rewrite import Ports, forwardable, redirect
from sbc.media.sdp import Session
from sbc.media.settings import MediaSettings
from sbc.media.sockets import Sockets, allow_files
from sbc.sip.errors import RemoteError

#: Seconds between two looks for silence and for lines that are not used any more.
SWEEP = 2.0
#: Seconds that the ports of a rejected media line are kept: 64*T1, the time in which a later answer to the same INVITE
#: may still use it.
REJECTED_FOR = 32.0

#: Seconds after a restart in which clients find their way back, to be told that their encrypted calls are over.
LOST_FOR = 15.0
KEYS_LOST = "the keys of its media were lost by a restart"

#: A pair of ports, and a second socket on the RTP port.
SOCKETS_PER_PAIR = 3

_log = Logger()
P = ParamSpec("P")
T = TypeVar("T")


def _deferring(function: Callable[P, T]) -> Callable[P, Deferred[T]]:
    """The result, or the `RemoteError`, as a Deferred that has already fired."""

    @wraps(function)
    def deferred(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        try:
            return succeed(function(*args, **kwargs))
        except RemoteError as problem:
            return fail(problem)

    return deferred


@implementer(IReadDescriptor)
class _Turning:
    """Lets a reactor turn the forwarder; one descriptor whatever the number of ports."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    def fileno(self) -> int:
        return self._forwarder.fileno()

    def doRead(self) -> None:
        self._forwarder.turn()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends; the engine closes the sockets."""

    def logPrefix(self) -> str:
        return "relay"


class PythonEngine:
    """An `Engine` whose sockets live here. `streams` counts media lines that have ports, `free_pairs` pairs to lend."""

    name = "python"

    def __init__(self, settings: MediaSettings, reactor: Any, random: Random | None = None) -> None:
        self._clock: Callable[[], float] = reactor.seconds
        self._reactor = reactor
        self._pool = PortPool(settings.ports.first, settings.ports.last, random or SystemRandom())
        self._sockets = Sockets(self._pool)
        self.forwarder = Forwarder()
        self._surroundings = Surroundings(self.forwarder, reactor.callLater, dtls.identity, token_bytes)
        self.reload(settings)
        self._guard = Guard(self.forwarder, settings.ports.first, settings.ports.last)
        self._legs: dict[str, Leg] = {}
        self._lost: dict[str, float] = {}
        self._turning = _Turning(self.forwarder)
        self._sweeping = LoopingCall(self.sweep)
        self._sweeping.clock = reactor
        self.on_silence: Callable[[str, str], None] = lambda key, why: None

    def reload(self, settings: MediaSettings) -> None:
        """See `Engine.reload`."""
        self._timeout = settings.timeout
        self._sockets.dscp = self.forwarder.pins.dscp = settings.dscp
        self.forwarder.strangers = settings.latch == "open"

    @property
    def streams(self) -> int:
        """Media lines that have ports."""
        return sum(len(leg.channels) for leg in self._legs.values())

    @property
    def packets(self) -> int:
        """Packets received from parties since the start."""
        return self.forwarder.packets

    @property
    def free_pairs(self) -> int:
        """Port pairs that could be lent now."""
        return len(self._pool)

    def start(self) -> None:
        """Read packets from now on."""
        if not allow_files(SOCKETS_PER_PAIR * self._pool.size):
            _log.warn("the limit of open files (ulimit -Hn) is too low for all media ports to be used at once")
        self._reactor.addReader(self._turning)
        self._sweeping.start(SWEEP, now=False)

    def stop(self) -> Deferred[None]:
        """End all legs and close every socket."""
        if self._sweeping.running:
            self._sweeping.stop()
            self._reactor.removeReader(self._turning)
        for key in list(self._legs):
            self._end(key)
        self.forwarder.close()
        return succeed(None)

    def carries(self, key: str) -> bool:
        """Whether this leg is relayed."""
        return key in self._legs

    @_deferring
    def offer(self, key: str, offer: Offer) -> bytes:
        """See `Engine.offer`. A description that no relay of datagrams can carry leaves unchanged, without a leg."""
        now = self._clock()
        leg = self._legs.get(key)
        open_bundle(offer.session)
        negotiation = Negotiation(self._surroundings) if leg is None else leg.negotiation
        plans = negotiation.plan(offer)
        if leg is None:
            if not plans:
                return offer.session.render()
            addresses: dict[Side, str] = {
                offer.from_: canonical(offer.back),
                other(offer.from_): canonical(offer.toward),
            }
            leg = Leg(addresses, negotiation)
        self._open(leg, offer.session, list(plans), now)
        self._legs[key] = leg
        negotiation.offered(
            offer, plans, {index: (channel.rtp, channel.rtcp) for index, channel in leg.channels.items()}
        )
        self._guard.addresses.update(leg.addresses.values())
        leg.pending[offer.from_] = offer
        if not leg.answered:
            self._apply_offer(leg, offer.from_)
        leg.awake(now)
        ports = {index: ports for index, ports in leg.ports(other(offer.from_)).items() if index in plans}
        faces = negotiation.offer_faces(offer.from_, ports, plans)
        return self._redirected(leg, offer.session, other(offer.from_), ports, faces, negotiation.bundles(faces))

    @_deferring
    def answer(self, key: str, answer: Answer) -> bytes:
        """See `Engine.answer`."""
        leg = self._legs.get(key)
        if leg is None:
            return answer.session.render()
        now = self._clock()
        asked = other(answer.from_)
        self._apply_offer(leg, asked)
        negotiation = leg.negotiation
        negotiation.answered(answer)
        leg.apply(answer, self.forwarder, self._guard)
        negotiation.begin()
        leg.answered = True
        leg.awake(now)
        self._note_rejected(leg, answer.session, now)
        ports = {
            index: ports
            for index, ports in leg.ports(asked).items()
            if index < len(answer.session.media) and answer.session.media[index].port
        }
        faces = negotiation.answer_faces(answer.from_, ports)
        bundles = negotiation.bundles(faces, answering=asked)
        return self._redirected(leg, answer.session, asked, ports, faces, bundles)

    @_deferring
    def close(self, key: str) -> Statistics:
        """See `Engine.close`."""
        return self._end(key)

    def snapshot(self, key: str) -> str | None:
        """See `Engine.snapshot`."""
        leg = self._legs.get(key)
        if leg is None or not leg.answered:
            return None
        return snapshot.ENCRYPTED if leg.negotiation.crossings else snapshot.write(leg)

    @_deferring
    def restore(self, key: str, text: str) -> bool:
        """See `Engine.restore`."""
        if text == snapshot.ENCRYPTED:
            self._lost[key] = self._clock()
        memory = snapshot.read(text)
        if memory is None or key in self._legs:
            return False
        now = self._clock()
        leg = Leg(memory.addresses, Negotiation(self._surroundings), held=memory.held, answered=True, heard_at=now)
        try:
            for each in memory.channels:
                leg.channels[each.index] = self._open_channel(leg, each.kind, each.carries, now, each.ports)
        except RemoteError:
            for channel in leg.channels.values():
                self._close_channel(channel, now)
            return False
        for each in memory.channels:
            each.recall(leg.channels[each.index], self.forwarder)
            for end in leg.channels[each.index].rtp.values():
                self.forwarder.resume(end)
        self._legs[key] = leg
        self._guard.addresses.update(leg.addresses.values())
        return True

    def sweep(self) -> None:
        """Report silent legs and those whose encryption failed, free the ports of rejected lines."""
        now = self._clock()
        self.forwarder.pins.refresh()
        silent: list[str] = []
        failed = [(key, KEYS_LOST) for key, since in self._lost.items() if now - since >= LOST_FOR]
        for key, leg in self._legs.items():
            for index in [index for index, channel in leg.channels.items() if _outlived(channel, now)]:
                leg.negotiation.close(index)
                self._close_channel(leg.channels.pop(index), now)
            if leg.answered and (why := leg.negotiation.failure(self.forwarder.clock())):
                failed.append((key, why))
            if not self._timeout or not leg.answered or leg.silent:
                continue
            heard = leg.packets()
            if heard != leg.heard or any(leg.held.values()):
                leg.heard, leg.heard_at = heard, now
            elif now - leg.heard_at >= self._timeout:
                leg.silent = True
                silent.append(key)
        for key in silent:
            self.on_silence(key, f"no media for {self._timeout:g} s")
        for key, why in failed:
            self.on_silence(key, why)

    def _apply_offer(self, leg: Leg, side: Side) -> None:
        """An offer takes effect at once in a new leg, else with its answer: if it is refused, nothing changed."""
        offer = leg.pending.pop(side, None)
        if offer is not None:
            leg.negotiation.settle(side)
            leg.apply(offer, self.forwarder, self._guard)
            leg.negotiation.begin()

    def _redirected(
        self,
        leg: Leg,
        session: Session,
        toward: Side,
        ports: Mapping[int, Ports],
        faces: Mapping[int, Face],
        bundles: list[bytes],
    ) -> bytes:
        edited = session.copy()
        address = leg.addresses[toward].encode("ascii")
        ports = {index: each for index, each in ports.items() if forwardable(edited.media[index])}
        crossings = leg.negotiation.crossings
        for index, media in enumerate(edited.media):
            if index in crossings and index not in faces and not media.port:
                party = crossings[index].parties[toward]
                reject(media, party.protocol or media.protocol, party.mid)
            elif index not in ports and media.port and (forwardable(media) or faces):
                media.move(0)
        undress(edited, faces, address)
        redirect(edited, ports, address)
        dress(edited, faces, address, bundles)
        return edited.render()

    def _note_rejected(self, leg: Leg, session: Session, now: float) -> None:
        for index, channel in leg.channels.items():
            used = index < len(session.media) and session.media[index].port
            channel.rejected_at = None if used else (channel.rejected_at or now)

    def _open(self, leg: Leg, session: Session, indexes: list[int], now: float) -> None:
        """Channels for these media lines; all or, when one fails, none."""
        opened: dict[int, Channel] = {}
        try:
            for index in indexes:
                if index not in leg.channels:
                    media = session.media[index]
                    opened[index] = self._open_channel(leg, media.kind.decode("ascii", "replace"), carried(media), now)
        except BaseException:
            for channel in opened.values():
                self._close_channel(channel, now)
            raise
        leg.channels.update(opened)
        for index in indexes:
            leg.channels[index].rejected_at = None

    def _open_channel(
        self, leg: Leg, kind: str, carries: tuple[str, str], now: float, ports: dict[Side, int] | None = None
    ) -> Channel:
        """On `ports` (even ones), else on any."""
        channel = Channel(kind, {}, {})
        try:
            for side in SIDES:
                address = leg.addresses[side]
                if ports is None:
                    rtp, rtcp = self._sockets.pair(address, now)
                else:
                    rtp, rtcp = self._sockets.pair_on(address, ports[side], now)
                channel.rtp[side], channel.rtcp[side] = End(rtp, carries[0]), End(rtcp, carries[1])
        except BaseException:
            for end in channel.rtp.values():
                self._sockets.release(end.port, now)
            for end in channel.ends():
                end.socket.close()
            raise
        for ends in (channel.rtp, channel.rtcp):
            join(ends["a"], ends["b"])
            for side in SIDES:
                self.forwarder.add(ends[side], (leg.addresses[side], ends[side].port))
        return channel

    def _close_channel(self, channel: Channel, now: float) -> None:
        for end in channel.rtp.values():
            self._sockets.release(end.port, now)
        for end in channel.ends():
            self.forwarder.remove(end)

    def _end(self, key: str) -> Statistics:
        leg = self._legs.pop(key, None)
        self._lost.pop(key, None)
        if leg is None:
            return Statistics()
        now = self._clock()
        for channel in leg.channels.values():
            for end in channel.rtp.values():
                self.forwarder.pins.part(end)
        streams = tuple(channel.statistics(index) for index, channel in sorted(leg.channels.items()))
        for index, channel in leg.channels.items():
            leg.negotiation.close(index)
            self._close_channel(channel, now)
        return Statistics(streams)


def _outlived(channel: Channel, now: float) -> bool:
    return channel.rejected_at is not None and now - channel.rejected_at >= REJECTED_FOR
