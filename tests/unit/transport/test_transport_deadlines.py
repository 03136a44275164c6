"""The table of deadlines."""

from sbc.transport.deadlines import Deadlines


def test_what_is_due_is_handed_out_once() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 10.5)
    deadlines.set("b", 20.0)
    assert deadlines.due(10.0) == []
    assert deadlines.due(11.0) == ["a"]
    assert deadlines.due(30.0) == ["b"]
    assert deadlines.due(99.0) == []
    assert len(deadlines) == 0


def test_a_deadline_moves_back_and_forth() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 10.0)
    deadlines.set("a", 20.0)
    assert deadlines.due(15.0) == []
    deadlines.set("a", 17.0)
    assert deadlines.due(17.5) == ["a"]
    assert deadlines.due(25.0) == []


def test_what_is_forgotten_is_never_due() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 10.0)
    deadlines.forget("a")
    assert deadlines.due(99.0) == []


def test_late_in_the_same_second() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 10.9)
    assert deadlines.due(10.2) == []
    assert deadlines.due(11.0) == ["a"]


def test_nothing_is_kept_of_what_is_forgotten() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for step in range(1_000):
        deadlines.set(f"a{step}", 7_200.0 + step)
        deadlines.set(f"a{step}", 7_300.0 + step)
        deadlines.set(f"a{step}", 7_100.0 + step)
        deadlines.forget(f"a{step}")
    assert not (deadlines._due or deadlines._slot or deadlines._slots)


def test_many_at_once() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for number in range(100):
        deadlines.set(number, 10.0 + number / 10.0)
    found = [number for now in range(9, 22) for number in deadlines.due(float(now))]
    assert found == sorted(found, key=lambda number: 10 + number // 10)
    assert sorted(found) == list(range(100))
    assert not (deadlines._due or deadlines._slot or deadlines._slots)
