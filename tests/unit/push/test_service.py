"""From an order to a result, with providers in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sbc.push.breaker import OPEN_FOR_CONFIG
from sbc.push.orders import Outcome, PushType
from sbc.push.service import CALLS_ALONE
from sbc.push.settings import PushSettings, RemoveOnSettings
from sbc.push.tokens import PushToken
from tests.unit.push.doubles import DEVICE, account, reason, secret
from tests.unit.push.world import APPLE, GOOGLE, OK, START, World, script


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "push"


def test_a_call_reaches_apple_at_once(folder: Path) -> None:
    world = World(folder)
    results = world.order(APPLE, user_id=7)
    assert [(result.outcome, result.status, result.tries) for result in results] == [(Outcome.ACCEPTED, 200, 1)]
    assert results[0].push_id == world.requests[0]["apns-id"]
    assert world.requests[0]["authorization"].startswith("bearer ")
    order, result, provider, app, sent_at = world.notes.finished[0]
    assert (order.user_id, result, provider, app, sent_at) == (7, results[0], "apns", "com.example.phone", START)
    assert world.notes.tokens == [(APPLE, "live", "")]
    assert world.notes.counted == [("apns", "call", "accepted")]


def test_a_call_reaches_google_with_an_access_token(folder: Path) -> None:
    world = World(folder)
    assert world.tokens_given == 1, "fetched before the first call"
    results = [*world.order(GOOGLE), *world.order(GOOGLE)]
    assert [result.outcome for result in results] == [Outcome.ACCEPTED] * 2
    assert world.tokens_given == 1
    assert {headers["authorization"] for headers in world.requests} == {"Bearer T1"}
    assert world.requests[0][":path"] == "/v1/projects/proj-1/messages:send"


def test_an_access_token_that_google_does_not_take_is_renewed_once(folder: Path) -> None:
    world = World(folder, script((401, {}, b'{"error":{"status":"UNAUTHENTICATED"}}'), OK))
    results = world.order(GOOGLE)
    world.wait(0.0)
    assert [result.outcome for result in results] == [Outcome.ACCEPTED]
    assert [headers["authorization"] for headers in world.requests] == ["Bearer T1", "Bearer T2"]


def test_nobody_to_push(folder: Path) -> None:
    world = World(folder)
    assert world.order()[0].outcome is Outcome.REFUSED
    unknown = world.order(PushToken("apns", "com.other", DEVICE))[0]
    assert (unknown.outcome, unknown.reason) == (Outcome.REFUSED, "no credentials for apns app com.other")
    assert world.order(PushToken("webpush", "", "https://push.example/x"))[0].outcome is Outcome.REFUSED
    assert [counted[2] for counted in world.notes.counted] == ["refused"] * 3


def test_the_voip_token_is_for_calls(folder: Path) -> None:
    world = World(folder)
    voip = PushToken("apns", "com.example.phone", "aa" * 32, "", "voip")
    remote = PushToken("apns", "com.example.phone", "bb" * 32, "", "remote")
    world.order(remote, voip)
    world.order(voip, remote, type=PushType.CHAT)
    assert [headers[":path"][-2:] for headers in world.requests] == ["aa", "bb"]


def test_a_passing_failure_is_tried_again_in_time(folder: Path) -> None:
    world = World(folder, script(reason(503, "ServiceUnavailable"), reason(503, "ServiceUnavailable"), OK))
    results = world.order(APPLE)
    assert results == []
    world.wait(0.3)
    assert results == []
    world.wait(0.6)
    assert [(result.outcome, result.tries) for result in results] == [(Outcome.ACCEPTED, 3)]
    assert len({headers["apns-id"] for headers in world.requests}) == 1
    assert len([place for place, _ in world.net.attempts if place.host == "api.push.apple.com"]) == 3, (
        "a fresh connection each"
    )


def test_three_tries_are_enough(folder: Path) -> None:
    world = World(folder, script(reason(503, "ServiceUnavailable")))
    results = world.order(APPLE)
    world.wait(0.3, 0.6, 1.2, 5.0)
    assert [(result.outcome, result.tries, result.reason) for result in results] == [
        (Outcome.RETRY, 3, "ServiceUnavailable")
    ]
    assert world.notes.tokens == [], "it is not the token's fault"


def test_no_try_after_the_caller_has_gone(folder: Path) -> None:
    world = World(folder, script(reason(503, "ServiceUnavailable")))
    results = world.order(APPLE, deadline=START + 0.5)
    world.wait(0.3, 0.2, 1.0)
    assert [result.outcome for result in results] == [Outcome.RETRY]
    assert len(world.requests) == 2
    late = world.order(APPLE, deadline=START - 1)
    assert late[0].outcome is Outcome.DEADLINE


def test_no_try_when_nobody_wants_it_any_more(folder: Path) -> None:
    world = World(folder, script(reason(503, "ServiceUnavailable"), OK))
    wishes = [True, False]
    results = world.order(APPLE, wanted=lambda: wishes.pop(0))
    world.wait(0.5)
    assert [(result.outcome, result.reason) for result in results] == [(Outcome.DEADLINE, "not wanted any more")]
    assert len(world.requests) == 1


def test_silence_costs_a_call_two_seconds_a_try(folder: Path) -> None:
    world = World(folder, lambda headers, body: None)
    results = world.order(APPLE)
    world.wait(2.0, 0.3, 2.0, 0.6, 1.1)
    assert [result.outcome for result in results] == [Outcome.RETRY]
    assert results[0].latency == pytest.approx(6.0)


def test_a_provider_that_keeps_silent_may_have_passed_it_on(folder: Path) -> None:
    world = World(folder, lambda headers, body: None)
    results = world.order(APPLE)
    world.wait(2.0, 2.4, 2.0)
    assert results[0].unsure
    world.net.refuse = 100
    for client in world.net.clients:
        client.abortConnection()
    world.net.run()
    world.wait(0.0)
    results = world.order(APPLE)
    world.wait(1.0, 2.0, 3.0, 3.0)
    assert not results[0].accepted
    assert not results[0].unsure, "nobody was there"


def test_a_dead_token_is_marked_dead(folder: Path) -> None:
    world = World(folder, script(reason(410, "Unregistered", timestamp=int(START * 1000) - 5000)))
    older = PushToken("apns", "com.example.phone", DEVICE, "", "", START - 10)
    assert world.order(older)[0].outcome is Outcome.DEAD_TOKEN
    assert world.notes.tokens == [(older, "dead", "Unregistered")]


def test_a_token_registered_since_then_lives_on(folder: Path) -> None:
    world = World(folder, script(reason(410, "Unregistered", timestamp=int(START * 1000) - 5000)))
    newer = PushToken("apns", "com.example.phone", DEVICE, "", "", START - 1)
    assert world.order(newer)[0].outcome is Outcome.RETRY
    assert [state for _, state, _ in world.notes.tokens] == ["suspect"]


def test_dead_tokens_may_be_kept(folder: Path) -> None:
    world = World(folder, script(reason(410, "Unregistered")), remove_on=RemoveOnSettings(push_failure=False))
    assert world.order(APPLE)[0].outcome is Outcome.DEAD_TOKEN
    assert [state for _, state, _ in world.notes.tokens] == ["suspect"]


def test_a_bad_token_is_tried_in_the_other_environment(folder: Path) -> None:
    world = World(folder, script(reason(400, "BadDeviceToken"), OK))
    result = world.order(APPLE)[0]
    assert result.outcome is Outcome.ACCEPTED
    assert [headers[":authority"] for headers in world.requests] == [
        "api.push.apple.com",
        "api.development.push.apple.com",
    ]
    assert result.token is not None
    assert result.token.environment == "sandbox"
    assert world.notes.tokens[0][0].environment == "sandbox"


def test_a_token_that_is_bad_everywhere_is_dead(folder: Path) -> None:
    world = World(folder, script(reason(400, "BadDeviceToken")))
    assert world.order(APPLE)[0].outcome is Outcome.DEAD_TOKEN
    assert len(world.requests) == 2


def test_a_token_of_unknown_purpose_is_not_killed_by_a_message(folder: Path) -> None:
    world = World(folder, script(reason(400, "BadDeviceToken")))
    perhaps_voip = PushToken("apns", "com.example.phone", DEVICE, "", "")
    result = world.order(perhaps_voip, type=PushType.CHAT)[0]
    assert result.outcome is Outcome.CONFIG_ERROR
    assert world.notes.tokens == []


@pytest.mark.parametrize("kind", [PushType.CHAT, PushType.REFRESH, PushType.CANCEL, PushType.CUSTOM])
def test_a_voip_token_is_sent_nothing_but_calls(folder: Path, kind: PushType) -> None:
    """iOS 13 and later end an app that gets a VoIP push and shows no call."""
    world = World(folder, script(OK))
    voip = PushToken("apns", "com.example.phone", DEVICE, "", "voip")
    result = world.order(voip, type=kind)[0]
    assert (result.outcome, result.reason) == (Outcome.REFUSED, CALLS_ALONE)
    assert world.requests == []
    assert world.order(voip)[0].outcome is Outcome.ACCEPTED


def test_a_wrong_key_opens_the_breaker_of_its_app_alone(folder: Path) -> None:
    def respond(headers: dict[str, str], body: bytes) -> Any:
        return reason(403, "InvalidProviderToken") if headers[":path"].startswith("/3/") else OK

    world = World(folder, respond)
    assert world.order(APPLE)[0].outcome is Outcome.CONFIG_ERROR
    blocked = world.order(APPLE)[0]
    assert (blocked.outcome, blocked.reason) == (Outcome.BREAKER_OPEN, "InvalidProviderToken")
    assert world.service.open_breakers() == [("apns", "com.example.phone", "InvalidProviderToken")]
    assert world.order(GOOGLE)[0].outcome is Outcome.ACCEPTED
    world.wait(OPEN_FOR_CONFIG)
    assert world.order(APPLE)[0].outcome is Outcome.CONFIG_ERROR
    assert len([headers for headers in world.requests if headers[":path"].startswith("/3/")]) == 2


def test_an_expired_provider_token_that_is_young_means_a_wrong_clock(folder: Path) -> None:
    world = World(folder, script(reason(403, "ExpiredProviderToken")))
    world.order(APPLE)
    result = world.order(APPLE)[0]
    assert (result.outcome, result.reason) == (Outcome.CONFIG_ERROR, "ExpiredProviderToken")


def test_an_old_provider_token_is_renewed(folder: Path) -> None:
    world = World(folder, script(OK, reason(403, "ExpiredProviderToken"), OK))
    world.order(APPLE)
    world.clock.advance(30 * 60)
    world.net.run()
    results = world.order(APPLE)
    world.wait(0.0, 0.0)
    assert [result.outcome for result in results] == [Outcome.ACCEPTED]
    used = [headers["authorization"] for headers in world.requests]
    assert used[0] == used[1] != used[2]


def test_goaway_costs_no_try(folder: Path) -> None:
    world = World(folder, lambda headers, body: None)
    results = world.order(APPLE)
    apple = next(server for server in world.net.servers if server.requests and "/3/" in server.requests[0][1][":path"])
    world._respond = lambda headers, body: OK
    apple.goaway(last=0)
    world.net.run()
    world.wait(0.3)
    assert [result.outcome for result in results] == [Outcome.ACCEPTED]


def test_retry_after_is_obeyed_when_there_is_time(folder: Path) -> None:
    busy = (429, {"retry-after": "2"}, b'{"error":{"status":"RESOURCE_EXHAUSTED"}}')
    world = World(folder, script(busy, OK))
    results = world.order(GOOGLE)
    world.wait(1.9)
    assert results == []
    world.wait(0.1)
    assert [result.outcome for result in results] == [Outcome.ACCEPTED]
    endless = World(folder, script((429, {"retry-after": "60"}, b"{}")))
    assert endless.order(GOOGLE)[0].outcome is Outcome.RETRY


def test_the_time_to_live_ends_with_the_caller_s_patience(folder: Path) -> None:
    world = World(folder, push=PushSettings(credentials=str(folder), ttl=600.0))
    world.order(APPLE, deadline=START + 20)
    world.order(APPLE, type=PushType.CHAT, deadline=START + 20)
    assert [int(headers["apns-expiration"]) - int(START) for headers in world.requests] == [20, 600]


def test_providers_can_be_switched_off(folder: Path) -> None:
    world = World(folder, push=PushSettings(credentials=str(folder), apns="off"))
    assert not world.service.ready(APPLE)
    assert world.service.ready(GOOGLE)
    assert world.service.providers() == {"fcm"}
    assert world.order(APPLE)[0].outcome is Outcome.REFUSED
    assert len({attempt[0].host for attempt in world.net.attempts if "apple" in attempt[0].host}) == 0


def test_reload_reads_keys_again(folder: Path) -> None:
    world = World(folder)
    assert not world.service.ready(PushToken("fcm", "com.new", "t"))
    secret(folder / "fcmkey.com.new.json", account("proj-new"))
    secret(folder / "fcmkey.com.bad.json", "{")
    assert [problem.split(":")[0] for problem in world.service.reload(world.configuration)] == [
        f"{folder}/fcmkey.com.bad.json"
    ]
    world.net.run()
    assert world.order(PushToken("fcm", "com.new", "t", "", "android"))[0].outcome is Outcome.ACCEPTED
    assert world.order(APPLE)[0].outcome is Outcome.ACCEPTED


def test_a_push_under_way_survives_a_reload(folder: Path) -> None:
    world = World(folder, lambda headers, body: None)
    results = world.order(APPLE)
    server = next(server for server in world.net.servers if server.requests and "/3/" in server.requests[0][1][":path"])
    world.service.reload(world.configuration)
    world.net.run()
    server.answer(server.requests[0][0], 200, {}, b"")
    world.net.run()
    assert [result.outcome for result in results] == [Outcome.ACCEPTED]


def test_status_and_stop(folder: Path) -> None:
    world = World(folder)
    assert {row["server"]: row["connected"] for row in world.service.status()} == {
        "api.push.apple.com": True,
        "fcm.googleapis.com": True,
        "oauth.test": True,
    }
    world.service.stopService()
    world.wait(10.0, 100.0)
    assert all(server.ended for server in world.net.servers)
    assert world.clock.getDelayedCalls() == []


def test_rules_for_reading_tokens(folder: Path) -> None:
    rules = World(folder, push=PushSettings(credentials=str(folder), fcm="ios")).service.rules()
    assert rules.ios_by_fcm
    assert not rules.webpush
    assert rules.providers == {"apns", "fcm"}


def test_one_device_s_trouble_does_not_stop_the_others(folder: Path) -> None:
    unlimited = PushSettings(credentials=str(folder), device_limit=0)
    world = World(folder, script(reason(429, "TooManyRequests")), push=unlimited)
    for _ in range(50):
        assert world.order(APPLE)[0].outcome is Outcome.RETRY
    assert world.service.open_breakers() == []
    assert {state for _, state, _ in world.notes.tokens} == {"suspect"}


def test_a_provider_that_is_down_is_left_alone(folder: Path) -> None:
    world = World(folder, script(reason(500, "InternalServerError")))
    for _ in range(20):
        results = world.order(APPLE)
        world.wait(0.3, 0.6, 0.1)
        assert results[0].outcome is Outcome.RETRY
    assert world.order(APPLE)[0].outcome is Outcome.BREAKER_OPEN
    world._respond = lambda headers, body: OK
    world.wait(15.0)
    assert world.order(APPLE)[0].outcome is Outcome.ACCEPTED
    assert world.service.open_breakers() == []


def test_nothing_is_sent_after_the_end(folder: Path) -> None:
    world = World(folder)
    world.service.stopService()
    assert world.order(APPLE)[0].reason == "shutting down"
    world.service.startService()
    world.net.run()
    assert world.order(APPLE)[0].outcome is Outcome.ACCEPTED


def test_an_access_token_that_cannot_be_had(folder: Path) -> None:
    world = World(folder)
    world.service.reload(world.configuration, anew=["fcm"])
    world.respond = lambda headers, body: (400, {}, b'{"error": "invalid_grant"}')  # type: ignore[method-assign]
    world.net.respond = world.respond
    for server in world.net.servers:
        server.respond = world.respond
    world.net.run()
    results = world.order(GOOGLE)
    world.wait(0.3, 0.6, 1.2)
    assert results[0].outcome is Outcome.CONFIG_ERROR
    assert "invalid_grant" in results[0].reason


@pytest.mark.parametrize("prid", ["../../x", "ab\r\nx: y", "", "x" * 5000])
def test_a_token_that_cannot_be_one_is_not_sent(folder: Path, prid: str) -> None:
    world = World(folder)
    assert world.order(PushToken("apns", "com.example.phone", prid))[0].outcome is Outcome.REFUSED
    assert world.requests == []


def test_what_the_operator_says_is_what_the_user_reads(folder: Path) -> None:
    world = World(folder)
    world.order(APPLE, type=PushType.CUSTOM, title="Hello", message="The office is closed")
    bodies = [body for server in world.net.servers for _, headers, body in server.requests if "/3/" in headers[":path"]]
    assert json.loads(bodies[0])["aps"]["alert"] == {"title": "Hello", "body": "The office is closed"}


def test_the_device_s_other_token_is_tried_when_one_is_dead(folder: Path) -> None:
    def respond(headers: dict[str, str], body: bytes) -> Any:
        return reason(410, "Unregistered") if headers["apns-topic"].endswith(".voip") else OK

    world = World(folder, respond)
    voip = PushToken("apns", "com.example.phone", "aa" * 32, "", "voip")
    remote = PushToken("apns", "com.example.phone", "bb" * 32, "", "remote")
    result = world.order(voip, remote)[0]
    assert (result.outcome, result.token) == (Outcome.ACCEPTED, remote)
    assert [(token, state) for token, state, _ in world.notes.tokens] == [(voip, "dead"), (remote, "live")]
    assert [counted[2] for counted in world.notes.counted] == ["dead_token", "accepted"]
