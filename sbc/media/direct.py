"""Whether two parties can send their media to each other without the relay in between.  [pure]

`relay = "auto"` relays unless everything that is known says that they can: a call without sound is worse than one that
takes a detour.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbc.media.addresses import canonical, inside
from sbc.media.sdp import Session, literal


@dataclass(frozen=True, slots=True)
class Party:
    """One of them: `source` is the IP its signalling comes from, `stated` the host that it gives as its own there (its
    Contact; empty when unknown), `shown` the address it knows us by, `server` that it is an upper server, `web` that it
    is a browser."""

    source: str
    stated: str
    shown: str
    server: bool = False
    web: bool = False


def direct(session: Session, sender: Party, receiver: Party) -> bool:
    """Whether media need not be relayed after this offer.

    Not when one of them is a browser, or speaks another protection than RTP with keys that are theirs alone; when the
    SBC shows itself to them under different addresses, for then it stands between two networks; when they differ in
    address family, or in whether they are of the public network; or when one of them is behind NAT: it states another
    address than its packets have. An upper server is believed to be where it says, since it is no phone.
    """
    if sender.web or receiver.web or sender.shown != receiver.shown:
        return False
    if any(section.has(b"ice-ufrag") for section in (session.head, *session.media)):
        return False
    kinds = {_kind(host) for host in (sender.source, receiver.source, *_places(session))}
    if len(kinds) != 1 or None in kinds:
        return False
    theirs = [(receiver, receiver.stated), *((sender, host) for host in (sender.stated, *_places(session)))]
    return all(_outside(party, host) for party, host in theirs)


def _outside(party: Party, host: str) -> bool:
    """Whether no NAT is between us and this party, as far as this address of its tells."""
    return party.server or canonical(host) == canonical(party.source)


def _places(session: Session) -> list[str]:
    """Where media is wanted."""
    return [place.host for media in session.media if (place := session.rtp_place(media)) is not None]


def _kind(host: str) -> tuple[int, bool, bool] | None:
    """What two addresses must have in common so that one is reached from the other; None for a name."""
    address = literal(canonical(host))
    return None if address is None else (address.version, inside(address), address.is_loopback)
