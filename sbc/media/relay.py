"""The relay proper, which knows no Twisted: legs, their ports, their silence. The packets are moved by `forward.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random, SystemRandom
from secrets import token_bytes
from typing import Any

from sbc.media import snapshot
from sbc.media.addresses import canonical
from sbc.media.channels import Channels
from sbc.media.component import GONE, Surroundings
from sbc.media.dtls import Identity
from sbc.media.engine import Answer, Fault, Offer, Side, Statistics, other
from sbc.media.forward import Forwarder
from sbc.media.indexes import Book
from sbc.media.interwork import Face, dress, open_bundle, reject, undress
from sbc.media.leg import Channel, Guard, Leg, carried
from sbc.media.negotiation import Ends, Negotiation, Unusable
from sbc.media.ports import PortPool
from sbc.media.rewrite import Ports, forwardable, redirect
from sbc.media.sdp import Session
from sbc.media.settings import MediaSettings
from sbc.media.share import Share
from sbc.media.silence import Patience, Silence
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


class Relay:
    """What an `Engine` does, at once: methods return what an engine's Deferreds give, or raise `RemoteError`.

    `clock()` are seconds, `later(seconds, call)` calls later and returns something with `cancel()`; `book` is what
    another process may go on with, `share` which ports are lent here. Whoever owns it lets `forwarder.turn` be called
    when packets came and calls `sweep` every `SWEEP` seconds.
    """

    def __init__(
        self,
        settings: MediaSettings,
        clock: Callable[[], float],
        later: Callable[..., Any],
        random: Random | None = None,
        book: Book | None = None,
        share: Share = Share(),  # noqa: B008 - immutable
    ) -> None:
        self._clock = clock
        self._identity: Identity | None = None
        self._pool = PortPool(settings.ports.first, settings.ports.last, random or SystemRandom(), share)
        self._sockets = Sockets(self._pool)
        self.forwarder = Forwarder()
        self._channels = Channels(self.forwarder, self._sockets)
        self._surroundings = Surroundings(
            self.forwarder, later, lambda: self.identity, token_bytes, book or Book(), lambda: self.on_change()
        )
        self.reload(settings)
        self._guard = Guard(self.forwarder, settings.ports.first, settings.ports.last)
        self._legs: dict[str, Leg] = {}
        self._lost: dict[str, float] = {}
        self.on_fault: Callable[[str, Fault], None] = lambda key, fault: None
        #: Called when `memory` of some leg may have changed though nobody asked for anything.
        self.on_change: Callable[[], None] = lambda: None
        #: Offers refused since the start because no port was free.
        self.exhausted = 0

    def reload(self, settings: MediaSettings) -> None:
        """See `Engine.reload`."""
        self._patience = Patience(settings.timeout, settings.timeout_one)
        self._sockets.dscp = self.forwarder.pins.dscp = settings.dscp
        self.forwarder.strangers = settings.latch == "open"

    @property
    def identity(self) -> Identity:
        """Whose certificate the parties of DTLS see; made when it is first asked for."""
        if self._identity is None:
            self._identity = Identity()
        return self._identity

    def adopt(self, identity: Identity) -> None:
        """Have the certificate of an earlier relay; before any legs are restored."""
        self._identity = identity

    @property
    def streams(self) -> int:
        """Media lines that have ports."""
        return self._channels.count

    @property
    def packets(self) -> int:
        """Packets received from parties since the start."""
        return self.forwarder.packets

    @property
    def free_pairs(self) -> int:
        """Port pairs that could be lent now."""
        return len(self._pool)

    @property
    def keys(self) -> list[str]:
        """Of all legs there are."""
        return list(self._legs)

    def open_files(self) -> bool:
        """See to it that all ports can be used at once; False when the system's limit of open files is too low."""
        return allow_files(SOCKETS_PER_PAIR * self._pool.size)

    def stop(self) -> None:
        """End all legs and close every socket."""
        for key in list(self._legs):
            self.close(key)
        self.forwarder.close()

    def carries(self, key: str) -> bool:
        """Whether this leg is relayed."""
        return key in self._legs

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
            leg = Leg(addresses, negotiation, Silence(now))
        try:
            self._open(leg, offer.session, list(plans), now)
        except RemoteError:
            self.exhausted += 1
            raise
        self._legs[key] = leg
        negotiation.offered(offer, plans, _ends(leg))
        self._guard.addresses.update(leg.addresses.values())
        leg.pending[offer.from_] = offer
        if not leg.answered:
            self._apply_offer(leg, offer.from_)
        leg.silence.awake(now)
        ports = {index: ports for index, ports in leg.ports(other(offer.from_)).items() if index in plans}
        faces = negotiation.offer_faces(offer.from_, ports, plans)
        return self._redirected(leg, offer.session, other(offer.from_), ports, faces, negotiation.bundles(faces))

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
        leg.silence.awake(now)
        self._note_rejected(leg, answer.session, now)
        ports = {
            index: ports
            for index, ports in leg.ports(asked).items()
            if index < len(answer.session.media) and answer.session.media[index].port
        }
        faces = negotiation.answer_faces(answer.from_, ports)
        bundles = negotiation.bundles(faces, answering=asked)
        return self._redirected(leg, answer.session, asked, ports, faces, bundles)

    def snapshot(self, key: str) -> str | None:
        """See `Engine.snapshot`."""
        leg = self._legs.get(key)
        return None if leg is None or not leg.answered else snapshot.write(leg)

    def memory(self, key: str) -> str | None:
        """As `snapshot`, of legs without an answer, too, and with keys: for no disk and no log."""
        leg = self._legs.get(key)
        return None if leg is None else snapshot.write(leg, keys=True)

    def changes(self, key: str) -> int:
        """A number that changes when `memory` may have."""
        leg = self._legs.get(key)
        return 0 if leg is None else leg.changes()

    def restore(self, key: str, text: str) -> bool:
        """See `Engine.restore`."""
        if snapshot.encrypted(text):
            self._lost[key] = self._clock()
        memory = snapshot.read(text)
        if memory is None or key in self._legs:
            return False
        now = self._clock()
        negotiation = Negotiation(self._surroundings)
        leg = Leg(memory.addresses, negotiation, Silence(now), held=memory.held, answered=memory.answered)
        try:
            for each in memory.channels:
                leg.channels[each.index] = self._channels.open(leg.addresses, each.kind, each.carries, now, each.ports)
                each.recall(leg.channels[each.index], self.forwarder)
            if memory.keys is not None:
                negotiation.recall(memory.keys, _ends(leg))
        except (RemoteError, *Unusable):
            for index, channel in leg.channels.items():
                negotiation.close(index)
                self._channels.close(channel, now)
            return False
        for channel in leg.channels.values():
            for end in channel.rtp.values():
                self.forwarder.resume(end)
        negotiation.begin()
        self._legs[key] = leg
        self._guard.addresses.update(leg.addresses.values())
        return True

    def sweep(self) -> None:
        """Report silent legs and those whose encryption failed, free the ports of rejected lines."""
        now = self._clock()
        self.forwarder.pins.refresh()
        faults = [(key, Fault("keys", KEYS_LOST)) for key, since in self._lost.items() if now - since >= LOST_FOR]
        for key, leg in self._legs.items():
            for index in [index for index, channel in leg.channels.items() if _outlived(channel, now)]:
                leg.negotiation.close(index)
                self._channels.close(leg.channels.pop(index), now)
            if leg.answered and (fault := self._fault(leg, now)) is not None:
                faults.append((key, fault))
        for key, fault in faults:
            self.on_fault(key, fault)

    def _fault(self, leg: Leg, now: float) -> Fault | None:
        failure = leg.negotiation.failure(self.forwarder.clock())
        if failure:
            return Fault("gone" if failure == GONE else "keys", failure)
        held = any(leg.held.values())
        silence = leg.silence.look(leg.packets(), now, self._patience, held=held, speaking=leg.speaking())
        if silence and leg.refused:
            return Fault("keys", f"{silence} that could be decrypted")
        return Fault("timeout", silence) if silence else None

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
                    opened[index] = self._channels.open(
                        leg.addresses, media.kind.decode("ascii", "replace"), carried(media), now
                    )
        except BaseException:
            for channel in opened.values():
                self._channels.close(channel, now)
            raise
        leg.channels.update(opened)
        for index in indexes:
            leg.channels[index].rejected_at = None

    def release(self, key: str) -> tuple[str, Statistics]:
        """End a leg here so that another relay can `restore` it from this text, which is empty when that cannot be:
        then nothing changed."""
        text = self.memory(key)
        if text is None or text == snapshot.ENCRYPTED:
            return "", Statistics()
        self._legs[key].negotiation.part()
        return text, self.close(key)

    def close(self, key: str) -> Statistics:
        """See `Engine.close`."""
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
            self._channels.close(channel, now)
        return Statistics(streams)


def _ends(leg: Leg) -> dict[int, Ends]:
    return {index: (channel.rtp, channel.rtcp) for index, channel in leg.channels.items()}


def _outlived(channel: Channel, now: float) -> bool:
    return channel.rejected_at is not None and now - channel.rejected_at >= REJECTED_FOR
