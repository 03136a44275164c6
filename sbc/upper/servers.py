"""Which upper servers there are, and which of them a request came from or should go to."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sbc.sip.uri import Uri
from sbc.upper.settings import UpperSettings

MAX_CHOSEN = 10_000
"""Servers chosen by clients that are remembered, about 1 kB each."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class UpperServer:
    """One upper server. `uri` is where requests go, `domain` the host part its users have; `path`: it knows Path;
    `guarded`: a client chose it, so that each address must be checked before it is sent to."""

    name: str
    uri: Uri
    domain: bytes
    priority: int
    weight: int
    trust: tuple[Network, ...]
    path: bool = False
    guarded: bool = False

    @property
    def transport(self) -> bytes:
        """The transport asked for by the URI, upper case; UDP where it names none."""
        return (self.uri.params.get(b"transport") or b"udp").upper()


def server_from(settings: UpperSettings) -> UpperServer:
    """The server that one `[[upper]]` entry describes. The settings room has checked the URI."""
    uri = Uri.parse(settings.uri.encode())
    domain = settings.domain.encode().lower() or uri.host.lower()
    return UpperServer(settings.name, uri, domain, settings.priority, settings.weight, settings.trust, settings.path)


class UpperServers:
    """All upper servers, in order of preference, with the addresses they were last resolved to.

    `located` is told the addresses; until then a server is known by its `trust` ranges, and by its URI where that
    names an IP address.
    """

    def __init__(self, servers: Iterable[UpperServer]) -> None:
        self.ordered: Sequence[UpperServer] = ()
        self._by_name: dict[str, UpperServer] = {}
        self._by_domain: dict[bytes, tuple[UpperServer, ...]] = {}
        self._addresses: dict[str, frozenset[tuple[str, int]]] = {}
        self._by_host: dict[str, UpperServer] = {}
        self._chosen: OrderedDict[str, UpperServer] = OrderedDict()
        self.configure(servers)

    def configure(self, servers: Iterable[UpperServer]) -> None:
        """These are the servers from now on. What one that stays the same was resolved to is still known."""
        given = list(servers)
        former = self._by_name
        self.ordered = sorted(given, key=lambda server: (server.priority, -server.weight))
        self._by_name = {server.name: server for server in self.ordered}
        domains: dict[bytes, list[UpperServer]] = {}
        for server in given:
            domains.setdefault(server.domain, []).append(server)
        self._by_domain = {domain: tuple(found) for domain, found in domains.items()}
        for name, server in former.items():
            if self._by_name.get(name) != server:
                self._addresses.pop(name, None)
        self._index()
        for server in self.ordered:
            literal = _literal(server.uri.host)
            if literal is not None:
                self.located(server, [(literal, server.uri.port or 5060)])

    def __getitem__(self, name: str) -> UpperServer:
        return self._by_name[name]

    def get(self, name: str) -> UpperServer | None:
        """The server of that name, if it is still configured, or a client chose it."""
        return self._by_name.get(name) or self._chosen.get(name)

    def adopt(self, server: UpperServer) -> UpperServer:
        """A client has chosen this server: it is known by its name and addresses, while there is room."""
        self._chosen[server.name] = server
        self._chosen.move_to_end(server.name)
        while len(self._chosen) > MAX_CHOSEN:
            name, _ = self._chosen.popitem(last=False)
            self._addresses.pop(name, None)
        return server

    @property
    def domains(self) -> frozenset[bytes]:
        """The domains of configured servers, and the hosts that their URIs name."""
        return frozenset(self._by_domain) | {server.uri.host.lower() for server in self.ordered}

    def located(self, server: UpperServer, addresses: Iterable[tuple[str, int]]) -> None:
        """These are now all addresses (IP text, port) that the server's URI resolves to."""
        self._addresses[server.name] = frozenset(addresses)
        self._index()

    def _index(self) -> None:
        hosts: dict[str, UpperServer] = {}
        for other in (*self.ordered, *self._chosen.values()):
            for host, _port in self._addresses.get(other.name, ()):
                hosts.setdefault(host, other)
        self._by_host = hosts

    def by_source(self, host: str) -> UpperServer | None:
        """The server whose address, or trusted range, this source IP belongs to; the port does not matter."""
        found = self._by_host.get(host)
        if found is not None:
            return found
        ranged = [server for server in self.ordered if server.trust]
        if ranged:
            try:
                address = ipaddress.ip_address(host)
            except ValueError:
                return None
            for server in ranged:
                if any(address in network for network in server.trust):
                    return server
        return None

    def hosts(self) -> frozenset[str]:
        """Every address that a configured server was last resolved to."""
        return frozenset(host for host, server in self._by_host.items() if not server.guarded)

    def is_address(self, server: UpperServer, host: str, port: int) -> bool:
        """Whether this is exactly one of the addresses that requests for the server go to."""
        return (host, port) in self._addresses.get(server.name, frozenset())

    def by_domain(self, domain: bytes) -> UpperServer | None:
        """The preferred server of a SIP domain; also found by the host its URI names."""
        domain = domain.lower()
        for server in self.ordered:
            if domain in (server.domain, server.uri.host.lower()):
                return server
        return None

    def of_domain(self, domain: bytes) -> tuple[UpperServer, ...]:
        """Every server of a SIP domain, in the order in which they are configured."""
        return self._by_domain.get(domain, ())

    def fellows(self, server: UpperServer) -> tuple[UpperServer, ...]:
        """The servers that can stand in for this one, itself among them: those of its domain."""
        return (server,) if server.guarded else self._by_domain.get(server.domain, (server,))

    def home(self, server: UpperServer) -> UpperServer:
        """The server under whose name the users of this one's domain are stored, whichever takes their requests: the
        first of the domain in the configuration."""
        return self.fellows(server)[0]

    def preferred(self) -> UpperServer | None:
        """The first server in order of priority."""
        return self.ordered[0] if self.ordered else None


def _literal(host: bytes) -> str | None:
    try:
        return str(ipaddress.ip_address(host.decode("ascii", "replace").strip("[]")))
    except ValueError:
        return None
