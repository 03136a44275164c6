"""When a push goes out."""

from __future__ import annotations

import pytest

from sbc.push.decide import HIGH_LOAD, decide
from sbc.push.orders import PushType
from sbc.push.settings import PushSettings

DAY = 86400.0


@pytest.mark.parametrize(
    ("enabled", "awake", "load", "pushed"),
    [
        ("off", False, 0, False),
        ("auto", False, 0, True),
        ("auto", True, 0, False),
        ("auto", False, HIGH_LOAD, False),
        ("on", False, HIGH_LOAD - 1, True),
        ("on", False, HIGH_LOAD, False),
        ("always", False, 4, True),
        ("always", True, 0, False),
        ("all", True, 4, True),
    ],
)
def test_calls(enabled: str, awake: bool, load: int, pushed: bool) -> None:
    decision = decide(PushSettings(enabled=enabled), PushType.CALL, awake=awake, load=load)
    assert decision.push is pushed
    assert decision.reason


def test_messages_have_a_setting_of_their_own_but_not_when_push_is_off() -> None:
    assert not decide(PushSettings(chat="off"), PushType.CHAT, awake=False).push
    assert decide(PushSettings(chat="all"), PushType.CHAT, awake=True).push
    assert not decide(PushSettings(enabled="off", chat="all"), PushType.CHAT, awake=False).push


def test_cancel_is_off_unless_asked_for() -> None:
    assert not decide(PushSettings(), PushType.CANCEL, awake=False).push
    assert decide(PushSettings(cancel="on"), PushType.CANCEL, awake=False).push
    assert not decide(PushSettings(cancel="on"), PushType.CANCEL, awake=False, load=4).push
    assert decide(PushSettings(cancel="always"), PushType.CANCEL, awake=False, load=4).push


def test_nobody_is_pushed_without_credentials_or_after_a_month_of_silence() -> None:
    assert decide(PushSettings(), PushType.CALL, awake=False, ready=False).reason == "no credentials for the app"
    assert not decide(PushSettings(), PushType.CALL, awake=False, offline_for=31 * DAY).push
    assert decide(PushSettings(client_max_offline_days=0.0), PushType.CALL, awake=False, offline_for=99 * DAY).push


def test_the_operator_s_own_push_goes_out_to_anyone() -> None:
    assert decide(PushSettings(), PushType.CUSTOM, awake=True, load=4).push
