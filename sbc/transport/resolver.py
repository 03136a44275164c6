"""Where a SIP URI leads (RFC 3263): a list of destinations in the order to try them."""

import random as random_source
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, gatherResults, succeed

from sbc.sip.errors import RemoteError
from sbc.sip.uri import Uri
from sbc.transport.address import DEFAULT_PORTS, is_ip, normal_host
from sbc.transport.flow import Destination
from sbc.transport.names import AAAA, NAPTR, SRV, A, CachedNames, Dns, Record, UnansweredError
from sbc.transport.order import SRV_PREFIXES, Naptr, Srv, order_naptr, order_srv

MAX_DESTINATIONS = 16
"""Destinations tried for one request; with 4 s each a caller has long given up."""
MAX_NAME_BYTES = 253
"""A domain name (RFC 1035 2.3.4)."""


class UnresolvableError(RemoteError):
    """The URI leads nowhere: 404 for a name that does not exist, 503 when DNS is silent."""


class Resolver:
    """RFC 3263 by a cached DNS. IP literals are answered at once."""

    def __init__(
        self,
        reactor: Any,
        *,
        names: CachedNames | None = None,
        nameservers: Sequence[tuple[str, int]] = (),
        transports: Sequence[bytes] = (b"UDP", b"TCP", b"TLS"),
        ipv6: bool = True,
        random: Callable[[], float] = random_source.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`transports`: those we can send on, in our order of preference where DNS has none; `ipv6`: ask for AAAA."""
        self._names = names if names is not None else CachedNames(Dns(reactor, nameservers), clock)
        self._transports = tuple(transports)
        self._ipv6 = ipv6
        self._random = random

    def resolve(self, uri: Uri, transport: bytes | None = None) -> "Deferred[list[Destination]]":
        """The destinations for a request to `uri`, best first, at least one. Fails with UnresolvableError.

        `transport` overrides the URI's parameter. A `maddr` parameter takes the place of the host (RFC 3261 19.1.1).
        """
        try:
            wanted = transport or _transport_of(uri)
            host = _host_of(uri)
        except UnresolvableError as error:
            return fail(error)
        secure = uri.scheme == b"sips"
        if secure and wanted is not None:
            wanted = {b"TCP": b"TLS", b"WS": b"WSS"}.get(wanted, wanted)
        if wanted is None and (is_ip(host) or uri.port is not None):
            wanted = b"TLS" if secure else b"UDP"  # RFC 3263 4.1
        if wanted is not None and is_ip(host):
            return succeed([Destination(wanted, host, uri.port or DEFAULT_PORTS[wanted], host)])
        return Deferred.fromCoroutine(self._resolve(host, uri.port, wanted, secure))

    async def _resolve(self, host: str, port: int | None, transport: bytes | None, secure: bool) -> list[Destination]:
        found: list[Destination] = []
        silent = False
        try:
            if transport is not None and port is not None:
                found = await self._addresses([(transport, host, port)], host)
            elif transport is not None:
                found = await self._services([(transport, SRV_PREFIXES[transport] + host)], host)
            else:
                found = await self._any_transport(host, secure)
            if not found and port is None:
                # No service record at all: the address of the name itself (RFC 3263 4.2, last paragraph).
                chosen = transport or (b"TLS" if secure else b"UDP")
                found = await self._addresses([(chosen, host, DEFAULT_PORTS[chosen])], host)
        except UnansweredError:
            silent = True
        if not found:
            raise UnresolvableError(503 if silent else 404, b"DNS Silent" if silent else b"Domain Not Found")
        return found[:MAX_DESTINATIONS]

    async def _any_transport(self, host: str, secure: bool) -> list[Destination]:
        """Neither transport nor port given: NAPTR says which, else every SRV name is tried (RFC 3263 4.1)."""
        usable = [each for each in self._transports if not secure or each in (b"TLS", b"WSS")]
        try:
            records = await self._names.ask(host, NAPTR)
        except UnansweredError:
            records = ()  # many resolvers mishandle NAPTR; the SRV names are known anyway
        services = order_naptr((record for record in records if isinstance(record, Naptr)), usable)
        if not services:
            services = [(each, SRV_PREFIXES[each] + host) for each in usable]
        return await self._services(services, host)

    async def _services(self, services: list[tuple[bytes, str]], name: str) -> list[Destination]:
        """Destinations behind SRV names, one transport after the other."""
        services = [service for service in services if _is_name(service[1])]
        asked = await _together([self._names.ask(srv_name, SRV) for _, srv_name in services])
        targets = [
            (transport, record.target, record.port)
            for (transport, _), records in zip(services, asked, strict=True)
            for record in order_srv((record for record in records if isinstance(record, Srv)), self._random)
            if record.port and (_is_name(record.target) or is_ip(record.target))
        ]
        return await self._addresses(targets[:MAX_DESTINATIONS], name)

    async def _addresses(self, targets: list[tuple[bytes, str, int]], name: str) -> list[Destination]:
        """Each target's addresses, IPv6 first (RFC 6724); a certificate must be valid for `name` (RFC 5922 4)."""
        kinds = (AAAA, A) if self._ipv6 else (A,)
        hosts = list(dict.fromkeys(host for _, host, _ in targets))
        asked = await _together([self._names.ask(host, kind) for host in hosts if not is_ip(host) for kind in kinds])
        answers = iter(asked)
        addresses: dict[str, list[str]] = {}
        for host in hosts:
            if is_ip(host):
                addresses[host] = [host]
            else:
                addresses[host] = [each for _ in kinds for each in next(answers) if isinstance(each, str)]
        return [
            Destination(transport, address, port, name)
            for transport, host, port in targets
            for address in addresses[host]
        ]


async def _together(questions: "list[Deferred[Sequence[Record]]]") -> list[Sequence[Record]]:
    """All answers; a question without one counts as no records unless none was answered."""
    failed: list[UnansweredError] = []

    def silent(failure: Any) -> Sequence[Record]:
        failure.trap(UnansweredError)
        failed.append(failure.value)
        return ()

    answers: list[Sequence[Record]] = await gatherResults(
        [each.addErrback(silent) for each in questions], consumeErrors=True
    )
    if failed and not any(answers):
        raise failed[0]
    return answers


def _transport_of(uri: Uri) -> bytes | None:
    if not uri.transport:
        return None
    name = uri.transport.upper()
    if name not in DEFAULT_PORTS:
        raise UnresolvableError(503, b"Unsupported Transport")
    if uri.scheme == b"sips" and name == b"UDP":
        raise UnresolvableError(503, b"SIPS Over UDP")
    return name


def _host_of(uri: Uri) -> str:
    raw = uri.params.get(b"maddr") or uri.host
    host = raw.decode("ascii", "replace").removeprefix("[").removesuffix("]")
    if ":" in host:
        host = normal_host(host.replace(":::", "::"))  # which the grammar of RFC 3261 has (RFC 5118 section 4.10)
    if not host or len(host) > MAX_NAME_BYTES or not (is_ip(host) or _is_name(host)):
        raise UnresolvableError(404, b"Bad Host")
    return host


def _is_name(host: str) -> bool:
    labels = host.rstrip(".").split(".")
    return (
        len(host) <= MAX_NAME_BYTES
        and host.isascii()
        and all(0 < len(label) <= 63 and all(char.isalnum() or char in "-_" for char in label) for label in labels)
    )
