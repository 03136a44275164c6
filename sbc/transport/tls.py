"""TLS contexts: certificates that can be reloaded under running connections, and the check of whom we connected to."""

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import service_identity
from cryptography.x509 import (
    Certificate,
    DNSName,
    SubjectAlternativeName,
    UniformResourceIdentifier,
    load_pem_x509_certificate,
)
from cryptography.x509.extensions import ExtensionNotFound
from OpenSSL import SSL
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from zope.interface import implementer

from sbc.transport.address import is_ip

SESSION_SECONDS = 3_600
"""How long a TLS session may be resumed: longer than a phone's registration refresh takes to bring it back. The keys of
the tickets are this process's own and change with every reload of the certificates."""
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

    Of several certificates a client sees the one for the name it asks for (SNI, RFC 6066 3), or the first.
    """

    def __init__(self, files: Files) -> None:
        """Raises CertificateError."""
        self._current = self._read(files)

    def reload(self, files: Files) -> None:
        """Read the files anew, for connections from now on. Raises CertificateError and keeps what was loaded."""
        self._current = self._read(files)

    @staticmethod
    def _read(files: Files) -> SSL.Context:
        first = _server_context(files, files.certificate, files.key)
        by_name: dict[str, SSL.Context] = {}
        for file in files.more:
            context = _server_context(files, file, "")
            for name in _host_names(file):
                by_name.setdefault(name, context)
        if by_name:
            for name in _host_names(files.certificate):
                by_name[name] = first

            def asked(connection: SSL.Connection) -> None:
                name = (connection.get_servername() or b"").decode("ascii", "replace").lower().rstrip(".")
                found = by_name.get(name) or by_name.get("*." + name.partition(".")[2])
                if found is not None and found is not first:
                    connection.set_context(found)

            first.set_tlsext_servername_callback(asked)
        return first

    def serverConnectionForTLS(self, tls: Any) -> SSL.Connection:
        return Connection(self._current, None)


def _server_context(files: Files, certificate: str, key: str) -> SSL.Context:
    context = _context(SSL.TLS_SERVER_METHOD)
    context.set_session_id(SESSION_CONTEXT)
    context.set_timeout(SESSION_SECONDS)
    _load(context, certificate, key)
    if files.client_ca:
        _trust(context, files.client_ca)
        must = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if files.client_must else 0
        context.set_verify(SSL.VERIFY_PEER | must, _as_openssl_says)
    return context


def _host_names(file: str) -> set[str]:
    """Every name that the first certificate of a PEM file, which could be loaded, is for."""
    with open(file, "rb") as opened:
        return names_of(load_pem_x509_certificate(opened.read()))


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
