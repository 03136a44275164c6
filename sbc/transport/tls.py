"""TLS contexts: certificates that can be reloaded under running connections, and the check of whom we connected to."""

import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import service_identity
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import (
    Certificate,
    DNSName,
    SubjectAlternativeName,
    UniformResourceIdentifier,
    load_pem_x509_certificates,
)
from cryptography.x509.extensions import ExtensionNotFound
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from zope.interface import implementer

from sbc.transport.address import is_ip

SESSION_SECONDS = 3_600
"""How long a TLS session may be resumed: longer than a phone's registration refresh takes to bring it back."""
TICKET_KEYS_SECONDS = 12 * 3_600
"""How long the keys of session tickets are used: who gets hold of them can read recorded TLS 1.2 sessions of that time.
They are this process's own, and change with every reload of the certificates too. What was begun before them is not
resumed: a phone makes one full handshake more."""
SESSION_CONTEXT = b"sbc"
"""What OpenSSL tells our sessions by; without one none can be resumed where clients show certificates."""

CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!SHA1:!aNULL"
"""TLS 1.2 suites: forward secrecy always, CBC only with SHA-2 for old phones. TLS 1.3 brings its own."""


class CertificateError(Exception):
    """A certificate or key file cannot be used; the text names the file and says why."""


def _context(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Idle connections give their 32 KiB of record buffers back.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def _load(context: SSL.Context, certificate: str, key: str) -> None:
    key = key or certificate
    try:
        mode = os.stat(key).st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CertificateError(f"{key}: readable by others than its owner; chmod 600 it")
        context.use_certificate_chain_file(certificate)
        context.use_privatekey_file(key)
        context.check_privatekey()
    except OSError as error:
        raise CertificateError(f"{error.filename}: {error.strerror}") from error
    except SSL.Error as error:
        raise CertificateError(f"{certificate}, {key}: {_words(error) or 'no PEM certificate'}") from error


def _trust(context: SSL.Context, ca_file: str) -> None:
    try:
        context.load_verify_locations(ca_file)
    except SSL.Error as error:
        raise CertificateError(f"{ca_file}: {_words(error) or 'cannot be read'}") from error


def _words(error: SSL.Error) -> str:
    """OpenSSL's own words for an error."""
    reasons = error.args[0] if error.args else ()
    return "; ".join(str(reason[-1]) for reason in reasons if reason)


class Connection(SSL.Connection):
    """A TLS connection for which the end of the stream is an end, with or without a closing alert.

    Most phones go without one. Twisted keeps the error that pyOpenSSL makes of it in a frame that keeps the error, and
    so 28 KiB of TLS state until the cyclic collector comes. SIP has message borders of its own: a cut is noticed.
    """

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        try:
            return super().recv(bufsiz, flags)
        except SSL.SysCallError as error:
            if error.args[:1] != (-1,):
                raise
        raise SSL.ZeroReturnError


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The PEM files of one listener: its certificate and key, further ones (each with its key) for other names, whose
    certificates clients may show, and whether they must."""

    certificate: str
    key: str = ""
    more: Sequence[str] = ()
    client_ca: str = ""
    client_must: bool = True


@implementer(IOpenSSLServerConnectionCreator)
class ServerIdentity:
    """The certificates of one TLS or WSS listener. Each connection uses what was loaded last when it began.

    Of several certificates a client sees the one for the name it asks for (SNI, RFC 6066 3), or the first. What was
    read stays in memory, so that ticket keys change on time: OpenSSL makes those of a context once. `clock`: monotonic
    seconds.
    """

    def __init__(self, files: Files, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises CertificateError."""
        self._clock = clock
        self.reload(files)

    def reload(self, files: Files) -> None:
        """Read the files anew, for connections from now on. Raises CertificateError and keeps what was loaded."""
        self._read = _Read(files)
        self._renew()

    def _renew(self) -> None:
        self._current = self._made(self._read)
        self._renew_at = self._clock() + TICKET_KEYS_SECONDS

    @staticmethod
    def _made(read: "_Read") -> SSL.Context:
        first = read.context(read.first)
        by_name: dict[str, SSL.Context] = {}
        for one in read.more:
            context = read.context(one)
            for name in names_of(one.chain[0]):
                by_name.setdefault(name, context)
        if by_name:
            for name in names_of(read.first.chain[0]):
                by_name[name] = first

            def asked(connection: SSL.Connection) -> None:
                name = (connection.get_servername() or b"").decode("ascii", "replace").lower().rstrip(".")
                found = by_name.get(name) or by_name.get("*." + name.partition(".")[2])
                if found is not None and found is not first:
                    connection.set_context(found)

            first.set_tlsext_servername_callback(asked)
        return first

    def serverConnectionForTLS(self, tls: Any) -> SSL.Connection:
        if self._clock() >= self._renew_at:
            self._renew()
        return Connection(self._current, None)


@dataclass(frozen=True, slots=True)
class _Pair:
    """What a certificate file and its key file hold."""

    chain: Sequence[Certificate]
    key: Any


class _Read:
    """All that the files of a listener hold. Raises CertificateError."""

    def __init__(self, files: Files) -> None:
        self.first = _pair(files.certificate, files.key)
        self.more = [_pair(file, "") for file in files.more]
        self._authorities: Sequence[Certificate] = ()
        self._must = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if files.client_must else 0
        if files.client_ca:
            _trust(_context(SSL.TLS_SERVER_METHOD), files.client_ca)
            self._authorities = load_pem_x509_certificates(_bytes(files.client_ca))

    def context(self, pair: _Pair) -> SSL.Context:
        """A new context for one of the certificates, with ticket keys of its own."""
        context = _context(SSL.TLS_SERVER_METHOD)
        context.set_session_id(SESSION_CONTEXT)
        context.set_timeout(SESSION_SECONDS)
        context.use_certificate(pair.chain[0])
        for authority in pair.chain[1:]:
            context.add_extra_chain_cert(authority)
        context.use_privatekey(pair.key)
        if self._authorities:
            store = context.get_cert_store()
            assert store is not None
            for authority in self._authorities:
                store.add_cert(X509.from_cryptography(authority))
            context.set_verify(SSL.VERIFY_PEER | self._must, _as_openssl_says)
        return context


def _pair(certificate: str, key: str) -> _Pair:
    _load(_context(SSL.TLS_SERVER_METHOD), certificate, key)  # says what is wrong with them
    try:
        return _Pair(
            load_pem_x509_certificates(_bytes(certificate)), load_pem_private_key(_bytes(key or certificate), None)
        )
    except (ValueError, TypeError) as error:
        raise CertificateError(f"{certificate}, {key or certificate}: {error}") from error


def _bytes(file: str) -> bytes:
    with open(file, "rb") as opened:
        return opened.read()


def names_of(certificate: Certificate) -> set[str]:
    """The host names and SIP domains that a certificate is for, in lower case; names with wildcards as they are."""
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except (ExtensionNotFound, ValueError):
        return set()
    return {name.lower() for name in names.get_values_for_type(DNSName)} | _sip_domains(certificate)


def _as_openssl_says(_connection: Any, _certificate: Any, _error: int, _depth: int, ok: int) -> bool:
    return bool(ok)


class ClientTrust:
    """Whom we believe when we connect, and what we show when asked."""

    def __init__(self, *, ca_file: str = "", verify: bool = True, certificate: str = "", key: str = "") -> None:
        """`ca_file`: authorities trusted besides the system's; `verify` False: anybody. Raises CertificateError."""
        self._ca_file = ca_file
        self._verify = verify
        self._certificate = certificate
        self._key = key
        self._current = self._read()

    def reload(self) -> None:
        """Read the files again, for connections from now on. Raises CertificateError and keeps what was loaded."""
        self._current = self._read()

    def _read(self) -> SSL.Context:
        context = _context(SSL.TLS_CLIENT_METHOD)
        if self._verify:
            context.set_default_verify_paths()
        if self._ca_file:
            _trust(context, self._ca_file)
        if self._certificate:
            _load(context, self._certificate, self._key)
        return context

    def toward(self, name: str) -> "ServerCheck":
        """A connection creator that accepts only a server that proves to be `name` (a domain or an IP address)."""
        return ServerCheck(self._current, name, verify=self._verify)


@implementer(IOpenSSLClientConnectionCreator)
class ServerCheck:
    """Makes one client connection and checks the server's certificate against the name (RFC 5922 7.3)."""

    def __init__(self, context: SSL.Context, name: str, *, verify: bool) -> None:
        self.problem = ""
        """Why the certificate was not accepted, for the operator."""
        self._context = context
        self._name = name
        self._verify = verify

    def clientConnectionForTLS(self, tls: Any) -> SSL.Connection:
        connection = Connection(self._context, None)
        if not is_ip(self._name):
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        if self._verify:
            connection.set_verify(SSL.VERIFY_PEER, self._checked)
        return connection

    def _checked(self, _connection: Any, certificate: Any, error: int, depth: int, ok: int) -> bool:
        if not ok:
            self.problem = self.problem or f"certificate of {self._name} not trusted (OpenSSL verify error {error})"
            return False
        if depth:
            return True
        try:
            check_name(certificate.to_cryptography(), self._name)
        except ValueError as mismatch:
            self.problem = str(mismatch)
            return False
        return True


def check_name(certificate: Certificate, name: str) -> None:
    """Raise ValueError unless the certificate is one for the SIP domain, host name or IP address `name`.

    SIP URIs among the alternative names count alone if there are any (RFC 5922 7.1), else DNS names and addresses.
    """
    domains = _sip_domains(certificate)
    if domains:
        if name.lower() not in domains:
            raise ValueError(f"the certificate is for {', '.join(sorted(domains))}, not for {name}")
        return
    verify: Callable[[Certificate, str], None] = (
        verify_certificate_ip_address if is_ip(name) else verify_certificate_hostname
    )
    try:
        verify(certificate, name)
    except (service_identity.VerificationError, service_identity.CertificateError) as error:
        raise ValueError(f"the certificate is not for {name}: {error}") from error


def _sip_domains(certificate: Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except (ExtensionNotFound, ValueError):
        return set()
    uris = names.get_values_for_type(UniformResourceIdentifier)
    # Only URIs of a domain identify it; one with a user part names a person (RFC 5922 7.1).
    return {uri[4:].partition(";")[0].lower() for uri in uris if uri[:4].lower() == "sip:" and "@" not in uri}
