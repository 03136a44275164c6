"""How connections to providers are opened: verified TLS, and a guard against addresses that are not public.

Certificate chain and host name are checked, always (Twisted's ``optionsForClientTLS`` with service-identity).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.address import IPv4Address as TwistedIPv4
from twisted.internet.address import IPv6Address as TwistedIPv6
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver, IStreamClientEndpoint
from twisted.internet.ssl import PrivateCertificate, optionsForClientTLS, platformTrust
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

# Seconds to open a TCP connection.
CONNECT_WITHIN = 5.0
# TLS contexts kept: one for each host and client certificate. Each has the trust anchors in memory, some 100 kB.
MAX_OPTIONS = 50

_NAT64 = ip_network("64:ff9b::/96")


class Place(NamedTuple):
    """Scheme, host and port of a provider."""

    secure: bool
    host: str
    port: int

    @property
    def authority(self) -> bytes:
        """As in ``:authority`` and ``Host``: without a default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}").encode()

    @classmethod
    def of(cls, url: str) -> Place:
        """The place of an ``http(s)://host[:port]`` address. ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http(s) address")
        secure = parts.scheme == "https"
        return cls(secure, parts.hostname, parts.port or (443 if secure else 80))


class ForbiddenAddressError(Exception):
    """The host resolves to an address that an app must not make us talk to."""


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public Internet, looking into addresses that embed an IPv4 one."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour
        if inside is None and address in _NAT64:
            inside = ip_address(int(address) & 0xFFFFFFFF)  # type: ignore[assignment]
        if inside is not None:
            return is_public(str(inside))
    return address.is_global and not address.is_multicast


@implementer(IOpenSSLTrustRoot)
class _Trust:
    """The system's trust anchors and those of one file."""

    def __init__(self, pem: bytes) -> None:
        self._anchors = x509.load_pem_x509_certificates(pem)

    def _addCACertsToContext(self, context: SSL.Context) -> None:
        context.set_default_verify_paths()
        store = context.get_cert_store()
        if store is not None:
            for anchor in self._anchors:
                store.add_cert(X509.from_cryptography(anchor))


class Connector:
    """Makes endpoints. *guarded* refuses addresses that are not public or are *own*, unless the host matches
    *allow*.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        ca_pem: bytes = b"",
        guarded: bool = False,
        allow: Collection[str] = (),
        own: Collection[str] = (),
    ) -> None:
        self._reactor = reactor
        self._trust = _trust_root(ca_pem)
        self._options: dict[tuple[str, tuple[bytes, ...], bytes], Any] = {}
        self._guarded, self._allow, self._own = guarded, tuple(allow), frozenset(own)

    def exempt(self, host: str) -> bool:
        """Whether the operator allows *host* whatever its address."""
        return any(fnmatch.fnmatchcase(host.lower(), pattern.lower()) for pattern in self._allow)

    def endpoint(self, place: Place, *, protocols: list[bytes], certificate: bytes = b"") -> Any:
        """An ``IStreamClientEndpoint``; *protocols* for ALPN, *certificate* PEM of a client certificate and its key."""
        inner: Any
        if self._guarded and not self.exempt(place.host):
            inner = _GuardedEndpoint(self._reactor, place.host, place.port, self._own)
        else:
            inner = HostnameEndpoint(self._reactor, place.host.encode(), place.port, timeout=CONNECT_WITHIN)
        if not place.secure:
            return inner
        return _TlsEndpoint(self._reactor, self._tls(place.host, tuple(protocols), certificate), inner)

    def _tls(self, host: str, protocols: tuple[bytes, ...], certificate: bytes) -> Any:
        """TLS options; kept, since reading the system's trust anchors takes milliseconds."""
        options = self._options.get((host, protocols, certificate))
        if options is None:
            own = PrivateCertificate.loadPEM(certificate) if certificate else None  # type: ignore[no-untyped-call]
            options = optionsForClientTLS(
                host, trustRoot=self._trust, clientCertificate=own, acceptableProtocols=list(protocols)
            )
            if len(self._options) >= MAX_OPTIONS:
                self._options.clear()
            self._options[host, protocols, certificate] = options
        return options


def _trust_root(pem: bytes) -> Any:
    return _Trust(pem) if pem else platformTrust()  # type: ignore[no-untyped-call]


@implementer(IStreamClientEndpoint)
class _TlsEndpoint:
    """TLS over another endpoint, with the timers on the reactor that was handed in (Twisted's own takes the global
    one).
    """

    def __init__(self, reactor: Any, options: Any, inner: Any) -> None:
        self._reactor, self._options, self._inner = reactor, options, inner

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        outer = TLSMemoryBIOFactory(self._options, True, protocolFactory, clock=self._reactor)
        connecting: Deferred[Any] = self._inner.connect(outer)
        return connecting.addCallback(lambda protocol: protocol.wrappedProtocol)


@implementer(IResolutionReceiver)
class _Found:
    """Collects the addresses of a name."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.done: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        pass

    def addressResolved(self, address: object) -> None:
        if isinstance(address, TwistedIPv4 | TwistedIPv6):
            self.addresses.append(address.host)

    def resolutionComplete(self) -> None:
        self.done.callback(self.addresses)


@implementer(IStreamClientEndpoint)
class _GuardedEndpoint:
    """Resolves, checks every address, then connects to exactly one that was checked, so that no second look-up can
    differ.
    """

    def __init__(self, reactor: Any, host: str, port: int, own: frozenset[str]) -> None:
        self._reactor, self._host, self._port, self._own = reactor, host, port, own

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        found = _Found()
        self._reactor.nameResolver.resolveHostName(found, self._host, self._port)
        return found.done.addCallback(self._checked, protocolFactory)

    def _checked(self, addresses: list[str], factory: Any) -> Deferred[Any]:
        if not addresses:
            return fail(ForbiddenAddressError(f"{self._host} has no address"))
        for address in addresses:
            if address in self._own or not is_public(address):
                return fail(ForbiddenAddressError(f"{self._host} is not on the public Internet"))
        return self._try(addresses, factory)

    def _try(self, addresses: list[str], factory: Any) -> Deferred[Any]:
        kind = TCP6ClientEndpoint if ":" in addresses[0] else TCP4ClientEndpoint
        connecting: Deferred[Any] = kind(self._reactor, addresses[0], self._port, timeout=CONNECT_WITHIN).connect(
            factory
        )

        def failed(failure: Failure) -> Any:
            return self._try(addresses[1:], factory) if len(addresses) > 1 else failure

        return connecting.addErrback(failed)
