"""Descriptions as the other side shall see them: the relay's address and ports in place of the sender's.  [pure]"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sbc.media.sdp import Connection, Media, Session, literal

#: Attributes that would lead the receiver past the relay: ICE (RFC 8839) candidates and addresses of allowed sources
#: (RFC 4570). Without the ICE ones the two ends fall back to plain sockets, which is what a relay offers.
BYPASSES = frozenset(
    {b"candidate", b"remote-candidates", b"end-of-candidates", b"ice-ufrag", b"ice-pwd", b"ice-options", b"ice-lite",
     b"ice-pacing", b"ice-mismatch", b"ice2", b"alt", b"source-filter"}
)  # fmt: skip
#: Grouping onto one port (RFC 9143): each stream has its own port pair here.
_BUNDLE_ONLY = frozenset({b"bundle-only"})

_FORWARDED = frozenset(
    {b"RTP/AVP", b"RTP/AVPF", b"RTP/SAVP", b"RTP/SAVPF", b"UDP/TLS/RTP/SAVP", b"UDP/TLS/RTP/SAVPF",
     b"UDPTL", b"UDP", b"UDP/UDPTL", b"UDP/TLS/UDPTL", b"UDP/BFCP", b"UDP/TLS/BFCP"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ports:
    """The relay's ports for one media: RTP and, for RTP media, RTCP."""

    rtp: int
    rtcp: int


def forwardable(media: Media) -> bool:
    """Whether a relay of datagrams can carry this media at all; TCP media cannot."""
    return media.transport in _FORWARDED


def redirect(session: Session, ports: Mapping[int, Ports], address: bytes) -> None:
    """Edit `session` in place: its sender is now the relay at `address` (an IP literal, or a name for IPv4), on `ports`
    by media index.

    Media without ports keep their place (they get a `c=` line of their own when the session's changes), a null address
    stays null (hold), addresses in `o=` and rejected media are hidden. Lines that say nothing about the transport stay
    as they came.
    """
    connection = b"IN %s %s" % (_family(address), address)
    shared = session.head.connection
    move_shared = shared is not None and not shared.unspecified
    raw_shared = session.head.value(b"c") or b""
    _hide_origin(session, address)
    for index, media in enumerate(session.media):
        place = ports.get(index)
        if place is not None:
            _move(media, place, connection)
            if media.value(b"c") is None and shared is None:
                media.insert(b"c", connection, b"mi")
        elif not media.port:
            _conceal(media, connection)
        elif move_shared and media.value(b"c") is None:
            media.insert(b"c", raw_shared, b"mi")
    if move_shared:
        session.head.replace(b"c", connection)
    if ports:
        session.head.drop(BYPASSES)
        session.head.unbundle()


def _move(media: Media, place: Ports, connection: bytes) -> None:
    muxed_port = media.rtcp is not None and media.rtcp[0] == media.port
    media.move(place.rtp)
    _conceal(media, connection)
    rtcp = media.rtcp
    if rtcp is not None:
        port = place.rtp if muxed_port else place.rtcp
        media.rename(b"rtcp", b"%d %s" % (port, connection) if rtcp[1] is not None else b"%d" % port)


def _conceal(media: Media, connection: bytes) -> None:
    own: Connection | None = media.connection
    if own is not None and not own.unspecified:
        media.replace(b"c", connection)
    media.drop(BYPASSES | _BUNDLE_ONLY)


def _hide_origin(session: Session, address: bytes) -> None:
    """Write the relay's address into `o=`; the other fields stay, so the receiver can still tell versions apart."""
    origin = session.head.value(b"o")
    words = origin.split() if origin is not None else []
    if len(words) == 6:
        session.head.replace(b"o", b" ".join([*words[:4], _family(address), address]))


def _family(address: bytes) -> bytes:
    literal_address = literal(address.decode("ascii", "replace"))
    return b"IP6" if literal_address is not None and literal_address.version == 6 else b"IP4"
