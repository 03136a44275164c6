"""Web Push: what a request looks like and what an answer means (RFC 8030, 8291, 8292).  [pure]

A subscription is stored as its address; where the app gave its encryption keys they stand in the fragment
(``https://push.example/x#p256dh=…&auth=…``), which is never sent anywhere.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlsplit

from sbc.push.jose import from_base64url
from sbc.push.orders import Outcome, PushOrder, PushType
from sbc.push.wire import ACCEPTED, MAX_REASON, Answer, Post, Verdict, retry_after
from sbc.push.wording import collapse_id

# Clear text of one record (RFC 8291 section 4): 4,096 minus header, padding delimiter and tag.
LIMIT = 3993

# RFC 8030 section 5.3. High reaches a phone that saves power, so it is for calls.
URGENCY = {
    PushType.CALL: b"high",
    PushType.CHAT: b"high",
    PushType.CUSTOM: b"normal",
    PushType.CANCEL: b"normal",
    PushType.REFRESH: b"low",
}


class Subscription(NamedTuple):
    """``origin``: scheme, host and port as VAPID's ``aud``; ``key`` and ``secret`` are empty when the app gave none."""

    origin: str
    host: str
    path: bytes
    key: bytes
    secret: bytes


def subscription(prid: str) -> Subscription:
    """Take a stored subscription apart. ValueError when it is no http(s) address or its keys are malformed."""
    parts = urlsplit(prid)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None:
        raise ValueError("the subscription is not an https address")
    path = parts.path or "/"
    if parts.query:
        path += "?" + parts.query
    if not path.isascii() or any(character <= " " for character in path):
        raise ValueError("the subscription's path is not ASCII")
    keys = dict(pair.partition("=")[::2] for pair in parts.fragment.split("&"))
    key, secret = b"", b""
    if keys.get("p256dh") and keys.get("auth"):
        key, secret = from_base64url(keys["p256dh"]), from_base64url(keys["auth"])
        if len(key) != 65 or key[0] != 4 or len(secret) != 16:
            raise ValueError("the subscription's keys are malformed")
    port = f":{parts.port}" if parts.port not in (None, 443 if parts.scheme == "https" else 80) else ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Subscription(f"{parts.scheme}://{host}{port}", parts.hostname, path.encode(), key, secret)


def build(order: PushOrder, to: Subscription, *, authorization: bytes, sealed: bytes, ttl: int) -> Post:
    """The request for one push; *sealed* is the encrypted message, empty for a push without one."""
    urgency = URGENCY[PushType.CALL if order.pressing else order.type]
    headers = [(b"authorization", authorization), (b"ttl", b"%d" % ttl), (b"urgency", urgency)]
    if order.call_id:
        # At most 32 URL-safe characters: a later push about the same call replaces the earlier one.
        headers.append((b"topic", collapse_id(order.call_id).encode()))
    if sealed:
        headers += ((b"content-encoding", b"aes128gcm"), (b"content-type", b"application/octet-stream"))
    return Post(to.path, headers, sealed)


STATUSES = {
    200: ACCEPTED,
    201: ACCEPTED,
    202: ACCEPTED,
    204: ACCEPTED,
    # A header is missing or malformed, or the message was not encrypted as the service likes it.
    400: Verdict(Outcome.PAYLOAD_ERROR),
    # The VAPID token or its key is not the one of the subscription: the browser must subscribe again with our key.
    401: Verdict(Outcome.CONFIG_ERROR, again=True, renew=True),
    403: Verdict(Outcome.CONFIG_ERROR, token_only=True),
    # The subscription is gone.
    404: Verdict(Outcome.DEAD_TOKEN),
    410: Verdict(Outcome.DEAD_TOKEN),
    413: Verdict(Outcome.PAYLOAD_ERROR),
    429: Verdict(Outcome.RETRY),
}


def classify(answer: Answer, now_at: float) -> Verdict:
    """What *answer* means. A redirect is an error: following it would lead around the guard against private
    addresses.
    """
    fallback = Verdict(Outcome.RETRY, again=True) if answer.status >= 500 else Verdict(Outcome.CONFIG_ERROR)
    verdict = STATUSES.get(answer.status, fallback)
    if verdict.outcome is Outcome.ACCEPTED:
        return verdict
    wait = retry_after(answer.headers, now_at)
    if answer.status == 429 and wait is not None:
        verdict = replace(verdict, again=True)
    return replace(verdict, reason=_reason(answer), retry_after=wait)


def _reason(answer: Answer) -> str:
    """Mozilla explains in JSON, others in a line of text."""
    text = answer.body.decode("utf-8", "replace")
    try:
        said = json.loads(text)
        text = str(said.get("message") or said.get("reason") or "")
    except (ValueError, AttributeError, RecursionError):
        pass
    return f"HTTP {answer.status} {' '.join(text.split())}".strip()[:MAX_REASON]
