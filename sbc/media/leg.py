"""One relayed leg: its two parties, its channels, and what their descriptions change."""

from __future__ import annotations

from dataclasses import dataclass, field

from sbc.media.addresses import Address, canonical, destination
from sbc.media.end import OTHER, RTCP, RTP, SECURED, End
from sbc.media.engine import Answer, Direction, Offer, Side, StreamStatistics, other
from sbc.media.forward import Forwarder
from sbc.media.negotiation import Negotiation
from sbc.media.rewrite import Ports
from sbc.media.sdp import RECVONLY, SENDONLY, SENDRECV, Media, Place, Session, literal
from sbc.media.silence import Silence

#: Both sides, in a fixed order.
SIDES: tuple[Side, Side] = ("a", "b")


@dataclass(slots=True)
class Channel:
    """The four ports of one media line: an RTP and an RTCP end facing each party.

    `rejected_at`: since when both descriptions agree that the line is not used (None: it is).
    """

    kind: str
    rtp: dict[Side, End]
    rtcp: dict[Side, End]
    rejected_at: float | None = None

    def ends(self) -> list[End]:
        """All four."""
        return [*self.rtp.values(), *self.rtcp.values()]

    def ports(self, side: Side) -> Ports:
        """What the party on this side is told."""
        return Ports(self.rtp[side].port, self.rtcp[side].port)

    def statistics(self, index: int) -> StreamStatistics:
        """Both directions as received so far."""
        return StreamStatistics(index, self.kind, self._direction("a"), self._direction("b"))

    def _direction(self, side: Side) -> Direction:
        rtp, rtcp = self.rtp[side], self.rtcp[side]
        heard, far = rtp.reception, other(side)
        reports = next(
            (each for each in (self.rtcp[far].reports, self.rtp[far].reports) if each.lost is not None), None
        )
        return Direction(
            packets=heard.packets,
            bytes=heard.bytes,
            lost=heard.lost,
            jitter=heard.jitter,
            foreign=rtp.foreign + rtcp.foreign,
            rtcp=rtcp.reception.packets,
            undelivered=rtp.homeless + self.rtp[far].unsent,
            refused=rtp.refused + rtcp.refused,
            reported_lost=None if reports is None else reports.lost,
            reported_jitter=0.0 if reports is None else reports.jitter_units / heard.rate,
        )


@dataclass(slots=True)
class Leg:
    """A leg: `addresses` are what each party is shown, `negotiation` says which lines are decrypted here, `pending` are
    the offers that have to take effect with their answer, `held` who wants no media at all, `sends` and `receives` who
    described itself so.
    """

    addresses: dict[Side, str]
    negotiation: Negotiation
    silence: Silence
    channels: dict[int, Channel] = field(default_factory=dict)
    pending: dict[Side, Offer] = field(default_factory=dict)
    held: dict[Side, bool] = field(default_factory=dict)
    sends: dict[Side, bool] = field(default_factory=dict)
    receives: dict[Side, bool] = field(default_factory=dict)
    answered: bool = False
    descriptions: int = 0

    def ports(self, side: Side) -> dict[int, Ports]:
        """By media index, what the party on this side is told."""
        return {index: channel.ports(side) for index, channel in self.channels.items()}

    def packets(self) -> dict[Side, int]:
        """What was received of each party on all its ends."""
        ends = {side: [each[side] for one in self.channels.values() for each in (one.rtp, one.rtcp)] for side in SIDES}
        return {side: sum(end.reception.packets for end in each) for side, each in ends.items()}

    def changes(self) -> int:
        """A number that changes when what is kept of the leg may have."""
        latched = sum(end.changes for channel in self.channels.values() for end in channel.ends())
        return 1 + latched + self.descriptions + len(self.channels) + self.answered

    @property
    def refused(self) -> int:
        """Packets of either party that were not encrypted as agreed."""
        return sum(end.refused for channel in self.channels.values() for end in channel.ends())

    def speaking(self) -> dict[Side, bool]:
        """Who should be heard: it said that it sends, and the other party that it receives."""
        return {side: self.sends.get(side, True) and self.receives.get(other(side), True) for side in SIDES}

    def apply(self, description: Offer | Answer, forwarder: Forwarder, allowed: Guard) -> None:
        """Send and believe from now on what this description says."""
        self.descriptions += 1
        side, session = description.from_, description.session
        source = canonical(description.source)
        held = self.negotiation.held(side, session)
        self.held[side] = all(session.held(media) for media in session.media) if held is None else held
        directions = {session.direction(media) for media in session.media if media.port}
        self.sends[side] = not directions.isdisjoint((SENDRECV, SENDONLY))
        self.receives[side] = not directions.isdisjoint((SENDRECV, RECVONLY))
        for index, channel in self.channels.items():
            media = session.media[index] if index < len(session.media) else None
            rtp, rtcp = _places(session, media)
            local = self.addresses[side]
            ends = ((channel.rtp[side], rtp), (channel.rtcp[side], rtcp))
            for end, place in () if self.negotiation.by_ice(index, side) else ends:
                wanted = allowed.destination(place, signalled=source, local=local)
                forwarder.signal(end, wanted, source, muted=place is None)
            if media is not None and media.port:
                channel.rtp[side].carries, channel.rtcp[side].carries = carried(media)
                channel.rtp[other(side)].reception.describe(media.clocks())
                readable = index in self.negotiation.crossings or media.transport in _CLEAR
                for end in (channel.rtp[side], channel.rtcp[side]):
                    end.reports.readable = readable


#: Profiles whose reports anybody can read.
_CLEAR = frozenset({b"RTP/AVP", b"RTP/AVPF"})


def carried(media: Media) -> tuple[str, str]:
    """What the two ports of this media line carry."""
    if not media.rtp:
        return OTHER, OTHER
    return (SECURED, SECURED) if media.transport.startswith(b"UDP/TLS/") else (RTP, RTCP)


class Guard:
    """Where packets may be sent, our own relay ports considered: `addresses` are all that parties were ever shown.

    A description may name a port of another leg: a call between two of our users that passes an upper server without
    media of its own comes back so. A port in the relay's range that no leg uses is refused.
    """

    def __init__(self, forwarder: Forwarder, first: int, last: int) -> None:
        self.addresses: set[str] = set()
        self._forwarder = forwarder
        self._range = range(first, last + 1)

    def destination(self, place: Place | None, *, signalled: str, local: str) -> Address | None:
        """See `addresses.destination`."""
        if place is None or literal(place.host) is None:
            return None
        address = canonical(place.host), place.port
        if self._forwarder.named(address) is not None:
            return address
        if address[1] in self._range and address[0] in self.addresses:
            return None
        return destination(place, signalled=signalled, local=local)


def _places(session: Session, media: Media | None) -> tuple[Place | None, Place | None]:
    if media is None:
        return None, None
    return session.rtp_place(media), session.rtcp_place(media)
