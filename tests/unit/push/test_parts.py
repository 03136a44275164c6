"""The small deciding parts: queue, breaker, tokens, addresses."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from google.auth import jwt

from sbc.push import keys
from sbc.push.bearers import (
    ACCESS_SPARE,
    APNS_LIFE,
    APNS_MIN_LIFE,
    AccessToken,
    ProviderTokens,
    VapidTokens,
    unauthorized,
)
from sbc.push.breaker import OPEN_FOR, OPEN_FOR_CONFIG, Breaker
from sbc.push.connect import Place, is_public
from sbc.push.exchange import LostError
from sbc.push.jose import from_base64url
from sbc.push.orders import Outcome
from sbc.push.waiting import CALL, MESSAGE, OTHER, Waiting
from sbc.push.wire import Answer, Verdict
from tests.unit.push.doubles import P8, RSA, account, pem

NOW = 1_700_000_000.0


def test_calls_go_before_messages_before_the_rest() -> None:
    queue: Waiting[str] = Waiting(10)
    for element, rank in (("refresh", OTHER), ("chat", MESSAGE), ("call 1", CALL), ("call 2", CALL)):
        assert queue.put(element, rank) is None
    queue.discard("call 1", CALL)
    queue.discard("call 1", CALL)
    assert [queue.take() for _ in range(4)] == ["call 2", "chat", "refresh", None]
    assert len(queue) == 0


def test_a_full_queue_drops_the_least_urgent() -> None:
    queue: Waiting[str] = Waiting(2)
    queue.put("refresh 1", OTHER)
    queue.put("refresh 2", OTHER)
    assert queue.put("refresh 3", OTHER) == "refresh 3"
    assert queue.put("call 1", CALL) == "refresh 2"
    assert queue.put("chat", MESSAGE) == "refresh 1"
    assert queue.put("call 2", CALL) == "chat"
    assert queue.put("call 3", CALL) == "call 3"


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_try_later() -> None:
    breaker = Breaker(threshold=3)
    for _ in range(2):
        breaker.failed(0.0, "down")
    breaker.succeeded()
    for _ in range(3):
        assert breaker.allows(1.0)
        breaker.failed(1.0, "down")
    assert not breaker.allows(1.0 + OPEN_FOR - 0.1)
    assert breaker.allows(1.0 + OPEN_FOR)
    assert not breaker.allows(1.0 + OPEN_FOR), "one at a time"
    breaker.failed(20.0, "still down")
    assert not breaker.allows(20.0 + OPEN_FOR - 0.1)
    assert breaker.allows(20.0 + OPEN_FOR)
    breaker.succeeded()
    assert breaker.allows(40.0)
    assert breaker.allows(40.0)


def test_an_error_only_the_operator_can_mend_opens_at_once() -> None:
    breaker = Breaker()
    breaker.failed(0.0, "InvalidProviderToken", config=True)
    assert not breaker.allows(OPEN_FOR_CONFIG - 0.1)
    assert breaker.is_open(0.0)
    assert breaker.reason == "InvalidProviderToken"


def test_a_try_that_never_reached_the_provider_proves_nothing() -> None:
    breaker = Breaker(threshold=1)
    breaker.failed(0.0, "down")
    assert breaker.allows(OPEN_FOR)
    breaker.spared()
    assert breaker.allows(OPEN_FOR)


def claims(token: bytes, key: ec.EllipticCurvePublicKey) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of an ES256 JWT, its signature checked."""
    head, body, signature = token.split(b".")
    raw = from_base64url(signature.decode())
    half = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.verify(half, head + b"." + body, ec.ECDSA(SHA256()))
    return json.loads(from_base64url(head.decode())), json.loads(from_base64url(body.decode()))


def test_one_provider_token_for_each_key_renewed_neither_too_late_nor_too_often() -> None:
    key = keys.token_key(pem(P8), "TEAM123456", "KEY1234567")
    tokens = ProviderTokens()
    first = tokens.get(key, NOW)
    header, said = claims(first.removeprefix(b"bearer "), P8.public_key())
    assert header == {"alg": "ES256", "kid": "KEY1234567"}
    assert said == {"iss": "TEAM123456", "iat": int(NOW)}
    assert tokens.get(key, NOW + APNS_LIFE - 1) == first
    assert not tokens.renew(key, NOW + APNS_MIN_LIFE - 1)
    assert tokens.get(key, NOW + APNS_MIN_LIFE - 1) == first
    assert tokens.renew(key, NOW + APNS_MIN_LIFE)
    assert tokens.get(key, NOW + APNS_MIN_LIFE) != first
    assert tokens.get(key, NOW - 10) != first, "a clock set back must not keep an old token alive"


def test_vapid_tokens_name_the_service_and_us() -> None:
    key = keys.vapid_key(pem(P8))
    tokens = VapidTokens()
    value = tokens.get(key, "https://push.example", "mailto:a@b", NOW)
    token, _, public = value.removeprefix(b"vapid t=").partition(b", k=")
    _, said = claims(token, P8.public_key())
    assert said["aud"] == "https://push.example"
    assert said["sub"] == "mailto:a@b"
    assert 0 < said["exp"] - NOW <= 86400
    assert public.decode() == key.public
    assert tokens.get(key, "https://push.example", "mailto:a@b", NOW + 3600) == value
    assert tokens.get(key, "https://other.example", "mailto:a@b", NOW) != value


class Google:
    """The OAuth server: notes what is asked, answers when told."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Any]] = []

    def send(self, post: Any, done: Any) -> None:
        self.asked.append((post, done))

    def answer(self, status: int = 200, **said: object) -> None:
        self.asked[-1][1](Answer(status, {}, json.dumps(said).encode()))


def test_an_access_token_is_fetched_once_for_all_who_wait() -> None:
    google, got = Google(), []
    access = AccessToken(keys.service_account(account().encode()), google.send)
    assert access.ready(NOW) == b""
    for _ in range(3):
        access.wait(NOW, lambda value, problem: got.append((value, problem)))
    assert len(google.asked) == 1
    post = google.asked[0][0]
    assert post.path == b"/token"
    form = parse_qs(post.body.decode())
    said = jwt.decode(form["assertion"][0], verify=False)
    assert said["aud"] == "https://oauth.test/token"
    assert said["scope"].endswith("/firebase.messaging")
    google.answer(access_token="ya29.x", expires_in=3600)
    assert got == [(b"Bearer ya29.x", None)] * 3
    assert access.ready(NOW + 3600 - ACCESS_SPARE - 1) == b"Bearer ya29.x"
    assert len(google.asked) == 1


def test_the_old_access_token_serves_while_the_new_one_is_on_its_way() -> None:
    google = Google()
    access = AccessToken(keys.service_account(account().encode()), google.send)
    access.ready(NOW)
    google.answer(access_token="one", expires_in=3600)
    assert access.ready(NOW + 3400) == b"Bearer one"
    assert len(google.asked) == 2
    google.answer(status=503)
    assert access.ready(NOW + 3401) == b"Bearer one"
    assert len(google.asked) == 2, "not at once again after a failure"
    assert access.ready(NOW + 3410) == b"Bearer one"
    google.answer(access_token="two", expires_in=3600)
    assert access.ready(NOW + 3411) == b"Bearer two"


def test_a_refused_assertion_is_told_to_all_who_wait() -> None:
    google, got = Google(), []
    access = AccessToken(keys.service_account(account().encode()), google.send)
    access.wait(NOW, lambda value, trouble: got.append(trouble))
    google.answer(400, error="invalid_grant", error_description="Invalid JWT Signature.")
    access.wait(NOW + 1, lambda value, trouble: got.append(trouble))
    refused = Verdict(Outcome.CONFIG_ERROR, "no access token: HTTP 400 Invalid JWT Signature.", blame_app=True)
    assert got == [refused] * 2
    access.wait(NOW + 60, lambda value, trouble: got.append(trouble))
    google.asked[-1][1](LostError("connection closed"))
    assert got[-1] == Verdict(Outcome.RETRY, "no access token: connection closed", again=True)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, b'{"error": "invalid_grant"}', Outcome.CONFIG_ERROR),
        (401, b'{"error": "invalid_client"}', Outcome.CONFIG_ERROR),
        (403, b"", Outcome.CONFIG_ERROR),
        (408, b"", Outcome.RETRY),
        (429, b"slow down", Outcome.RETRY),
        (500, b"<html>", Outcome.RETRY),
        (503, b"{}", Outcome.RETRY),
    ],
)
def test_an_oauth_server_s_trouble_passes_and_ours_does_not(status: int, body: bytes, outcome: Outcome) -> None:
    trouble = unauthorized(Answer(status, {b"retry-after": b"7"}, body), NOW)
    assert trouble is not None
    assert trouble.outcome is outcome
    assert trouble.blame_app is (outcome is Outcome.CONFIG_ERROR)
    assert trouble.retry_after == (7.0 if outcome is Outcome.RETRY else None)


def test_an_oauth_answer_without_a_token_passes_too() -> None:
    google, got = Google(), []
    access = AccessToken(keys.service_account(account().encode()), google.send)
    access.wait(NOW, lambda value, trouble: got.append(trouble))
    google.answer(200, nothing="here")
    assert got[0].outcome is Outcome.RETRY
    assert unauthorized(Answer(200, {}, b""), NOW) is None


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "::"),
    ],
)
def test_addresses_that_are_nobody_s_business(address: str) -> None:
    assert not is_public(address)


def test_public_addresses() -> None:
    assert is_public("8.8.8.8")
    assert is_public("2606:4700::1111")


def test_places() -> None:
    assert Place.of("https://push.example/x") == Place(True, "push.example", 443)
    assert Place.of("https://push.example").authority == b"push.example"
    assert Place.of("http://[::1]:8080").authority == b"[::1]:8080"
    with pytest.raises(ValueError):
        Place.of("ftp://x")


def test_an_rsa_key_is_no_apns_key() -> None:
    with pytest.raises(keys.BadKey, match="elliptic"):
        keys.token_key(pem(RSA), "TEAM123456", "K")
