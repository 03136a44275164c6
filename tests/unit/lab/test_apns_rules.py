"""What Apple checks in a push, request by request."""

import json

import pytest

from sbc.lab.apns_rules import check_place, check_push

TOPICS = frozenset({"com.example.phone", "com.example.phone.voip"})
GOOD = {
    ":method": "POST",
    ":path": "/3/device/" + "a1" * 32,
    "apns-topic": "com.example.phone.voip",
    "apns-push-type": "voip",
}


def reason(body: bytes = b"{}", **headers: str | None) -> str:
    changed = {**GOOD, **{name.replace("_", "-"): value for name, value in headers.items()}}
    said = {name: value for name, value in changed.items() if value is not None}
    refused = check_push(said, body, TOPICS)
    return "" if refused is None else refused.reason


def test_good_pushes() -> None:
    assert reason() == ""
    assert reason(apns_priority="10", apns_expiration="0", apns_collapse_id="x" * 64) == ""
    assert reason(apns_topic="com.example.phone", apns_push_type="alert", apns_priority="5") == ""


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("apns_topic", None, "MissingTopic"),
        ("apns_topic", "com.example.other.voip", "TopicDisallowed"),
        ("apns_topic", "com.example.phone", "BadTopic"),
        ("apns_push_type", "alert", "DeviceTokenNotForTopic"),
        ("apns_push_type", "ring", "InvalidPushType"),
        ("apns_priority", "7", "BadPriority"),
        ("apns_expiration", "-1", "BadExpirationDate"),
        ("apns_id", "123", "BadMessageId"),
        ("apns_collapse_id", "x" * 65, "BadCollapseId"),
    ],
)
def test_bad_headers(header: str, value: str | None, expected: str) -> None:
    assert reason(**{header: value}) == expected


def test_a_background_push_has_no_high_priority() -> None:
    assert reason(apns_topic="com.example.phone", apns_push_type="background", apns_priority="10") == "BadPriority"


def test_payloads() -> None:
    assert reason(b"") == "PayloadEmpty"
    assert reason(b"{") == "BadPayload"
    assert reason(b"[]") == "BadPayload"
    big = json.dumps({"x": "y" * 4500}).encode()
    assert reason(big) == ""
    assert reason(big, apns_push_type="alert", apns_topic="com.example.phone") == "PayloadTooLarge"
    assert reason(json.dumps({"x": "y" * 5200}).encode()) == "PayloadTooLarge"


def test_tokens_and_places() -> None:
    assert check_push({**GOOD, ":path": "/3/device/xyz"}, b"{}", TOPICS).reason == "BadDeviceToken"
    assert check_place({**GOOD, ":path": "/3/device/"}).reason == "MissingDeviceToken"
    assert check_place({**GOOD, ":path": "/4/device/x"}).reason == "BadPath"
    assert check_place({**GOOD, ":method": "GET"}).status == 405
    assert check_place(GOOD) is None
