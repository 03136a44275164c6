"""A tiny HTTP/2 client on h2 and an HTTP/1.1 one on twisted.web: what the tests talk to the emulated services with."""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates


def trusting(authority: Any) -> Any:
    return trustRootFromCertificates([Certificate.loadPEM(authority.ca_file.read_bytes())])


def tls(authority: Any, protocols: list[bytes]) -> Any:
    return optionsForClientTLS("localhost", trustRoot=trusting(authority), acceptableProtocols=protocols)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def es256(key_file: Any, header: dict[str, Any], claims: dict[str, Any]) -> str:
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    text = f"{part({'alg': 'ES256', **header})}.{part(claims)}"
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def rs256(pem: str, claims: dict[str, Any]) -> str:
    key = serialization.load_pem_private_key(pem.encode(), None)
    text = f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}"
    return f"{text}.{part(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"  # type: ignore[union-attr, call-arg, arg-type]


class Http2Client(Protocol):
    """One connection. `post` fires with (status, headers, JSON body), or a word for a reset or a lost connection.

    GOAWAY frames are taken out before h2 sees them: it would refuse the answers that still come after one."""

    def __init__(self) -> None:
        self.h2 = H2Connection(config=H2Configuration(client_side=True, header_encoding="utf-8"))
        self.goaway: int | None = None
        self.lost = False
        self._buffer = b""
        self._waiting: dict[int, Deferred[Any]] = {}
        self._answers: dict[int, list[Any]] = {}

    def connectionMade(self) -> None:
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data and self.transport is not None:
            self.transport.write(data)

    def post(self, path: str, headers: dict[str, str], body: bytes) -> Deferred[Any]:
        stream = self.h2.get_next_available_stream_id()
        first = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        self.h2.send_headers(stream, [*first, *headers.items()], end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self._answers[stream] = [0, {}, b""]
        done = self._waiting[stream] = Deferred()
        self.flush()
        return done

    def begin(self, path: str, answers: list[Any]) -> int:
        """A request whose body does not end by itself; its answer is put into `answers`."""
        stream = self.h2.get_next_available_stream_id()
        first = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        self.h2.send_headers(stream, first)
        self._answers[stream] = [0, {}, b""]
        self._waiting[stream] = Deferred()
        self._waiting[stream].addCallback(answers.append)
        return stream

    def dataReceived(self, data: bytes) -> None:
        for event in self.h2.receive_data(self.without_goaway(data)):
            if isinstance(event, ResponseReceived):
                headers = dict(event.headers)
                self._answers[event.stream_id][:2] = [int(headers[":status"]), headers]
            elif isinstance(event, DataReceived):
                self._answers[event.stream_id][2] += event.data
            elif isinstance(event, StreamEnded):
                status, headers, body = self._answers.pop(event.stream_id)
                self._waiting.pop(event.stream_id).callback((status, headers, json.loads(body) if body else {}))
            elif isinstance(event, StreamReset):
                self._waiting.pop(event.stream_id).callback(f"reset {event.error_code}")
        self.flush()

    def without_goaway(self, data: bytes) -> bytes:
        self._buffer += data
        kept = b""
        while len(self._buffer) >= 9:
            size = 9 + int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < size:
                break
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            if frame[3] == 7:
                self.goaway = int.from_bytes(frame[9:13], "big")
            else:
                kept += frame
        return kept

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.callback("lost")


class WithClientCertificate:
    """TLS client settings that show a certificate."""

    def __init__(self, authority: Any, pem: Any) -> None:
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.load_verify_locations(str(authority.ca_file))
        self._context.set_verify(SSL.VERIFY_PEER)
        self._context.use_certificate_file(str(pem))
        self._context.use_privatekey_file(str(pem))
        self._context.set_alpn_protos([b"h2"])

    def clientConnectionForTLS(self, protocol: Any) -> Any:
        return SSL.Connection(self._context, None)
