"""Upper servers that clients choose: which ones they may, and what they are called. Pure.

A client that may send us anywhere makes an open relay of us and a way into the operator's network; one that may give
its own server the name of somebody else's domain takes over that domain's users here. So an address is used only if the
operator has listed it, or if the list is empty and it is public; and it stands for a domain of another name only if it
is listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from sbc.sip.errors import ParseError, RemoteError
from sbc.sip.uri import Uri
from sbc.upper.patterns import Pattern
from sbc.upper.servers import UpperServer

NOT_ALLOWED = RemoteError(403, b"Upper Server Not Allowed")

CHOSEN = "sip:"
"""What the name of a chosen server begins with: its name is its URI, so that it is known again after a restart."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a client asks for, as text: X-Sy.Uppersrv, X-Sy.Upperproxy and X-Sy.Uppersrvd."""

    server: str = ""
    proxy: str = ""
    domain: str = ""


class Selection:
    """The operator's list. ValueError for an entry that is neither network nor host pattern."""

    __slots__ = ("_hosts", "_networks")

    def __init__(self, listed: Iterable[str]) -> None:
        networks: list[IPv4Network | IPv6Network] = []
        hosts: list[Pattern] = []
        for entry in listed:
            try:
                networks.append(ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                hosts.append(Pattern.read(entry))
        self._networks = tuple(networks)
        self._hosts = tuple(hosts)

    @property
    def empty(self) -> bool:
        """Whether any public address will do."""
        return not self._networks and not self._hosts

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Networks that may be reached although they are not public."""
        return self._networks

    def lists(self, host: str) -> bool:
        """Whether the operator has listed this host or address."""
        host = host.strip("[]").lower()
        if any(pattern.match(host) is not None for pattern in self._hosts):
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def chosen(self, choice: Choice, taken: frozenset[bytes]) -> UpperServer:
        """The server that a client asks for; `taken` are the domains of configured servers, lower case.

        Raises RemoteError 403 for one it may not have, 400 for what is no address. Where it leads is still to be
        checked, address by address (`UpperServer.guarded`).
        """
        main, sent = _address(choice.server), _address(choice.proxy or choice.server)
        domain = choice.domain.strip().lower().encode("ascii", "replace") or main.host.lower()
        listed = self.lists(sent.host.decode("ascii", "replace"))
        if not listed and (not self.empty or domain != sent.host.lower() or domain in taken):
            raise NOT_ALLOWED
        if domain in taken and domain != sent.host.lower():
            raise NOT_ALLOWED
        return named(sent.render().decode("ascii", "replace"), domain)


def named(name: str, domain: bytes) -> UpperServer:
    """The chosen server of that name. ValueError for a name that is none."""
    uri = Uri.parse(name.encode())
    if not name.startswith(CHOSEN) or uri.user is not None:
        raise ValueError(name)
    return UpperServer(name, uri, domain or uri.host.lower(), 0, 1, (), guarded=True)


def _address(text: str) -> Uri:
    """`host`, `host:port`, or a SIP URI, without anything that is not needed to get there."""
    text = text.strip().strip("<>")
    try:
        uri = Uri.parse((text if text.lower().startswith("sip:") else f"sip:{text}").encode())
    except ParseError:
        raise RemoteError(400, b"Bad Upper Server") from None
    transport = uri.params.get(b"transport")
    kept = {b"transport": transport.lower()} if transport in (b"udp", b"tcp", b"tls", b"UDP", b"TCP", b"TLS") else {}
    return Uri(b"sip", None, None, uri.host.lower(), uri.port, kept, None)
