"""The table of deadlines."""

from sbc.transport.deadlines import Deadlines


def test_what_is_due_is_handed_out_once() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 10.5)
    deadlines.set("b", 20.0)
    assert list(deadlines.due(10.0)) == []
    assert list(deadlines.due(11.0)) == ["a"]
    assert list(deadlines.due(30.0)) == ["b"]
    assert list(deadlines.due(99.0)) == []
    assert len(deadlines) == 0


def test_a_deadline_moves_back_and_forth() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 10.0)
    deadlines.set("a", 20.0)
    assert list(deadlines.due(15.0)) == []
    deadlines.set("a", 17.0)
    assert list(deadlines.due(17.5)) == ["a"]
    assert list(deadlines.due(25.0)) == []


def test_what_is_forgotten_is_never_due() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 10.0)
    deadlines.forget("a")
    assert list(deadlines.due(99.0)) == []


def test_late_in_the_same_second() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 10.9)
    assert list(deadlines.due(10.2)) == []
    assert list(deadlines.due(11.0)) == ["a"]


def test_setting_again_and_again_keeps_one_place() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for step in range(10_000):
        deadlines.set("a", 100.0 + step * 0.001)
        deadlines.forget("a")
    deadlines.set("a", 100.0)
    assert sum(len(slot) for slot in deadlines._slots.values()) <= 11
    assert list(deadlines.due(200.0)) == ["a"]
