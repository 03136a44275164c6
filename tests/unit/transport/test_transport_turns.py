"""Turns: a storm of handshakes is spread, in the order of arrival."""

from sbc.transport.turns import AT_ONCE, Turns


def test_who_comes_alone_need_not_wait() -> None:
    turns: Turns[int] = Turns(400)
    assert turns.take(1, 10.0)
    assert turns.take(2, 11.0)
    assert len(turns) == 0


def test_a_storm_is_served_in_order_at_the_rate() -> None:
    turns: Turns[int] = Turns(100)
    begun = [who for who in range(1_000) if turns.take(who, 10.0)]
    assert len(begun) == 100 * AT_ONCE
    served = []
    now = 10.0
    while turns:
        now += 0.02
        served += turns.due(now)
    assert begun + served == list(range(1_000))
    assert 9.5 < now - 10.0 < 10.5


def test_nobody_overtakes() -> None:
    turns: Turns[int] = Turns(1)
    assert turns.take(1, 10.0)
    assert not turns.take(2, 10.5)
    assert not turns.take(3, 11.2)
    assert turns.due(11.2) == [2]
    assert turns.due(12.2) == [3]


def test_who_left_is_not_called() -> None:
    turns: Turns[int] = Turns(1)
    for who in (1, 2, 3):
        turns.take(who, 10.0)
    turns.leave(2)
    turns.leave(99)
    assert turns.due(11.0) == [3]


def test_a_pause_saves_up_no_more_than_a_moment() -> None:
    turns: Turns[int] = Turns(100)
    turns.take(0, 0.0)
    assert sum(turns.take(who, 3_600.0) for who in range(1, 100)) == 100 * AT_ONCE
