"""Apple's push service: what a request looks like and what an answer means.  [pure]

Sources: Apple, "Sending notification requests to APNs" and "Handling notification responses from APNs".
"""

from __future__ import annotations

import json
from dataclasses import replace

from sbc.push.orders import Outcome, PushOrder, PushType
from sbc.push.settings import PushSettings
from sbc.push.templates import Template
from sbc.push.tokens import REMOTE, VOIP, PushToken
from sbc.push.wire import ACCEPTED, MAX_REASON, Answer, Post, Verdict, retry_after
from sbc.push.wording import collapse_id, keywords

LIMIT_VOIP = 5120  # bytes of a VoIP message
LIMIT = 4096  # bytes of any other message
BACKGROUND = "background"

# What apns-topic has behind the bundle id, by push type. That of voip is a setting.
TOPIC_SUFFIXES = {
    "complication": ".complication",
    "fileprovider": ".pushkit.fileprovider",
    "location": ".location-query",
    "pushtotalk": ".voip-ptt",
}
_SILENT = frozenset((("aps", "alert"), ("aps", "sound"), ("aps", "badge")))
_WHOLE: frozenset[tuple[str, ...]] = frozenset()


def push_type(order: PushOrder, token: PushToken, settings: PushSettings) -> str:
    """The ``apns-push-type``. VoIP pushes are for calls alone: iOS ends an app that gets one without a call."""
    if order.type is PushType.CALL:
        return settings.apns_push_type or ("alert" if token.kind == REMOTE else VOIP)
    # A refresh shows nothing, unless somebody waits for it: Apple delivers background pushes when it likes.
    return BACKGROUND if order.type is PushType.REFRESH and not order.urgent else "alert"


def topic(token: PushToken, kind: str, settings: PushSettings) -> str:
    """The ``apns-topic``, ``""`` for none."""
    if settings.apns_topic == "set":
        return token.param + (settings.team_id_suffix if kind == VOIP else TOPIC_SUFFIXES.get(kind, ""))
    return "" if settings.apns_topic == "null" else settings.apns_topic


def build(
    order: PushOrder,
    token: PushToken,
    template: Template,
    settings: PushSettings,
    *,
    push_id: str,
    authorization: bytes,
    ttl: int,
    now_at: float,
) -> Post:
    """The request for one push. *authorization* is empty with a client certificate. MessageTooLongError."""
    kind = push_type(order, token, settings)
    values = keywords(order, token, settings, push_id=push_id, push_type=kind, ttl=ttl)
    body = template.render(values, LIMIT_VOIP if kind == VOIP else LIMIT, _SILENT if kind == BACKGROUND else _WHOLE)
    headers = [
        (b"apns-push-type", kind.encode()),
        (b"apns-priority", values["APRIORITY"].encode()),
        (b"apns-expiration", b"%d" % (now_at + ttl) if ttl else b"0"),
        (b"apns-id", push_id.encode()),
    ]
    if authorization:
        headers.insert(0, (b"authorization", authorization))
    name = topic(token, kind, settings)
    if name:
        headers.append((b"apns-topic", name.encode("utf-8", "replace")))
    if order.call_id:
        headers.append((b"apns-collapse-id", collapse_id(order.call_id).encode()))
    return Post(b"/3/device/" + token.prid.encode(), headers, body)


def _config(*, blame_app: bool = False) -> Verdict:
    return Verdict(Outcome.CONFIG_ERROR, blame_app=blame_app, token_only=not blame_app)


# What Apple's reasons mean. Those not listed are judged by status alone.
REASONS = {
    # The token is dead, or belongs to the other environment (sandbox, production): try there once.
    "BadDeviceToken": Verdict(Outcome.DEAD_TOKEN, other_environment=True),
    # The app was removed, or the token ran out; the answer says since when.
    "Unregistered": Verdict(Outcome.DEAD_TOKEN),
    "ExpiredToken": Verdict(Outcome.DEAD_TOKEN),
    # The token is good, but belongs to another app than the topic says: our configuration, or a voip token for an
    # alert.
    "DeviceTokenNotForTopic": Verdict(Outcome.CONFIG_ERROR, token_only=True, other_kind=True),
    "TopicDisallowed": _config(),
    "BadTopic": _config(),
    # Without a topic nothing of this app gets through.
    "MissingTopic": _config(blame_app=True),
    # The certificate or key is wrong, for every push.
    "BadCertificate": _config(blame_app=True),
    "BadCertificateEnvironment": _config(blame_app=True),
    "Forbidden": _config(blame_app=True),
    "InvalidProviderToken": _config(blame_app=True),
    "MissingProviderToken": _config(blame_app=True),
    "UnrelatedKeyIdInToken": _config(blame_app=True),
    "BadEnvironmentKeyIdInToken": _config(blame_app=True),
    # Our provider token is more than an hour old (or our clock is wrong): a new one, and a new connection.
    "ExpiredProviderToken": Verdict(Outcome.CONFIG_ERROR, again=True, renew=True, reconnect=True),
    # A new provider token oftener than every 20 minutes: the connection stays unusable; never answer this with another.
    "TooManyProviderTokenUpdates": Verdict(Outcome.RETRY, reconnect=True),
    # What we say is wrong.
    "BadCollapseId": Verdict(Outcome.PAYLOAD_ERROR),
    "BadExpirationDate": Verdict(Outcome.PAYLOAD_ERROR),
    "BadMessageId": Verdict(Outcome.PAYLOAD_ERROR),
    "BadPath": Verdict(Outcome.PAYLOAD_ERROR),
    "BadPriority": Verdict(Outcome.PAYLOAD_ERROR),
    "DuplicateHeaders": Verdict(Outcome.PAYLOAD_ERROR),
    "InvalidPushType": Verdict(Outcome.PAYLOAD_ERROR),
    "MethodNotAllowed": Verdict(Outcome.PAYLOAD_ERROR),
    "MissingDeviceToken": Verdict(Outcome.PAYLOAD_ERROR),
    "PayloadEmpty": Verdict(Outcome.PAYLOAD_ERROR),
    "PayloadTooLarge": Verdict(Outcome.PAYLOAD_ERROR),
    # Too many pushes to this one device: another one now would make it worse.
    "TooManyRequests": Verdict(Outcome.RETRY, token_only=True),
    # Apple's own trouble.
    "IdleTimeout": Verdict(Outcome.RETRY, again=True, reconnect=True),
    "InternalServerError": Verdict(Outcome.RETRY, again=True, reconnect=True),
    "ServiceUnavailable": Verdict(Outcome.RETRY, again=True, reconnect=True),
    "Shutdown": Verdict(Outcome.RETRY, again=True, reconnect=True),
}
# For answers with a reason that is not in the table, or with none.
STATUSES = {
    400: Verdict(Outcome.PAYLOAD_ERROR),
    403: _config(blame_app=True),
    404: Verdict(Outcome.PAYLOAD_ERROR),
    405: Verdict(Outcome.PAYLOAD_ERROR),
    410: Verdict(Outcome.DEAD_TOKEN),
    413: Verdict(Outcome.PAYLOAD_ERROR),
    429: Verdict(Outcome.RETRY),
}


def classify(answer: Answer, now_at: float) -> Verdict:
    """What *answer* means."""
    status = answer.status
    if status == 200:
        return ACCEPTED
    reason, gone_at = "", 0.0
    try:
        said = json.loads(answer.body)
        reason = str(said.get("reason", ""))[:MAX_REASON]
        # Milliseconds since 1970.
        gone_at = float(said.get("timestamp", 0)) / 1000
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    fallback = Verdict(Outcome.RETRY, again=True, reconnect=True) if status >= 500 else Verdict(Outcome.CONFIG_ERROR)
    verdict = REASONS.get(reason) or STATUSES.get(status, fallback)
    return replace(
        verdict, reason=reason or f"HTTP {status}", gone_at=gone_at, retry_after=retry_after(answer.headers, now_at)
    )
