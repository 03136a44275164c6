"""A standstill of the node is no silence of others."""

from __future__ import annotations

from twisted.internet.task import Clock

from sbc.standstill import GRACE, after_reading, forbearing


def stands_still(clock: Clock, seconds: float) -> None:
    """Timers that are due are run late, all at one time."""
    clock.rightNow += seconds
    clock.advance(0)


def test_an_alarm_in_time_rings_at_once() -> None:
    clock, rung = Clock(), []
    alarm = forbearing(clock.callLater, clock.seconds)(2.0, rung.append, "now")
    clock.advance(1.9)
    assert (alarm.active(), alarm.getTime(), rung) == (True, 2.0, [])
    clock.advance(0.1)
    assert (alarm.active(), rung) == (False, ["now"])


def test_after_a_standstill_an_answer_that_has_come_already_is_read_first() -> None:
    clock, rung = Clock(), []
    alarm = forbearing(clock.callLater, clock.seconds)(2.0, rung.append, "silent")
    stands_still(clock, 5.0)
    assert (alarm.active(), rung) == (True, []), "whoever has answered stops it"
    alarm.cancel()
    clock.advance(10)
    assert rung == []


def test_a_second_standstill_gives_no_more_grace() -> None:
    clock, rung = Clock(), []
    forbearing(clock.callLater, clock.seconds)(2.0, rung.append, "silent")
    stands_still(clock, 5.0)
    stands_still(clock, GRACE + 5.0)
    assert rung == ["silent"]


def test_a_clock_leaves_out_the_stroke_after_a_standstill() -> None:
    clock, strokes = Clock(), []
    call = after_reading(lambda: strokes.append(clock.seconds()), clock.seconds, 0.05)
    for _ in range(2):
        clock.advance(0.05)
        call()
    clock.advance(1.5)
    call()
    assert strokes == [0.05, 0.1]
    clock.advance(0.02)
    call()
    assert strokes == [0.05, 0.1, 1.62]


def test_a_clock_that_is_always_late_still_strikes() -> None:
    clock, strokes = Clock(), []
    call = after_reading(lambda: strokes.append(clock.seconds()), clock.seconds, 0.05)
    for _ in range(4):
        clock.advance(1.0)
        call()
    assert strokes == [2.0, 4.0]
