"""Where packets may be sent: what a description asks for is believed only within these rules.  [pure]

Without them anybody who can send an INVITE could aim the relay at services of the operator's own network.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from sbc.media.sdp import Place, literal

#: Below it are the well-known services (DNS, SNMP …); RTP ports are ephemeral ones (RFC 3550 section 11).
LOWEST_PORT = 1024
#: Ports of SIP itself: nobody receives media there, but a server may believe what comes from the SBC's address.
SIP_PORTS = frozenset({5060, 5061})
#: A socket address: host in canonical text and port.
Address = tuple[str, int]


def canonical(host: str) -> str:
    """The spelling the kernel uses for this address (IPv4-mapped ones as IPv4, no zone); other text unchanged."""
    address = literal(host.partition("%")[0])
    return host if address is None else str(address)


def inside(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address belongs to somebody's internal network: private, shared (RFC 6598) or link-local."""
    return not address.is_global


def destination(place: Place | None, *, signalled: str, local: str) -> Address | None:
    """The socket address to send to until the party's packets show a better one, or None: wait for them.

    `place` is what the party's description says, `signalled` the IP its signalling came from, `local` the address
    (text) the relay shows to this party. None for a host name, another address family than `local`'s, a port below
    `LOWEST_PORT` or of SIP, null, multicast, broadcast and reserved addresses, loopback unless the relay or the
    signalling is on loopback, link-local unless the signalling is, and an internal address from a party that signals
    from a public one: that one is behind NAT (RFC 7362), and packets to it would go to whoever has that address in
    *our* network.
    """
    address = None if place is None else literal(place.host)
    if place is None or address is None or place.port < LOWEST_PORT or place.port in SIP_PORTS:
        return None
    own, source = literal(local), literal(signalled.partition("%")[0])
    if own is not None and own.version != address.version:
        return None
    if address.is_unspecified or address.is_multicast or (address.version == 4 and address.is_reserved):
        return None
    if address.is_loopback:
        near = any(each is not None and each.is_loopback for each in (own, source))
        return (str(address), place.port) if near else None
    if address.is_link_local and not (source is not None and source.is_link_local):
        return None
    if inside(address) and not (source is None or inside(source)):
        return None
    return str(address), place.port
