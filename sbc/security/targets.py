"""Where a client may make us send to: what it names in X-Sy.Uppersrv, a request URI, a 3xx or a REFER. Pure.

Without a rule an SBC is an open relay and a way into the operator's own network.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from sbc.security.access import AccessList

_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 addresses behind a translator (RFC 6052 2.1)."""


class Targets:
    """Addresses that may be reached on a client's word."""

    __slots__ = ("_listed", "_own")

    def __init__(self, listed: Iterable[IPv4Network | IPv6Network], own: Iterable[str] = ()) -> None:
        """`listed`: networks the operator allows although they are private; `own`: addresses we are reached at."""
        self._listed = AccessList(listed)
        self._own = frozenset(own)

    def allowed(self, host: str) -> bool:
        """Whether `host`, an IP address, may be sent to: listed, or a public unicast address that is not our own.

        Ask it of every address that a name resolved to, and send only to those asked about.
        """
        if host in self._own:
            return False
        if host in self._listed:
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        if isinstance(address, IPv6Address):
            # Forms of IPv6 that lead to an IPv4 address are as good or bad as that one.
            inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
            if address in _NAT64:
                inner = IPv4Address(int(address) & 0xFFFFFFFF)
            if inner is not None:
                return self.allowed(str(inner))
        return address.is_global and not address.is_multicast
