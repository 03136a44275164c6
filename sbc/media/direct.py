"""Whether two parties can send their media to each other without the relay in between.  [pure]

`relay = "auto"` relays when a side is behind NAT, when the sides differ in address family or media protection, or when
one is a browser; and whenever that cannot be ruled out, since a call without sound is worse than one that takes a
detour.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from sbc.media.addresses import canonical
from sbc.media.sdp import Session, literal

#: A network whose addresses all reach each other, as the operator says.
Network = IPv4Network | IPv6Network
#: Where addresses are given out by who has the network, and not by a carrier that translates them.
_PRIVATE_FOUR = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8")
_PRIVATE_SIX = ("fc00::/7", "fe80::/10", "::1")
_PRIVATE = tuple(map(ip_network, (*_PRIVATE_FOUR, *_PRIVATE_SIX)))
#: Bits of an address that one local network has in common, by address family.
_LOCAL = {4: 24, 6: 64}


@dataclass(frozen=True, slots=True)
class Party:
    """One of them: `source` is the IP its signalling comes from, `stated` the host that it gives as its own there (its
    Contact; empty when unknown, or when its port is another one than that of the packets), `shown` the address it knows
    us by, `server` that it is an upper server, `web` that it is a browser, `translated` that it has said before, on the
    same flow, that it is elsewhere than its packets come from."""

    source: str
    stated: str
    shown: str
    server: bool = False
    web: bool = False
    translated: bool = False


def direct(session: Session, sender: Party, receiver: Party, networks: Collection[Network] = ()) -> bool:
    """Whether media need not be relayed after this offer.

    Only when all addresses that are known, those of its media among them, are in one local network, where neither a
    firewall nor a missing route is to be feared, or in `networks`; and when no phone among the two may be behind NAT.
    An upper server is believed to be where it says. Not direct either when one of them is a browser, speaks another
    protection than RTP with keys that are theirs alone, or when the SBC shows itself to them under different addresses,
    for then it stands between two networks.
    """
    if sender.web or receiver.web or sender.shown != receiver.shown:
        return False
    if any(section.has(b"ice-ufrag") for section in (session.head, *session.media)):
        return False
    places = _places(session)
    if not _together({sender.source, receiver.source, *places}, networks):
        return False
    return _at_home(sender, places, networks) and _at_home(receiver, [], networks)


def _at_home(party: Party, places: list[str], networks: Collection[Network]) -> bool:
    """Whether no NAT is between us and this party, as far as its addresses tell.

    What a phone writes into its Contact proves little: many behind NAT write there what they learnt from our responses
    (RFC 3581) or by STUN, which is why one with a public address is not believed, nor one that has said otherwise
    before. Left is the phone behind a router that is itself in the local network, and that had learnt its outer address
    before we first heard it.
    """
    if party.server:
        return True
    source = canonical(party.source)
    address = literal(source)
    near = address is not None and any(address in each for each in (*_PRIVATE, *networks))
    return near and not party.translated and all(canonical(host) == source for host in (party.stated, *places))


def _places(session: Session) -> list[str]:
    """Where media is wanted."""
    return [place.host for media in session.media if (place := session.rtp_place(media)) is not None]


def _together(hosts: Iterable[str], networks: Collection[Network]) -> bool:
    """Whether these are in one local network, as they are usually cut, or all of one family in `networks`; names are in
    none."""
    addresses = [literal(canonical(host)) for host in hosts]
    known = [each for each in addresses if each is not None]
    if len(known) < len(addresses) or len({each.version for each in known}) != 1:
        return False
    if all(any(address in each for each in networks) for address in known):
        return True
    bits = [8 if each.version == 4 and each.is_loopback else _LOCAL[each.version] for each in known]
    return len({ip_network((address, size), strict=False) for address, size in zip(known, bits, strict=True)}) == 1
