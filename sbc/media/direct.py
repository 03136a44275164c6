"""Whether two parties can send their media to each other without the relay in between.  [pure]

`relay = "auto"` relays unless everything that is known says that they can: a call without sound is worse than one that
takes a detour.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from sbc.media.addresses import canonical, inside
from sbc.media.sdp import Session, literal

#: Bits of an address that one local network has in common, by address family.
_LOCAL = {4: 24, 6: 64}


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

    Only when it goes to an upper server, and all addresses that are known, those of its media among them, are in one
    local network, where neither a firewall nor a missing route is to be feared. Toward a phone it is relayed: where the
    phone wants media nobody knows before its answer, and its Contact proves nothing, since many behind NAT write there
    what they learnt from our responses (RFC 3581). So is a phone with a public address, which may be one that it learnt
    by STUN, and one that states another address than its packets have. An upper server is believed to be where it says.
    Not direct either when one of them is a browser, speaks another protection than RTP with keys that are theirs alone,
    or when the SBC shows itself to them under different addresses, for then it stands between two networks.
    """
    if sender.web or receiver.web or not receiver.server or sender.shown != receiver.shown:
        return False
    if any(section.has(b"ice-ufrag") for section in (session.head, *session.media)):
        return False
    places = _places(session)
    networks = {_network(host) for host in (sender.source, receiver.source, *places)}
    if len(networks) != 1 or None in networks:
        return False
    return sender.server or _at_home(sender, places)


def _at_home(phone: Party, places: list[str]) -> bool:
    """Whether no NAT is between us and this phone, as far as its addresses tell."""
    source = canonical(phone.source)
    address = literal(source)
    near = address is not None and inside(address)
    return near and all(canonical(host) == source for host in (phone.stated, *places))


def _places(session: Session) -> list[str]:
    """Where media is wanted."""
    return [place.host for media in session.media if (place := session.rtp_place(media)) is not None]


def _network(host: str) -> IPv4Network | IPv6Network | None:
    """The local network that an address is in, as they are usually cut; None for a name."""
    address = literal(canonical(host))
    if address is None:
        return None
    bits = 8 if address.version == 4 and address.is_loopback else _LOCAL[address.version]
    return ip_network((address, bits), strict=False)
