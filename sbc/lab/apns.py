"""Apple's push service, emulated: TLS, HTTP/2, provider tokens or client certificates, reasons, and scripted trouble.

In: connections on a loopback port. Out: answers as Apple's documentation describes them, `Apns.inbox` (what arrived,
with times) and calls to the listeners of accepted device tokens, which wake the laboratory's phones.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID
from OpenSSL import crypto
from twisted.internet.defer import Deferred

from sbc.lab.apns_rules import Refusal, SigningKey, check_place, check_provider, check_push, device_token
from sbc.lab.authority import APPLE_TOPICS, Authority
from sbc.lab.http2 import DEFAULT_STREAMS, Exchange, Http2Factory, Http2Server
from sbc.lab.loop import Port, Reactor, close, started
from sbc.lab.received import Inbox, ReceivedPush
from sbc.lab.script import Answer, Script
from sbc.lab.tls import ServerTls, behind_tls

CAUTIOUS_STREAMS = 1  # concurrent streams until a provider token proved good, as Apple does
TOKEN_UPDATE = (
    1200.0  # s between two different provider tokens on one connection; sooner is TooManyProviderTokenUpdates
)
UNREGISTERED_BEFORE = 3600.0  # s in the past: the default moment a 410 says the token died


@dataclass(slots=True)
class _Client:
    """What is known about one connection."""

    topics: frozenset[str] | None  # of its certificate; None: it has none and needs provider tokens
    token: str = ""  # the last good provider token
    token_at: float = 0.0


class Apns:
    """One APNs environment. `url` is what goes into the product's ``[apns] url`` once started.

    `script` keys are device tokens; the steps are `Answer` (every `act` of it works here). `tokens` None accepts every
    well-formed device token; a set makes all others BadDeviceToken. `goaway_after` > 0 sends GOAWAY after so many
    answers on a connection, honestly saying which was the last one processed.
    """

    def __init__(
        self,
        reactor: Reactor,
        authority: Authority,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        wall: Callable[[], float] = time.time,
        max_streams: int = DEFAULT_STREAMS,
        tokens: set[str] | None = None,
        goaway_after: int = 0,
    ) -> None:
        self.inbox = Inbox()
        self.script: Script[Answer] = Script()
        self.tokens = tokens
        self.goaway_after = goaway_after
        self.topics = frozenset({authority.bundle, f"{authority.bundle}.voip"})
        self.max_streams = max_streams
        self.host, self.port = host, port
        self._reactor = reactor
        self._authority = authority
        self._wall = wall
        self._keys: dict[str, SigningKey] = {}
        self._clients: dict[Http2Server, _Client] = {}
        self._answered: dict[Http2Server, int] = {}
        self._factory = Http2Factory(self, min(CAUTIOUS_STREAMS, max_streams))
        self._listening: Port | None = None

    @property
    def url(self) -> str:
        """Where the product finds this service."""
        return f"https://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return self._factory.count

    def start(self) -> Deferred[None]:
        """Listen."""
        certificate, key = self._authority.server()
        self._keys[self._authority.key_id] = SigningKey(self._authority.team_id, self._authority.apns_public_key())
        tls = ServerTls(certificate, key, self._authority.ca_file, [b"h2"])
        factory = behind_tls(self._reactor, tls, self._factory)
        listening = self._reactor.listenTCP(self.port, factory, interface=self.host)
        self._listening = listening
        self.port = listening.getHost().port
        return started()

    def stop(self) -> Deferred[None]:
        """Stop listening and cut all connections."""
        listening, self._listening = self._listening, None
        for connection in list(self._clients):
            connection.abort()
        return close(listening)

    def drop_connections(self) -> None:
        """Cut every open connection now, as a network failure does."""
        for connection in list(self._clients):
            connection.abort()

    # -- Application --------------------------------------------------------------------------------------------

    def connected(self, connection: Http2Server) -> None:
        """A client is here; who it is shows with its first request (the handshake is still going on)."""
        self._clients[connection] = _Client(None)

    def disconnected(self, connection: Http2Server) -> None:
        """Forget it."""
        self._clients.pop(connection, None)
        self._answered.pop(connection, None)

    def arrived(self, exchange: Exchange) -> None:
        """Check, consult the script, answer."""
        token = device_token(exchange.headers.get(":path", ""))
        refusal = self._judge(exchange, token)
        step = self.script.next(token) if token and refusal is None else None
        if step is None:
            self._answer(exchange, token, refusal, None)
        elif step.delay:
            self._reactor.callLater(step.delay, self._misbehave, exchange, token, step)
        else:
            self._misbehave(exchange, token, step)

    # -- inside -------------------------------------------------------------------------------------------------

    def _judge(self, exchange: Exchange, token: str) -> Refusal | None:
        headers = exchange.headers
        refusal = check_place(headers)
        if refusal is not None:
            return refusal
        client = self._clients[exchange.connection]
        if client.topics is None:
            client.topics = certificate_topics(exchange.connection.peer_certificate())
        if client.topics is not None:
            exchange.connection.allow_streams(self.max_streams)
            lone = next(iter(client.topics)) if len(client.topics) == 1 else ""
            refusal = check_push(headers, exchange.body, client.topics, lone=lone)
        else:
            refusal = self._check_provider(exchange, client) or check_push(headers, exchange.body, self.topics)
        if refusal is None and self.tokens is not None and token not in self.tokens:
            refusal = Refusal(400, "BadDeviceToken")
        return refusal

    def _check_provider(self, exchange: Exchange, client: _Client) -> Refusal | None:
        now = self._reactor.seconds()
        refusal = check_provider(exchange.headers, self._keys, self._wall())
        if refusal is not None:
            return refusal
        bearer = exchange.headers["authorization"]
        if bearer != client.token:
            if client.token and now - client.token_at < TOKEN_UPDATE:
                return Refusal(429, "TooManyProviderTokenUpdates")
            client.token, client.token_at = bearer, now
        exchange.connection.allow_streams(self.max_streams)
        return None

    def _misbehave(self, exchange: Exchange, token: str, step: Answer) -> None:
        connection = exchange.connection
        if step.act in ("answer", "answer+goaway"):
            refusal = Refusal(step.status, step.reason) if step.status not in (0, 200) else None
            self._answer(exchange, token, refusal, step)
            if step.act == "answer+goaway":
                connection.go_away(exchange.stream, b'{"reason":"Shutdown"}')
            return
        self._record(exchange, token, 0, step.act, "")
        if step.act == "close":
            connection.abort()
        elif step.act == "refuse":
            exchange.refuse()
        elif step.act == "goaway":
            exchange.open = False
            connection.go_away(max(exchange.stream - 2, 0), b'{"reason":"Shutdown"}')

    def _answer(self, exchange: Exchange, token: str, refusal: Refusal | None, step: Answer | None) -> None:
        push_id = exchange.headers.get("apns-id") or str(uuid.uuid4()).upper()
        headers = {"apns-id": push_id}
        delivered = exchange.open
        if refusal is None:
            exchange.reply(200, headers)
        else:
            headers["content-type"] = "application/json"
            if step is not None and step.retry_after is not None:
                headers["retry-after"] = str(step.retry_after)
            said: dict[str, object] = {"reason": refusal.reason}
            if refusal.status == 410:
                dead_at = step.timestamp_at if step is not None and step.timestamp_at is not None else None
                said["timestamp"] = int((dead_at if dead_at is not None else self._wall() - UNREGISTERED_BEFORE) * 1000)
            exchange.reply(refusal.status, headers, json.dumps(said).encode())
        if delivered:
            status, reason = (refusal.status, refusal.reason) if refusal is not None else (200, "")
            self._record(exchange, token, status, reason, push_id)
            self._count(exchange)

    def _count(self, exchange: Exchange) -> None:
        connection = exchange.connection
        count = self._answered[connection] = self._answered.get(connection, 0) + 1
        if self.goaway_after and count == self.goaway_after:
            connection.go_away(exchange.stream, b'{"reason":"Shutdown"}')

    def _record(self, exchange: Exchange, token: str, status: int, reason: str, push_id: str) -> None:
        try:
            payload = json.loads(exchange.body)
        except ValueError:
            payload = None
        self.inbox.record(
            ReceivedPush(
                provider="apns",
                at=self._reactor.seconds(),
                arrived_at=self._wall(),
                token=token,
                headers=exchange.headers,
                body=exchange.body,
                payload=payload if isinstance(payload, dict) else {},
                status=status,
                reason=reason,
                connection=exchange.connection.number,
                push_id=push_id,
            )
        )


def certificate_topics(certificate: object | None) -> frozenset[str] | None:
    """The topics of an Apple push certificate: Apple's extension, else the bundle id in the UID. None without one."""
    if not isinstance(certificate, crypto.X509):
        return None
    found = certificate.to_cryptography()
    names = {str(attribute.value) for attribute in found.subject.get_attributes_for_oid(NameOID.USER_ID)}
    try:
        extension = found.extensions.get_extension_for_oid(APPLE_TOPICS).value
    except x509.ExtensionNotFound:
        return frozenset(names)
    assert isinstance(extension, x509.UnrecognizedExtension)
    return frozenset(_topics(extension.value))


def _topics(der: bytes) -> list[str]:
    """The UTF8Strings directly inside the outer SEQUENCE."""
    content, _ = _element(der)[1:]
    topics = []
    while content:
        tag, inner, content = _element(content)
        if tag == 0x0C:
            topics.append(inner.decode())
    return topics


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows the first DER element (X.690 section 8.1); lengths up to 65,535."""
    tag, length, start = der[0], der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    return tag, der[start : start + length], der[start + length :]
