"""Doubles of what the push room does not own: an HTTP/2 server in memory, wires, credentials, a recorder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from sbc.push.ports import Silent

Respond = Callable[[dict[str, str], bytes], tuple[int, dict[str, str], bytes] | None]
DEVICE = "ab" * 32


def reason(status: int, word: str, **more: object) -> tuple[int, dict[str, str], bytes]:
    """An APNs error answer."""
    return status, {}, json.dumps({"reason": word, **more}).encode()


class Http2Server(Protocol):
    """Answers each request by ``respond`` (``None``: not yet); real ``h2`` on the server's side."""

    def __init__(self, respond: Respond, settings: dict[Any, int] | None = None) -> None:
        self.respond, self.settings = respond, settings or {}
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.requests: list[tuple[int, dict[str, str], bytes]] = []
        self.frames: list[str] = []
        self.pings = 0
        self.ended = False
        self._open: dict[int, tuple[dict[str, str], bytearray]] = {}

    def connectionMade(self) -> None:
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=self.settings)
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())

    def dataReceived(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self.frames.append(type(event).__name__)
            if isinstance(event, h2.events.RequestReceived):
                self._open[event.stream_id] = (dict(event.headers), bytearray())
                if event.stream_ended:
                    self.finished(event.stream_id)
            elif isinstance(event, h2.events.DataReceived):
                if event.stream_id in self._open:
                    self._open[event.stream_id][1].extend(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.stream_ended:
                    self.finished(event.stream_id)
            elif isinstance(event, h2.events.PingReceived):
                self.pings += 1
        self.flush()

    def finished(self, stream: int) -> None:
        if stream not in self._open:
            return
        headers, body = self._open.pop(stream)
        self.requests.append((stream, headers, bytes(body)))
        answer = self.respond(headers, bytes(body))
        if answer is not None:
            self.answer(stream, *answer)

    def answer(self, stream: int, status: int, headers: dict[str, str], body: bytes) -> None:
        self.h2.send_headers(stream, [(":status", str(status)), *headers.items()], end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()

    def goaway(self, last: int, code: int = 0) -> None:
        self.h2.close_connection(code, b'{"reason":"Shutdown"}', last)
        # h2 would refuse to answer the streams that remain; the protocol asks for it.
        self.h2.state_machine.state = h2.connection.ConnectionState.SERVER_OPEN
        self.flush()

    def reset(self, stream: int, code: int) -> None:
        self.h2.reset_stream(stream, code)
        self.flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True


class Wire:
    """One end of a connection in memory; ``Net.run`` carries the bytes."""

    negotiatedProtocol = b"h2"

    def __init__(self, net: Net) -> None:
        self.net, self.peer, self.protocol = net, self, Protocol()
        self.out = b""
        self.closing: Exception | None = None
        self.dead = self.deaf = False
        self.no_delay = False

    def write(self, data: bytes) -> None:
        if self.closing is None and not self.dead:
            self.out += data

    def setTcpNoDelay(self, on: bool) -> None:
        self.no_delay = on

    def loseConnection(self) -> None:
        self.closing = self.closing or ConnectionDone()

    def abortConnection(self) -> None:
        self.closing = self.closing or ConnectionLost()
        self.out = b""

    def move(self) -> bool:
        """Deliver what is there; whether anything happened."""
        moved = bool(self.out)
        out, self.out = self.out, b""
        if out and not self.peer.dead and not self.peer.deaf:
            self.peer.protocol.dataReceived(out)
        if self.closing is not None and not self.dead and not self.out:
            for end in (self, self.peer):
                if not end.dead:
                    end.dead = True
                    end.protocol.connectionLost(Failure(self.closing))
            return True
        return moved


class Net:
    """Connections in memory and the servers at their other ends; a ``Connector`` for ``Origin``."""

    def __init__(self, respond: Respond, settings: dict[Any, int] | None = None) -> None:
        self.respond, self.settings = respond, settings
        self.wires: list[Wire] = []
        self.servers: list[Http2Server] = []
        self.clients: list[Wire] = []
        self.attempts: list[tuple[Any, bytes]] = []
        self.refuse = 0
        self.silent = False

    def endpoint(self, place: Any, *, protocols: list[bytes], certificate: bytes = b"") -> Any:
        self.attempts.append((place, certificate))
        return self

    def exempt(self, host: str) -> bool:
        return True

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.refuse:
            self.refuse -= 1
            return fail(Failure(ConnectError(string="refused")))
        near, far = Wire(self), Wire(self)
        near.peer, far.peer = far, near
        server = Http2Server(self.respond, self.settings)
        near.protocol, far.protocol = factory.buildProtocol(None), server
        self.wires += (near, far)
        self.servers.append(server)
        self.clients.append(near)
        near.protocol.makeConnection(near)
        if not self.silent:
            server.makeConnection(far)
            near.protocol.handshakeCompleted()
        return succeed(near.protocol)

    def run(self) -> None:
        """Carry bytes until nothing moves."""
        while sum(wire.move() for wire in self.wires):
            pass

    @property
    def server(self) -> Http2Server:
        return self.servers[-1]


class Notes(Silent):
    """Keeps what a recorder and a meter are told."""

    def __init__(self) -> None:
        self.finished: list[Any] = []
        self.tokens: list[tuple[Any, str, str]] = []
        self.counted: list[tuple[str, str, str]] = []

    def push_finished(self, order: Any, result: Any, *, provider: str, app: str, sent_at: float, state: str) -> None:
        self.finished.append((order, result, provider, app, sent_at))
        if state:
            self.tokens.append((result.token, state, result.reason))

    def pushed(self, provider: str, app: str, type: Any, result: Any) -> None:  # noqa: A002
        self.counted.append((provider, type.word, result.outcome.value))


class EvenRandom:
    """No jitter."""

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def getrandbits(self, bits: int) -> int:
        return 7


def pem(key: Any) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def secret(path: Path, content: bytes | str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.chmod(path, mode)
    return path


P8 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)


def account(project: str = "proj-1", token_uri: str = "https://oauth.test/token") -> str:
    """A service account as Google gives it out."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": project,
            "client_email": f"push@{project}.iam.gserviceaccount.com",
            "private_key": pem(RSA).decode(),
            "private_key_id": "1",
            "token_uri": token_uri,
        }
    )


def push_certificate(
    bundle: str = "com.example.phone", *, days: int = 30, uid: bool = True
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """An Apple push certificate, self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, f"VoIP Services: {bundle}")]
    if uid:
        names.append(x509.NameAttribute(NameOID.USER_ID, f"{bundle}.voip"))
    name = x509.Name(names)
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return key, made
