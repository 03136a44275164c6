"""What the answers of the three providers mean."""

from __future__ import annotations

import json

import pytest

from sbc.push import apns, fcm, webpush
from sbc.push.jose import base64url
from sbc.push.orders import Outcome, PushOrder, PushType
from sbc.push.wire import Answer

NOW = 1_700_000_000.0
NOT_VALID = "is not a valid FCM registration token"


def apple(status: int, reason: str = "", **more: object) -> Answer:
    return Answer(status, {}, json.dumps({"reason": reason, **more}).encode() if reason else b"")


@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        (200, "", Outcome.ACCEPTED),
        (410, "Unregistered", Outcome.DEAD_TOKEN),
        (410, "ExpiredToken", Outcome.DEAD_TOKEN),
        (400, "BadDeviceToken", Outcome.DEAD_TOKEN),
        (400, "DeviceTokenNotForTopic", Outcome.CONFIG_ERROR),
        (400, "MissingTopic", Outcome.CONFIG_ERROR),
        (403, "InvalidProviderToken", Outcome.CONFIG_ERROR),
        (403, "BadCertificate", Outcome.CONFIG_ERROR),
        (413, "PayloadTooLarge", Outcome.PAYLOAD_ERROR),
        (429, "TooManyRequests", Outcome.RETRY),
        (500, "InternalServerError", Outcome.RETRY),
        (503, "Shutdown", Outcome.RETRY),
        (400, "SomethingNew", Outcome.PAYLOAD_ERROR),
        (418, "", Outcome.CONFIG_ERROR),
        (599, "", Outcome.RETRY),
    ],
)
def test_apns(status: int, reason: str, outcome: Outcome) -> None:
    assert apns.classify(apple(status, reason), NOW).outcome is outcome


def test_apns_says_since_when_a_token_is_gone() -> None:
    verdict = apns.classify(apple(410, "Unregistered", timestamp=1_600_000_000_123), NOW)
    assert verdict.gone_at == pytest.approx(1_600_000_000.123)


def test_apns_renewal_and_the_other_environment() -> None:
    expired = apns.classify(apple(403, "ExpiredProviderToken"), NOW)
    assert expired.again
    assert expired.renew
    assert apns.classify(apple(400, "BadDeviceToken"), NOW).other_environment
    assert not apns.classify(apple(429, "TooManyRequests"), NOW).again
    assert apns.classify(apple(403, "InvalidProviderToken"), NOW).blame_app


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"reason": 7, "timestamp": "x"}', b"\xff", b"[" * 100_000])
def test_garbage_is_judged_by_status(body: bytes) -> None:
    assert apns.classify(Answer(410, {}, body), NOW).outcome is Outcome.DEAD_TOKEN
    assert fcm.classify(Answer(404, {}, body), NOW).outcome is Outcome.CONFIG_ERROR
    assert webpush.classify(Answer(410, {}, body), NOW).outcome is Outcome.DEAD_TOKEN


def google(status: int, plain: str, code: str = "", message: str = "", field: str = "", **headers: str) -> Answer:
    details: list[object] = []
    if code:
        details.append({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
    if field:
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": field}]})
    body = {"error": {"code": status, "status": plain, "message": message, "details": details}}
    return Answer(
        status, {k.replace("_", "-").encode(): v.encode() for k, v in headers.items()}, json.dumps(body).encode()
    )


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (google(404, "NOT_FOUND", "UNREGISTERED"), Outcome.DEAD_TOKEN),
        (google(404, "NOT_FOUND"), Outcome.CONFIG_ERROR),
        (google(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), Outcome.CONFIG_ERROR),
        (google(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), Outcome.PAYLOAD_ERROR),
        (google(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field="message.token"), Outcome.DEAD_TOKEN),
        (google(400, "INVALID_ARGUMENT", message=f"The token {NOT_VALID}"), Outcome.DEAD_TOKEN),
        (google(400, "INVALID_ARGUMENT", field="message.android.ttl"), Outcome.PAYLOAD_ERROR),
        (google(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), Outcome.RETRY),
        (google(503, "UNAVAILABLE", "UNAVAILABLE"), Outcome.RETRY),
        (google(500, "INTERNAL", "INTERNAL"), Outcome.RETRY),
        (google(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), Outcome.CONFIG_ERROR),
        (Answer(502, {}, b"<html>"), Outcome.RETRY),
    ],
)  # fmt: skip
def test_fcm(answer: Answer, outcome: Outcome) -> None:
    assert fcm.classify(answer, NOW).outcome is outcome


def test_fcm_waits_only_when_told_how_long() -> None:
    assert not fcm.classify(google(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), NOW).again
    told = fcm.classify(google(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", retry_after="2"), NOW)
    assert (told.again, told.retry_after) == (True, 2.0)
    dated = fcm.classify(google(503, "UNAVAILABLE", retry_after="Tue, 14 Nov 2023 22:13:25 GMT"), NOW)
    assert dated.retry_after == pytest.approx(5.0)


def test_fcm_address() -> None:
    assert fcm.split_url("https://fcm.example/v1/projects/PROJECTID/messages:send", "p-1") == (
        "https://fcm.example",
        b"/v1/projects/p-1/messages:send",
    )
    assert fcm.split_url("http://127.0.0.1:8", "p")[1] == b"/v1/projects/p/messages:send"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (201, Outcome.ACCEPTED),
        (202, Outcome.ACCEPTED),
        (404, Outcome.DEAD_TOKEN),
        (410, Outcome.DEAD_TOKEN),
        (413, Outcome.PAYLOAD_ERROR),
        (403, Outcome.CONFIG_ERROR),
        (301, Outcome.CONFIG_ERROR),
        (429, Outcome.RETRY),
        (502, Outcome.RETRY),
    ],
)
def test_web_push(status: int, outcome: Outcome) -> None:
    assert webpush.classify(Answer(status, {}, b""), NOW).outcome is outcome


def test_a_subscription_is_taken_apart() -> None:
    key, secret = base64url(b"\x04" + b"k" * 64).decode(), base64url(b"s" * 16).decode()
    found = webpush.subscription(f"https://push.example:8443/send/x?y=1#p256dh={key}&auth={secret}")
    assert (found.origin, found.path) == ("https://push.example:8443", b"/send/x?y=1")
    assert (len(found.key), len(found.secret)) == (65, 16)
    assert webpush.subscription("https://push.example/x").key == b""
    for wrong in (
        "ftp://x/y",
        "https://",
        "https://u@h/x",
        "https://h/x#p256dh=AA&auth=AA",
        "https://h/ü",
        "https://[::1",
    ):
        with pytest.raises(ValueError):
            webpush.subscription(wrong)


def test_a_web_push_says_how_urgent_it_is_and_what_it_replaces() -> None:
    to = webpush.subscription("https://push.example/x")
    order = PushOrder(type=PushType.CALL, tokens=(), call_id="c1")
    post = webpush.build(order, to, authorization=b"vapid t=T, k=K", sealed=b"", ttl=0)
    headers = dict(post.headers)
    assert (headers[b"ttl"], headers[b"urgency"], post.body) == (b"0", b"high", b"")
    assert len(headers[b"topic"]) == 32
    assert b"content-encoding" not in headers
