"""Apps that are woken to register again."""

from __future__ import annotations

import pytest

from sbc.registrar.asking import PAUSES, Asking, ask, in_time

NOW = 1_000_000.0


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_the_app_is_pushed_again_with_longer_pauses_and_then_left_alone(mode: str):
    asked = [ask(mode, times, NOW + 130, NOW) for times in range(8)]
    pauses = [each.next_at - NOW for each in asked if each.next_at is not None]
    assert pauses == list(PAUSES)
    assert pauses == sorted(pauses)
    assert [each.push for each in asked] == [True] * 6 + [False] * 2


def test_off_asks_nobody():
    assert ask("off", 0, NOW + 130, NOW) == Asking(False, None)


def test_remove_waits_for_the_end_and_then_the_device_goes():
    assert ask("remove", 0, NOW + 130, NOW) == Asking(False, NOW + 130)
    assert ask("remove", 1, NOW, NOW) == Asking(False, None, remove=True)
    assert ask("remove", 1, None, NOW).remove


@pytest.mark.parametrize("granted", [180, 600, 3600])
def test_the_push_comes_at_least_120_s_before_the_end_where_there_is_room(granted: int):
    at = in_time(NOW + granted - 20, granted, NOW)
    assert NOW + granted - at >= min(120, granted / 2)


def test_a_register_moves_the_moment():
    early, late = in_time(NOW + 590, 600, NOW), in_time(NOW + 300 + 590, 600, NOW + 300)
    assert late - early == 300
