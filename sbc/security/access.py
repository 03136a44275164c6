"""Lists of networks, asked per datagram. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from sbc.transport.address import within

REMEMBERED = 8_192
"""Addresses whose answer is remembered; asking `ipaddress` costs microseconds per network."""


class AccessList:
    """Whether an address lies in one of some networks."""

    __slots__ = ("_known", "_networks")

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, host: str) -> bool:
        if not self._networks:
            return False
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[host] = within(host, self._networks)
        return known
