"""What Google's OAuth endpoint and FCM's HTTP v1 API check, as their references say. Pure.

In: bodies and headers. Out: the claims of an assertion, or what is wrong with a message as `Refusal`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sbc.lab.tokens import TokenError, verify

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = frozenset(
    {"https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"}
)
MAX_ASSERTION_LIFE = 3600  # s between iat and exp
MAX_DATA = 4096  # bytes of keys and values of the data part
TTL = re.compile(r"\d+(\.\d{1,9})?s\Z")
MESSAGE_FIELDS = frozenset(
    {"name", "data", "notification", "android", "webpush", "apns", "fcm_options", "fcmOptions", "token", "topic"}
    | {"condition"}
)
RESERVED = re.compile(r"(from|message_type|google\..*|gcm\..*)\Z")

# google.rpc.Code by FCM's errorCode (firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode).
STATUSES = {
    "UNREGISTERED": (404, "NOT_FOUND", "Requested entity was not found."),
    "SENDER_ID_MISMATCH": (403, "PERMISSION_DENIED", "SenderId mismatch"),
    "INVALID_ARGUMENT": (400, "INVALID_ARGUMENT", "The request is not valid."),
    "QUOTA_EXCEEDED": (429, "RESOURCE_EXHAUSTED", "Quota exceeded."),
    "UNAVAILABLE": (503, "UNAVAILABLE", "The service is currently unavailable."),
    "INTERNAL": (500, "INTERNAL", "Internal error encountered."),
    "THIRD_PARTY_AUTH_ERROR": (401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of the API. `code` is FCM's errorCode, ``""`` for errors of the gateway before it; `field` the one at
    fault."""

    status: int
    rpc: str
    message: str
    code: str = ""
    field: str = ""

    def body(self) -> bytes:
        """As Google sends it."""
        details: list[dict[str, Any]] = []
        if self.code:
            kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
            details.append({"@type": kind, "errorCode": self.code})
        if self.field:
            violation = {"field": self.field, "description": self.message}
            details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
        error: dict[str, Any] = {"code": self.status, "message": self.message, "status": self.rpc}
        if details:
            error["details"] = details
        return json.dumps({"error": error}, indent=2).encode()


def refusal(code: str, message: str = "", field: str = "") -> Refusal:
    """The usual error of an errorCode."""
    status, rpc, usual = STATUSES[code]
    return Refusal(status, rpc, message or usual, code, field)


def check_grant(body: bytes, key: RSAPublicKey, email: str, audience: str, now_at: float) -> str:
    """Judge a token request (RFC 7523 section 2.1): ``""`` when it is good, else the OAuth error."""
    form = parse_qs(body.decode("utf-8", "replace"))
    if form.get("grant_type") != [GRANT]:
        return "unsupported_grant_type"
    try:
        claims = verify(form.get("assertion", [""])[0], key)
    except TokenError:
        return "invalid_grant"
    issued, expires = claims.get("iat"), claims.get("exp")
    if claims.get("iss") != email or claims.get("aud") != audience:
        return "invalid_grant"
    if not isinstance(issued, int | float) or not isinstance(expires, int | float):
        return "invalid_grant"
    if expires < now_at or issued > now_at + 60 or expires - issued > MAX_ASSERTION_LIFE:
        return "invalid_grant"
    return "" if SCOPES & set(str(claims.get("scope", "")).split()) else "invalid_scope"


def check_message(body: bytes) -> tuple[dict[str, Any], Refusal | None]:
    """The message in a send request ({} when there is none), and what is wrong with it."""
    try:
        sent = json.loads(body)
    except ValueError:
        return {}, refusal("INVALID_ARGUMENT", "Invalid JSON payload received.")
    message = sent.get("message") if isinstance(sent, dict) else None
    if not isinstance(message, dict):
        return {}, refusal("INVALID_ARGUMENT", "The message is not set.", "message")
    for name in sent:
        if name not in ("message", "validate_only", "validateOnly"):
            return message, refusal("INVALID_ARGUMENT", f'Unknown name "{name}": Cannot find field.', name)
    for name in message:
        if name not in MESSAGE_FIELDS:
            return message, refusal("INVALID_ARGUMENT", f"Unknown name \"{name}\" at 'message'.", f"message.{name}")
    if not isinstance(message.get("token"), str) or not message["token"]:
        return message, refusal("INVALID_ARGUMENT", "Recipient of the message is not set.", "message.token")
    return message, _check_data(message.get("data", {})) or _check_android(message.get("android", {}))


def _check_data(data: Any) -> Refusal | None:
    if not isinstance(data, Mapping):
        return refusal("INVALID_ARGUMENT", "Invalid value at 'message.data'", "message.data")
    size = 0
    for name, value in data.items():
        if not isinstance(value, str):
            return refusal("INVALID_ARGUMENT", "Invalid value (TYPE_STRING)", f"message.data[{name}]")
        if RESERVED.match(name):
            return refusal("INVALID_ARGUMENT", f"Invalid data payload key: {name}", f"message.data[{name}]")
        size += len(name.encode()) + len(value.encode())
    if size > MAX_DATA:
        return refusal("INVALID_ARGUMENT", "Android message is too big", "message.data")
    return None


def _check_android(android: Any) -> Refusal | None:
    if not isinstance(android, Mapping):
        return refusal("INVALID_ARGUMENT", "Invalid value at 'message.android'", "message.android")
    priority = str(android.get("priority", "normal"))
    if priority.lower() not in ("high", "normal"):
        return refusal("INVALID_ARGUMENT", f"Invalid priority {priority}", "message.android.priority")
    if "ttl" in android and not TTL.match(str(android["ttl"])):
        return refusal("INVALID_ARGUMENT", "Illegal duration format", "message.android.ttl")
    return None
