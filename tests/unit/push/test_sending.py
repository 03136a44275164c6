"""The rules of sending: limits, one push for one request, queues under load, deadlines, suspension, reloads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h2.settings
import pytest

from sbc.push import limits
from sbc.push.breaker import OPEN_FOR
from sbc.push.limits import Limits
from sbc.push.orders import Outcome, PushOrder, PushResult, PushType
from sbc.push.origins import OVERFLOW
from sbc.push.recent import KEPT, MAX_KEPT, Recent
from sbc.push.settings import ApnsSettings, FcmSettings, PushSettings
from sbc.push.tokens import PushToken
from tests.unit.push.doubles import DEVICE, account, reason, secret
from tests.unit.push.world import APPLE, GOOGLE, OK, START, World, script


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "push"


def device(number: int) -> PushToken:
    return PushToken("apns", "com.example.phone", f"{number:064x}")


def order(kind: PushType = PushType.CALL, **more: Any) -> PushOrder:
    return PushOrder(type=kind, tokens=(APPLE,), **{"from_user": "bob", "from_uri": "sip:bob@example.com", **more})


# Limits.


def test_a_device_has_so_many_pushes_a_minute_and_then_one_at_a_time() -> None:
    few = Limits({"device": 3, "caller": 0, "app": 0})
    told = "more than 3 pushes a minute for one device"
    assert [few.refuses(order(), APPLE, 0.0) for _ in range(4)] == ["", "", "", told]
    assert few.refuses(order(), device(2), 0.0) == "", "another one is not concerned"
    assert few.refuses(order(), APPLE, 19.0)
    assert few.refuses(order(), APPLE, 20.1) == ""
    assert few.refuses(order(), APPLE, 20.2)
    assert [few.refuses(order(), APPLE, 200.0) for _ in range(3)] == [""] * 3, "after a quiet minute all of them again"


def test_a_caller_causes_so_many_pushes_whomever_it_calls() -> None:
    few = Limits({"device": 0, "caller": 2, "app": 0})
    assert [few.refuses(order(), device(number), 0.0) for number in range(2)] == ["", ""]
    assert "one caller" in few.refuses(order(), device(3), 0.0)
    assert few.refuses(order(from_user="eve", from_uri="sip:eve@example.com"), device(3), 0.0) == ""
    for _ in range(5):
        assert few.refuses(order(from_user="Anonymous", from_uri="sip:anonymous@x"), device(3), 0.0) == ""


def test_messages_do_not_use_up_what_calls_may() -> None:
    few = Limits({"device": 2, "caller": 2, "app": 2})
    assert [few.refuses(order(PushType.CHAT), APPLE, 0.0) != "" for _ in range(3)] == [False, False, True]
    assert few.refuses(order(), APPLE, 0.0) == ""


def test_a_group_that_rings_at_every_call_is_no_flood() -> None:
    push = PushSettings()
    few = Limits({"device": push.device_limit, "caller": push.caller_limit, "app": push.app_limit})
    calls = [few.refuses(order(), device(number), call) for call in range(20) for number in range(50)]
    assert set(calls) == {""}


def test_an_app_sends_so_many() -> None:
    few = Limits({"device": 0, "caller": 0, "app": 1})
    assert few.refuses(order(), device(1), 0.0) == ""
    assert "one app" in few.refuses(order(), device(2), 0.0)
    assert few.refuses(order(), GOOGLE, 0.0) == ""


def test_calls_off_and_operators_are_not_counted_and_a_refusal_costs_nothing() -> None:
    few = Limits({"device": 1, "caller": 1, "app": 0})
    assert few.refuses(order(), APPLE, 0.0) == ""
    for kind in (PushType.CANCEL, PushType.CUSTOM):
        assert few.refuses(order(kind), APPLE, 0.0) == ""
    assert few.refuses(order(), device(7), 0.0), "of the caller"
    assert few.refuses(order(from_user="eve", from_uri=""), device(7), 0.0) == "", "that did not count for the device"


def test_the_limits_remember_no_more_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 10)
    few = Limits({"device": 1, "caller": 1, "app": 1})
    for number in range(50):
        few.refuses(order(from_user=f"u{number}", from_uri=""), PushToken("apns", f"a{number}", f"{number}"), 0.0)
    assert len(few) == 10


def test_a_push_beyond_the_limit_is_not_sent_and_told(folder: Path) -> None:
    world = World(folder, push=PushSettings(credentials=str(folder), device_limit=2))
    results = [world.order(APPLE)[0] for _ in range(3)]
    assert [result.outcome for result in results] == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.LIMITED]
    assert results[2].reason == "more than 2 pushes a minute for one device"
    assert len(world.requests) == 2
    assert world.notes.counted[-1] == ("apns", "call", "limited")
    assert world.notes.finished[-1][1] is results[2]
    world.service.reload(world.configuration)
    assert world.order(APPLE)[0].outcome is Outcome.LIMITED, "a reload forgives nothing"


# One push for one request.


def test_a_request_that_was_called_off_is_pushed_again_when_it_comes_again(folder: Path) -> None:
    world = World(folder)
    assert world.order(APPLE, once="c1 1 INVITE")[0].accepted
    assert world.order(APPLE, type=PushType.CANCEL, once="c1 1 INVITE")[0].accepted
    assert world.order(APPLE, once="c1 1 INVITE")[0].accepted
    assert len(world.requests) == 3


def test_a_request_that_comes_twice_is_one_push(folder: Path) -> None:
    answers: list[Any] = [None]
    world = World(folder, lambda headers, body: answers[0])
    first, second = world.order(APPLE, once="c1 1 INVITE"), world.order(APPLE, once="c1 1 INVITE")
    assert (first, second, len(world.requests)) == ([], [], 1)
    server = next(each for each in world.net.servers if each.requests)
    server.answer(server.requests[0][0], 200, {}, b"")
    world.net.run()
    assert first == second
    assert first[0].accepted
    assert world.order(APPLE, once="c1 1 INVITE") == first, "a moment later, too"
    assert len(world.requests) == 1
    assert len(world.notes.finished) == 1
    answers[0] = OK
    assert world.order(APPLE, once="c1 2 INVITE")[0].accepted
    assert world.order(device(5), once="c1 1 INVITE")[0].accepted
    world.wait(KEPT)
    assert world.order(APPLE, once="c1 1 INVITE")[0].accepted
    assert len(world.requests) == 4


def test_a_push_that_failed_for_its_own_reasons_does_not_stand_for_another(folder: Path) -> None:
    wanted = [True]
    world = World(folder, script(reason(500, "InternalServerError"), OK))
    first = world.order(APPLE, once="c1 1 INVITE", wanted=lambda: wanted[0])
    second = world.order(APPLE, once="c1 1 INVITE")
    wanted[0] = False
    world.wait(0.3, 0.6)
    assert first[0].outcome is Outcome.DEADLINE
    assert second[0].accepted


def test_what_was_pushed_is_forgotten() -> None:
    recent, accepted = Recent(), PushResult(outcome=Outcome.ACCEPTED)
    for number in range(MAX_KEPT + 5):
        key = (str(number), "apns", DEVICE)
        assert not recent.joins(key, lambda result: None)
        recent.ended(key, accepted, 1.0)
    assert recent.result(("0", "apns", DEVICE), 1.0) is None
    assert recent.result((str(MAX_KEPT), "apns", DEVICE), 1.0) is accepted
    recent.ended(("late", "apns", DEVICE), accepted, 1.0 + KEPT)
    assert recent.result((str(MAX_KEPT), "apns", DEVICE), 1.0 + KEPT) is None


# Queues, deadlines, suspension.


def test_under_load_calls_go_before_messages_before_refreshes(folder: Path) -> None:
    world = World(folder, lambda headers, body: None)
    server = world.net.servers[0]
    server.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    server.flush()
    world.net.run()
    world.order(device(0))
    kinds = (PushType.REFRESH, PushType.CANCEL, PushType.CHAT, PushType.CUSTOM, PushType.CALL)
    for number, kind in enumerate(kinds, 1):
        world.order(device(number), type=kind)
    world.order(device(6), type=PushType.REFRESH, urgent=True)
    assert [row["waiting"] for row in world.service.status() if "apple" in str(row["server"])] == [6]
    for number in range(7):
        server.answer(server.requests[number][0], 200, {}, b"")
        world.net.run()
    paths = [int(headers[":path"].rpartition("/")[2], 16) for _, headers, _ in server.requests]
    assert paths == [0, 5, 6, 3, 4, 1, 2], "call and what is as urgent, message and the operator's, the rest"


def test_a_full_queue_drops_refreshes_first_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbc.push.origins.MAX_WAITING", 2)
    world = World(folder, lambda headers, body: None)
    server = world.net.servers[0]
    server.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    server.flush()
    world.net.run()
    world.order(device(0))
    refreshes = [world.order(device(number), type=PushType.REFRESH) for number in (1, 2)]
    call = world.order(device(3))
    assert (refreshes[0], call) == ([], [])
    assert (refreshes[1][0].outcome, refreshes[1][0].reason) == (Outcome.REFUSED, OVERFLOW)
    world.order(device(4))
    assert refreshes[0][0].reason == OVERFLOW
    assert world.order(device(5))[0].reason == OVERFLOW, "among equals who came first stays"


def test_a_deadline_is_a_moment_not_a_time_allowed_for_each_try(folder: Path) -> None:
    world = World(folder, script(reason(503, "ServiceUnavailable")))
    results = world.order(APPLE, deadline=START + 0.5)
    world.wait(0.3)
    assert len(world.requests) == 2
    world.wait(0.3)
    assert results[0].outcome in (Outcome.RETRY, Outcome.DEADLINE)
    world.wait(5.0)
    assert len(world.requests) == 2, "the caller has gone: no third try"
    assert world.order(APPLE, deadline=START + 0.5)[0].outcome is Outcome.DEADLINE


def test_fcm_is_suspended_after_max_failures_in_a_row_and_a_success_resets_the_count(folder: Path) -> None:
    down = (503, {}, b'{"error": {"status": "UNAVAILABLE"}}')
    world = World(folder, script(down), fcm=FcmSettings(max_failures=3))

    def fails() -> PushResult:
        results = world.order(GOOGLE)
        world.wait(0.3, 0.6, 0.1)
        return results[0]

    assert [fails().outcome for _ in range(2)] == [Outcome.RETRY] * 2
    world._respond = script(OK)
    assert world.order(GOOGLE)[0].accepted
    world._respond = script(down)
    assert [fails().outcome for _ in range(3)] == [Outcome.RETRY] * 3
    assert world.service.open_breakers() == [("fcm", "com.example.droid", "UNAVAILABLE")]
    asked = len(world.requests)
    assert fails().outcome is Outcome.BREAKER_OPEN
    assert len(world.requests) == asked, "at once, without a try"
    world._respond = script(OK)
    assert world.order(APPLE)[0].accepted, "Apple has a breaker of its own"
    world.wait(OPEN_FOR)
    assert world.order(GOOGLE)[0].accepted


def test_each_app_has_a_breaker_of_its_own(folder: Path) -> None:
    secret(folder / "fcmkey.com.example.other.json", account("proj-2"))

    def respond(headers: dict[str, str], body: bytes) -> Any:
        refused = (403, {}, b'{"error": {"status": "PERMISSION_DENIED"}}')
        return refused if "proj-1" in headers[":path"] else OK

    world = World(folder, respond)
    assert world.order(GOOGLE)[0].outcome is Outcome.CONFIG_ERROR
    assert world.order(GOOGLE)[0].outcome is Outcome.BREAKER_OPEN
    assert world.order(replace(GOOGLE, param="com.example.other"))[0].accepted
    assert world.order(APPLE)[0].accepted


def test_an_access_token_refused_suspends_the_app_and_a_passing_trouble_does_not(folder: Path) -> None:
    world = World(folder)
    world.service.stopService()
    said: list[Any] = [(503, {}, b"")]
    world.net.respond = lambda headers, body: said[0]
    world.service.startService()
    world.net.run()
    results = world.order(GOOGLE)
    world.wait(0.3, 0.6, 1.2, 2.4)
    assert (results[0].outcome, results[0].reason) == (Outcome.RETRY, "no access token: HTTP 503")
    assert world.service.open_breakers() == []
    world.wait(10.0)
    said[0] = (400, {}, b'{"error": "invalid_grant"}')
    for server in world.net.servers:
        server.respond = world.net.respond
    assert world.order(GOOGLE)[0].outcome is Outcome.CONFIG_ERROR
    assert world.service.open_breakers() == [("fcm", "com.example.droid", "no access token: HTTP 400 invalid_grant")]


# An Apple token whose app does not say what it is for.


def takes_only(kind: str) -> Any:
    def respond(headers: dict[str, str], body: bytes) -> Any:
        return OK if headers["apns-push-type"] == kind else reason(400, "DeviceTokenNotForTopic")

    return respond


def test_a_call_that_an_unknown_token_does_not_take_as_voip_goes_as_an_alert(folder: Path) -> None:
    world = World(folder, takes_only("alert"))
    result = world.order(APPLE)[0]
    assert (result.outcome, result.tries) == (Outcome.ACCEPTED, 1)
    assert [headers["apns-push-type"] for headers in world.requests] == ["voip", "alert"]
    assert [(token.kind, state) for token, state, _ in world.notes.tokens] == [("remote", "live")]


def test_a_message_that_an_unknown_token_does_not_take_is_not_held_against_it(folder: Path) -> None:
    world = World(folder, takes_only("voip"))
    assert world.order(APPLE, type=PushType.CHAT)[0].outcome is Outcome.CONFIG_ERROR
    assert world.notes.tokens == []
    assert world.order(APPLE)[0].accepted
    world._respond = script(reason(400, "BadDeviceToken"))
    assert world.order(APPLE, type=PushType.CHAT)[0].outcome is Outcome.CONFIG_ERROR
    assert [state for _, state, _ in world.notes.tokens] == ["live"], "a call alone tells whether it is dead"


def test_a_token_that_says_what_it_is_for_is_not_tried_as_another(folder: Path) -> None:
    world = World(folder, takes_only("alert"))
    assert world.order(replace(APPLE, kind="voip"))[0].outcome is Outcome.CONFIG_ERROR
    assert len(world.requests) == 1
    assert [state for _, state, _ in world.notes.tokens] == ["suspect"]


# Mid-dialog wakes.


def test_a_wake_that_somebody_waits_for_is_as_urgent_as_a_call(folder: Path) -> None:
    world = World(folder, script(reason(500, "InternalServerError"), OK))
    results = world.order(replace(APPLE, kind="remote"), type=PushType.REFRESH, urgent=True)
    world.wait(0.3)
    assert results[0].accepted, "tried again as soon as a call"
    assert [(head["apns-push-type"], head["apns-priority"]) for head in world.requests] == [("alert", "10")] * 2
    calm = world.order(replace(APPLE, kind="remote"), type=PushType.REFRESH)
    assert calm[0].accepted
    assert (world.requests[-1]["apns-push-type"], world.requests[-1]["apns-priority"]) == ("background", "5")


# Reloads.


def test_a_reload_leaves_connections_whose_credentials_are_the_same(folder: Path) -> None:
    world = World(folder)
    before = list(world.net.servers)
    world.service.reload(world.configuration)
    world.net.run()
    assert world.net.servers == before
    assert not any(server.ended for server in before)
    assert world.tokens_given == 1, "the access token is kept"
    secret(folder / "fcmkey.com.new.json", account("proj-new"))
    world.service.reload(world.configuration)
    world.net.run()
    assert world.net.servers == before, "the new one goes to servers that are connected"
    assert world.tokens_given == 2


def test_a_reload_drops_connections_of_credentials_that_have_gone(folder: Path) -> None:
    world = World(folder)
    apple = next(server for server, attempt in zip(world.net.servers, world.net.attempts, strict=True)
                 if "apple" in attempt[0].host)  # fmt: skip
    world.service.reload(replace(world.configuration, apps=()))
    world.wait(6.0)
    assert apple.ended
    assert world.order(APPLE)[0].outcome is Outcome.REFUSED
    assert world.order(GOOGLE)[0].accepted


def test_a_reload_connects_anew_where_it_is_told_to_or_the_place_has_changed(folder: Path) -> None:
    world = World(folder)
    count = len(world.net.servers)
    world.service.reload(world.configuration, anew=["apns"])
    world.net.run()
    assert [attempt[0].host for attempt in world.net.attempts[count:]] == ["api.push.apple.com"]
    moved = replace(world.configuration, apns=ApnsSettings(url="https://apns.test", sandbox_url="https://apns.test"))
    world.service.reload(moved)
    world.net.run()
    assert world.net.attempts[-1][0].host == "apns.test"
    assert world.order(APPLE)[0].accepted
    assert [row["server"] for row in world.service.status() if row["provider"] == "apns"] == ["apns.test"]


def test_two_connections_instead_of_one(folder: Path) -> None:
    world = World(folder)
    world.service.reload(replace(world.configuration, fcm=FcmSettings(connections=2)))
    world.net.run()
    assert [attempt[0].host for attempt in world.net.attempts].count("fcm.googleapis.com") == 3
