"""What Apple's push service checks in a request, as "Sending notification requests to APNs" describes it. Pure.

In: the headers and body of one HTTP/2 request, the keys or topics of its sender, the time. Out: None (all is well) or
`Refusal`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from sbc.lab.tokens import TokenError, peek, verify

PUSH_TYPES = frozenset(
    {"alert", "background", "voip", "complication", "fileprovider", "mdm", "liveactivity", "pushtotalk"}
    | {"location", "controls", "widgets"}
)
MAX_PAYLOAD = 4096  # bytes
MAX_VOIP_PAYLOAD = 5120  # bytes
MAX_COLLAPSE_ID = 64  # bytes
TOKEN_LIFE = 3600.0  # s a provider token is good for after its iat
TOKEN_EARLY = 300.0  # s its iat may lie in our future
TOKEN_PATH = "/3/device/"  # noqa: S105 - a path
DEVICE_TOKEN = re.compile(r"[0-9a-fA-F]{64,200}\Z")
APNS_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The HTTP status and Apple's word for what is wrong."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A team's registered signing key."""

    team_id: str
    public_key: EllipticCurvePublicKey


def device_token(path: str) -> str:
    """The token in the path, ``""`` when there is none."""
    return path[len(TOKEN_PATH) :] if path.startswith(TOKEN_PATH) else ""


def check_place(headers: Mapping[str, str]) -> Refusal | None:
    """Method and path, before anything else."""
    if headers.get(":method") != "POST":
        return Refusal(405, "MethodNotAllowed")
    path = headers.get(":path", "")
    if not path.startswith(TOKEN_PATH):
        return Refusal(404, "BadPath")
    if not device_token(path):
        return Refusal(400, "MissingDeviceToken")
    return None


def check_provider(headers: Mapping[str, str], keys: Mapping[str, SigningKey], now_at: float) -> Refusal | None:
    """The provider token (an ES256 JWT with kid, iss and iat) of a connection without a client certificate."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return Refusal(403, "MissingProviderToken")
    try:
        header, claims = peek(token)
        key = keys.get(str(header.get("kid")))
        if key is None or claims.get("iss") != key.team_id:
            return Refusal(403, "InvalidProviderToken")
        verify(token, key.public_key)
    except TokenError:
        return Refusal(403, "InvalidProviderToken")
    issued_at = claims.get("iat")
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
        return Refusal(403, "InvalidProviderToken")
    age = now_at - issued_at
    if age > TOKEN_LIFE or age < -TOKEN_EARLY:
        return Refusal(403, "ExpiredProviderToken")
    expires_at = claims.get("exp")
    if isinstance(expires_at, int | float) and expires_at < now_at:
        return Refusal(403, "ExpiredProviderToken")
    return None


def check_push(headers: Mapping[str, str], body: bytes, topics: frozenset[str], *, lone: str = "") -> Refusal | None:
    """Token, topic, type, priority, expiration, ids, payload. `lone` is the topic of a certificate with only one."""
    if not DEVICE_TOKEN.match(device_token(headers.get(":path", ""))):
        return Refusal(400, "BadDeviceToken")
    topic = headers.get("apns-topic", lone)
    kind = headers.get("apns-push-type", "")
    if not topic:
        return Refusal(400, "MissingTopic")
    if topic not in topics:
        return Refusal(400, "TopicDisallowed")
    if kind and kind not in PUSH_TYPES:
        return Refusal(400, "InvalidPushType")
    if (kind == "voip") != topic.endswith(".voip") and kind:
        return Refusal(400, "DeviceTokenNotForTopic" if kind != "voip" else "BadTopic")
    priority = headers.get("apns-priority", "10")
    if priority not in {"1", "5", "10"} or (kind == "background" and priority == "10"):
        return Refusal(400, "BadPriority")
    if not headers.get("apns-expiration", "0").isdecimal():
        return Refusal(400, "BadExpirationDate")
    if "apns-id" in headers and not APNS_ID.match(headers["apns-id"]):
        return Refusal(400, "BadMessageId")
    if len(headers.get("apns-collapse-id", "").encode()) > MAX_COLLAPSE_ID:
        return Refusal(400, "BadCollapseId")
    return _check_payload(body, MAX_VOIP_PAYLOAD if kind == "voip" else MAX_PAYLOAD)


def _check_payload(body: bytes, limit: int) -> Refusal | None:
    if not body:
        return Refusal(400, "PayloadEmpty")
    if len(body) > limit:
        return Refusal(413, "PayloadTooLarge")
    try:
        payload = json.loads(body)
    except ValueError:
        return Refusal(400, "BadPayload")
    return None if isinstance(payload, dict) else Refusal(400, "BadPayload")
