"""Devices that do not come when they are called."""

from __future__ import annotations

from sbc.proxy import absence
from sbc.proxy.absence import Absences


def test_so_many_calls_in_a_row():
    absent = Absences()
    assert [absent.missed(1, "phone", 3) for _ in range(4)] == [False, False, True, False]
    assert absent.missed(1, "tablet", 1), "once may be enough"


def test_who_comes_in_between_starts_anew():
    absent = Absences()
    absent.missed(1, "phone", 3)
    absent.missed(1, "phone", 3)
    absent.came(1, "phone")
    assert not absent.missed(1, "phone", 3)
    absent.came(2, "phone")


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(absence, "MAX_ABSENT", 2)
    absent = Absences()
    for number in range(5):
        absent.missed(number, "phone", 3)
    assert len(absent) == 2
