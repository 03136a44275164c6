"""A Web Push service and the browser behind it, emulated: checks VAPID and decrypts what arrives (RFC 8030, 8291,
8292).

In: `subscribe`, then requests on a loopback port. Out: answers, `WebPush.inbox` with decrypted payloads, and calls to
the listeners of accepted subscriptions. An inbox token is the subscription's address without keys.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import http_ece
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sbc.lab.authority import Authority
from sbc.lab.loop import Reactor
from sbc.lab.script import Answer
from sbc.lab.service import PushServer
from sbc.lab.tokens import TokenError, unbase64, verify
from sbc.lab.web import WebRequest

MAX_LIFE = 86_400  # s until a VAPID token may expire (RFC 8292 section 2)
MAX_PAYLOAD = 4096  # bytes of an encrypted message (RFC 8030 section 7.2)
TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
URGENCIES = frozenset({"very-low", "low", "normal", "high"})


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a browser gives its application: the address, and keys for the encryption. `prid` is all of it in the form
    the product takes as a token, keys in the fragment."""

    endpoint: str
    p256dh: bytes
    auth: bytes
    private_key: ec.EllipticCurvePrivateKey
    server_key: bytes

    @property
    def prid(self) -> str:
        """Address and keys."""
        return f"{self.endpoint}#p256dh={_text(self.p256dh)}&auth={_text(self.auth)}"


class WebPush(PushServer):
    """One push service. `script` keys are subscription addresses."""

    provider = "webpush"

    def __init__(
        self,
        reactor: Reactor,
        authority: Authority,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(reactor, authority, host, port, wall)
        self.subscriptions: dict[str, Subscription] = {}

    @property
    def url(self) -> str:
        """Scheme, host and port: the ``aud`` of VAPID tokens."""
        return self._server.url

    def subscribe(self, server_key: bytes) -> Subscription:
        """What ``PushManager.subscribe`` does for the application server with this public key (65 bytes)."""
        private = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PublicFormat.UncompressedPoint
        public = private.public_key().public_bytes(serialization.Encoding.X962, form)
        endpoint = f"{self.url}/push/{secrets.token_urlsafe(24)}"
        made = Subscription(endpoint, public, secrets.token_bytes(16), private, server_key)
        self.subscriptions[endpoint] = made
        return made

    def unsubscribe(self, subscription: Subscription) -> None:
        """The browser is gone: 410 from now on."""
        del self.subscriptions[subscription.endpoint]

    # -- inside -------------------------------------------------------------------------------------------------

    def serve(self, request: WebRequest) -> None:
        endpoint = self.url + request.path
        status, reason, payload = self._judge(request, self.subscriptions.get(endpoint))
        step = self.script.next(endpoint) if status == 201 else None
        if step is None:
            self._answer(request, endpoint, status, reason, payload, None)
        else:
            self._reactor.callLater(step.delay, self._misbehave, request, endpoint, payload, step)

    def _misbehave(self, request: WebRequest, endpoint: str, payload: dict[str, Any], step: Answer) -> None:
        if step.act == "answer":
            self._answer(request, endpoint, step.status or 201, step.reason, payload, step.retry_after)
            return
        if step.act == "close":
            request.cut()
        self.record(request, endpoint, payload, 0, step.act, "")

    def _answer(
        self,
        request: WebRequest,
        endpoint: str,
        status: int,
        reason: str,
        payload: dict[str, Any],
        retry_after: int | None,
    ) -> None:
        headers: dict[str, str] = {}
        push_id = ""
        if retry_after is not None:
            headers["retry-after"] = str(retry_after)
        if 200 <= status < 300:
            push_id = headers["location"] = f"{self.url}/message/{secrets.token_urlsafe(12)}"
            headers["ttl"] = request.headers.get("ttl", "0")
        if request.reply(status, headers, reason.encode()):
            self.record(request, endpoint, payload, status, reason, push_id)

    def _judge(self, request: WebRequest, subscription: Subscription | None) -> tuple[int, str, dict[str, Any]]:
        headers = request.headers
        if request.method != "POST" or not request.path.startswith("/push/"):
            return 404, "no such resource", {}
        if subscription is None:
            return 410, "push subscription has unsubscribed or expired", {}
        wrong = self._check_vapid(headers.get("authorization", ""), subscription)
        if wrong:
            return 403, wrong, {}
        if not headers.get("ttl", "").isdecimal():
            return 400, "TTL is missing", {}
        if headers.get("urgency", "normal") not in URGENCIES:
            return 400, "bad Urgency", {}
        if "topic" in headers and not TOPIC.match(headers["topic"]):
            return 400, "bad Topic", {}
        if len(request.body) > MAX_PAYLOAD:
            return 413, "payload too large", {}
        if not request.body:
            return 201, "", {}
        if headers.get("content-encoding") != "aes128gcm":
            return 400, "Content-Encoding is not aes128gcm", {}
        payload = _decrypt(request.body, subscription)
        return (201, "", payload) if payload is not None else (400, "cannot be decrypted", {})

    def _check_vapid(self, value: str, subscription: Subscription) -> str:
        """RFC 8292 sections 2 and 3; ``""`` when it is all right."""
        scheme, _, rest = value.partition(" ")
        fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
        if scheme.lower() != "vapid" or "t" not in fields or "k" not in fields:
            return "no VAPID credentials"
        try:
            key = unbase64(fields["k"])
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
            claims = verify(fields["t"], public)
        except (ValueError, TokenError):
            return "bad VAPID credentials"
        if key != subscription.server_key:
            return "the VAPID key is not the one of the subscription"
        if claims.get("aud") != self.url:
            return "bad aud"
        expires, now_at = claims.get("exp"), self._wall()
        if not isinstance(expires, int | float) or not now_at < expires <= now_at + MAX_LIFE:
            return "bad exp"
        subject = str(claims.get("sub", ""))
        return "" if urlsplit(subject).scheme in ("mailto", "https") else "bad sub"


def _decrypt(body: bytes, subscription: Subscription) -> dict[str, Any] | None:
    """The JSON object in an encrypted message; its text under ``text`` when it is something else; None: not for us."""
    try:
        clear: bytes = http_ece.decrypt(  # type: ignore[no-untyped-call]
            body, private_key=subscription.private_key, auth_secret=subscription.auth, version="aes128gcm"
        )
    except http_ece.ECEException:
        return None
    try:
        payload = json.loads(clear)
    except ValueError:
        payload = None
    return payload if isinstance(payload, dict) else {"text": clear.decode("utf-8", "replace")}


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
