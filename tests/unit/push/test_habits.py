"""How long devices take to wake, and when they are late."""

from __future__ import annotations

import pytest

from sbc.push.habits import EARLIEST, KEPT, USUAL, Habit, entry, habit, push_again, quantile


def wakes(*seconds: float) -> str:
    return "".join(entry(each) for each in seconds)


def test_nothing_is_known_of_a_new_device():
    assert habit("") is None
    assert push_again(None, 40.0) == USUAL


def test_the_middle_and_the_late_ones():
    known = habit(wakes(2.0, 1.0, 3.0, 2.0, 9.0))
    assert known is not None
    assert (known.median, known.count) == (2.0, 5)
    assert 7.0 < known.late < 9.0


@pytest.mark.parametrize("text", ["0200", "abcde", "01000x", "0100002"])
def test_what_is_cut_off_does_not_count(text: str):
    assert (habit(text) or Habit(0, 0, 0)).count <= 1


def test_entries_have_one_width():
    assert {len(entry(each)) for each in (0.0, 0.0004, 1.5, 99.9, 1e9, -1.0)} == {5}
    assert len(wakes(*[1.0] * KEPT)) == KEPT * 5


def test_a_quick_device_is_late_soon_and_a_slow_one_is_not():
    quick, slow = habit(wakes(*[0.8] * 5)), habit(wakes(*[6.0] * 5))
    assert push_again(quick, 40.0) == EARLIEST
    assert push_again(slow, 40.0) == pytest.approx(9.0)


def test_few_wakes_are_no_habit():
    assert push_again(habit(wakes(0.5, 0.5)), 40.0) == USUAL


def test_a_second_push_that_comes_too_late_is_not_sent():
    assert push_again(None, 7.0) is None
    assert push_again(habit(wakes(*[20.0] * 8)), 40.0) is None
    assert push_again(habit(wakes(*[20.0] * 8)), 60.0) == pytest.approx(30.0)


def test_a_quantile_lies_between_its_neighbours():
    assert quantile([1.0], 0.95) == 1.0
    assert quantile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert quantile([0.0, 10.0], 0.95) == pytest.approx(9.5)
