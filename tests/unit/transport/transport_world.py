"""What the transport tests share: a receiver that remembers, and nodes on loopback addresses."""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from sbc.transport.flow import Destination, Flow
from sbc.transport.limits import Limits
from sbc.transport.service import Transports
from sbc.transport.settings import ListenSettings
from sbc.transport.tls import ClientTrust
from tests.waiting import PATIENCE, turns


def options(number: int = 1, body: bytes = b"") -> bytes:
    """A small request, told from others by its number."""
    return (
        b"OPTIONS sip:nobody@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK%d\r\n"
        b"Call-ID: %d\r\nContent-Length: %d\r\n\r\n" % (number, number, len(body))
    ) + body


ASKED = (
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:a@b>\r\n"
    b"Call-ID: c\r\nCSeq: 1 OPTIONS\r\n"
)
"""The lines of a request but for its Content-Length and the empty line."""


class Ear:
    """A receiver that remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.flows: list[Flow] = []
        self.losses: list[tuple[Flow, str]] = []
        self.refusals: list[str] = []
        self.dropped = 0

    def received(self, data: bytes, flow: Flow) -> None:
        self.messages.append(data)
        self.flows.append(flow)

    def lost(self, flow: Flow, reason: str) -> None:
        self.losses.append((flow, reason))

    def refused(self, flow: Flow, what: str) -> None:
        self.refusals.append(what)

    def shed(self, count: int) -> None:
        self.dropped += count


class Node:
    """One running `Transports` and its ear."""

    def __init__(self, case: TestCase, *uris: str, limits: Limits | None = None, **more: Any) -> None:
        listen = more.pop("listen", {})
        self.ear = Ear()
        self.listens = [ListenSettings(uri=uri, **listen) for uri in uris]
        self.transports = Transports(reactor, self.listens, self.ear, limits or Limits(), **more)
        self.transports.privilegedStartService()
        self.transports.startService()
        case.addCleanup(self.stop)

    async def _stop(self) -> None:
        if self.transports.running:
            await self.transports.stopService()
            # The reactor closes aborted sockets in its next turn.
            await turns()

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    def place(self, index: int = 0, name: str = "") -> Destination:
        """Where others find this node."""
        listener = self.transports.listeners[index]
        return Destination(listener.transport, listener.host, listener.port, name or listener.host)


async def turn(seconds: float = 0.0) -> None:
    """Let the reactor run."""
    await deferLater(reactor, seconds)


class Stranger(Protocol):
    """A bare TCP client that keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.closed = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.closed = True

    def say(self, data: bytes) -> None:
        self.transport.write(data)


class _Door(ClientFactory):
    noisy = False

    def __init__(self) -> None:
        self.made: Deferred[Stranger] = Deferred()

    def buildProtocol(self, addr: Any) -> Stranger:
        stranger = Stranger()
        reactor.callLater(0, self.made.callback, stranger)
        return stranger


async def stranger(case: TestCase, place: Destination, source: str | None = None) -> Stranger:
    """Connect a bare TCP client to a node."""
    door = _Door()
    reactor.connectTCP(place.host, place.port, door, PATIENCE, (source, 0) if source else None)
    found = await door.made

    def leave() -> Any:
        if not found.closed:
            found.transport.abortConnection()
        return turns()

    case.addCleanup(leave)
    return found


class Authority:
    """A certificate authority of its own, with files below one directory."""

    def __init__(self, directory: str, name: str = "Test Authority") -> None:
        self._directory = Path(directory)
        self._directory.mkdir(exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key.public_key(), (), authority=True)
        self.file = str(self._directory / "ca.pem")
        Path(self.file).write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject: x509.Name, key: Any, names: Sequence[x509.GeneralName], *, authority: bool) -> Any:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def certificate(self, *names: str) -> x509.Certificate:
        """A certificate for host names, IP addresses and `sip:` URIs."""
        return self._issue(names)[0]

    def _issue(self, names: Sequence[str]) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        return self._sign(subject, key.public_key(), [_general(name) for name in names], authority=False), key

    def files(self, *names: str, file: str = "server.pem") -> str:
        """The path of a file with a certificate for these names and its key; written over if it exists."""
        certificate, key = self._issue(names)
        path = self._directory / file
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        os.chmod(path, 0o600)
        return str(path)


def _general(name: str) -> x509.GeneralName:
    if name.startswith("sip:"):
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class CertificateCase(TestCase):
    """Nodes that speak TLS, under one authority."""

    def setUp(self) -> None:
        self.authority = Authority(self.mktemp())

    def server(
        self,
        *names: str,
        uri: str = "tls:127.0.0.3:0",
        limits: Limits | None = None,
        trust: ClientTrust | None = None,
        **listen: Any,
    ) -> Node:
        """A node with a certificate for these names."""
        listen["certificate"] = self.authority.files(*names)
        return Node(self, uri, listen=listen, limits=limits, trust=trust)

    def client(self, uri: str = "tcp:127.0.0.2:0", *, listen: Any = None, **trust: Any) -> Node:
        """A node that connects, and believes the authority unless `trust` says otherwise."""
        trust.setdefault("ca_file", self.authority.file)
        return Node(self, uri, listen=listen or {}, trust=ClientTrust(**trust))
