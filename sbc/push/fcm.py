"""Google's push service, HTTP v1: what a request looks like and what an answer means.  [pure]

Sources: Firebase, "REST Resource: projects.messages", "ErrorCode", "Scaling FCM sends".
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from sbc.push.orders import Outcome, PushOrder, PushType
from sbc.push.settings import FcmSettings, PushSettings
from sbc.push.templates import JsonPath, Template
from sbc.push.tokens import ANDROID, BROWSER, IOS, PushToken
from sbc.push.wire import ACCEPTED, MAX_REASON, Answer, Post, Verdict, retry_after
from sbc.push.wording import keywords, push_type

LIMIT = 4096  # bytes of the whole message, its envelope included

_PARTS: dict[str, JsonPath] = {
    ANDROID: ("message", "android"),
    IOS: ("message", "apns"),
    BROWSER: ("message", "webpush"),
}
# A notification part for Android alone would show a notification as well.
_NOTIFICATION: frozenset[JsonPath] = frozenset((("message", "notification"), ("message", "android", "notification")))
# auto: these wake the app, which shows what there is to see.
_SHOWN_BY_THE_APP = frozenset((PushType.CALL, PushType.CANCEL, PushType.REFRESH))


def split_url(url: str, project: str) -> tuple[str, bytes]:
    """Base address and path of the send address *url*, with *project* in place of PROJECTID."""
    parts = urlsplit(url.replace("PROJECTID", project))
    path = parts.path or f"/v1/projects/{project}/messages:send"
    return f"{parts.scheme}://{parts.netloc}", path.encode()


def dropped(order: PushOrder, token: PushToken, settings: FcmSettings, *, ios: bool) -> frozenset[JsonPath]:
    """The parts of the message to leave out. A token of unknown platform may be Android, and an iPhone if *ios*."""
    wanted = {token.kind} if token.kind in _PARTS else {ANDROID, IOS} if ios else {ANDROID}
    parts = frozenset(path for platform, path in _PARTS.items() if platform not in wanted)
    rule = settings.remove_notification
    if (
        rule == "always"
        or (rule == "calls" and order.type is PushType.CALL)
        or (rule == "auto" and order.type in _SHOWN_BY_THE_APP)
    ):
        return parts | _NOTIFICATION
    return parts


def build(
    order: PushOrder,
    token: PushToken,
    template: Template,
    settings: PushSettings,
    fcm: FcmSettings,
    *,
    path: bytes,
    push_id: str,
    authorization: bytes,
    ttl: int,
) -> Post:
    """The request for one push. MessageTooLongError."""
    values = keywords(order, token, settings, push_id=push_id, push_type=push_type(order, settings), ttl=ttl)
    body = template.render(values, LIMIT, dropped(order, token, fcm, ios=settings.fcm in ("ios", "ios_always")))
    headers = [(b"authorization", authorization), (b"content-type", b"application/json; charset=UTF-8")]
    return Post(path, headers, body)


# What FCM's error codes mean; they stand in error.details, the plain status only says half.
CODES = {
    # The token is dead: the app was removed or the token replaced.
    "UNREGISTERED": Verdict(Outcome.DEAD_TOKEN),
    # The token belongs to another project than the key: the operator's configuration, or an app built with two
    # projects.
    "SENDER_ID_MISMATCH": Verdict(Outcome.CONFIG_ERROR, token_only=True),
    # The message or, where the field violation names it, the token is malformed.
    "INVALID_ARGUMENT": Verdict(Outcome.PAYLOAD_ERROR),
    # Too many messages for the project, this device or this topic. A minute's wait is of no use to a call.
    "QUOTA_EXCEEDED": Verdict(Outcome.RETRY),
    "RESOURCE_EXHAUSTED": Verdict(Outcome.RETRY),
    # Google's own trouble.
    "UNAVAILABLE": Verdict(Outcome.RETRY, again=True),
    "INTERNAL": Verdict(Outcome.RETRY, again=True),
    "UNSPECIFIED_ERROR": Verdict(Outcome.RETRY, again=True),
    # Firebase has no valid APNs or Web Push key of its own; an outdated access token looks the same, so one new one
    # is tried.
    "THIRD_PARTY_AUTH_ERROR": Verdict(Outcome.CONFIG_ERROR, again=True, renew=True),
    "UNAUTHENTICATED": Verdict(Outcome.CONFIG_ERROR, again=True, renew=True, blame_app=True),
    # The service account may not send, or the API is not enabled.
    "PERMISSION_DENIED": Verdict(Outcome.CONFIG_ERROR, blame_app=True),
    # No such project. A dead token is UNREGISTERED, so this must not kill any.
    "NOT_FOUND": Verdict(Outcome.CONFIG_ERROR, blame_app=True),
}
STATUSES = {
    400: CODES["INVALID_ARGUMENT"],
    401: CODES["UNAUTHENTICATED"],
    403: CODES["PERMISSION_DENIED"],
    404: CODES["NOT_FOUND"],
    413: Verdict(Outcome.PAYLOAD_ERROR),
    429: CODES["QUOTA_EXCEEDED"],
}


def classify(answer: Answer, now_at: float) -> Verdict:
    """What *answer* means."""
    status = answer.status
    if status == 200:
        return ACCEPTED
    code, plain, text, token_named = _explained(answer.body)
    fallback = Verdict(Outcome.RETRY, again=True) if status >= 500 else Verdict(Outcome.CONFIG_ERROR)
    verdict = CODES.get(code) or CODES.get(plain) or STATUSES.get(status, fallback)
    if verdict.outcome is Outcome.PAYLOAD_ERROR and token_named:
        verdict = Verdict(Outcome.DEAD_TOKEN)
    wait = retry_after(answer.headers, now_at)
    if status == 429 and wait is not None:
        verdict = replace(verdict, again=True)
    return replace(verdict, reason=(code or plain or f"HTTP {status} {text}".strip())[:MAX_REASON], retry_after=wait)


def _explained(body: bytes) -> tuple[str, str, str, bool]:
    """(FCM error code, plain status, text, whether the token is called malformed) of an error answer."""
    try:
        error: dict[str, Any] = json.loads(body)["error"]
        details = [part for part in error.get("details") or () if isinstance(part, dict)]
        plain, text = str(error.get("status", "")), str(error.get("message", ""))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "", "", "", False
    code = next((str(part["errorCode"]) for part in details if part.get("errorCode")), "")
    fields = [
        str(violation.get("field", ""))
        for part in details
        for violation in part.get("fieldViolations") or ()
        if isinstance(violation, dict)
    ]
    named = "message.token" in fields or "not a valid FCM registration token" in text
    return code, plain, text, named
