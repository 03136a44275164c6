"""Servers that take calls and do badly with them."""

from __future__ import annotations

from sbc.upper import quality
from sbc.upper.quality import ANSWERED, ENOUGH, FAILED, PROBE, REFUSED, Quality, destination, outcome


def run(found, server, what, count, *, delay=1.0, now=100.0, prefix="4930"):
    for _ in range(count):
        found.ended(server, prefix, what, delay, now)


def test_what_statuses_say():
    assert [outcome(status) for status in (200, 404, 486, 487, 408, 503, 603)] == [
        ANSWERED, REFUSED, REFUSED, REFUSED, FAILED, FAILED, REFUSED,
    ]  # fmt: skip


def test_destinations():
    assert destination("+4930123456") == destination("004930123456") == "4930"
    assert destination("bob") == destination("4711") == ""


def test_a_server_whose_calls_fail_is_demoted_for_that_destination_alone():
    found = Quality()
    run(found, "a", FAILED, ENOUGH // 2)
    run(found, "a", ANSWERED, ENOUGH // 2)
    assert list(found.demoted(["a", "b"], "4930", 101.0)) == ["a"], "of the other nothing bad is known"
    assert found.demoted(["a", "b"], "4989", 101.0) == {}
    assert found.demoted(["a"], "4930", 101.0) == {}, "there is no other"


def test_a_few_calls_say_nothing():
    found = Quality()
    run(found, "a", FAILED, ENOUGH - 1)
    assert found.demoted(["a", "b"], "4930", 101.0) == {}


def test_when_all_fail_nobody_is_better():
    found = Quality()
    run(found, "a", FAILED, ENOUGH)
    run(found, "b", FAILED, ENOUGH)
    assert found.demoted(["a", "b"], "4930", 101.0) == {}


def test_answer_ratio_and_delay_are_compared_with_servers_that_are_known():
    found = Quality()
    run(found, "a", ANSWERED, 6)
    run(found, "a", REFUSED, 24)
    assert found.demoted(["a", "b"], "4930", 101.0) == {}, "perhaps nobody there answers"
    run(found, "b", ANSWERED, 18)
    run(found, "b", REFUSED, 12)
    assert found.demoted(["a", "b"], "4930", 101.0) == {"a": "20% of 30 calls answered, elsewhere 60%"}

    found = Quality()
    run(found, "a", ANSWERED, ENOUGH, delay=8.0)
    run(found, "b", ANSWERED, ENOUGH, delay=1.5)
    assert found.demoted(["a", "b"], "4930", 101.0) == {"a": "8.0 s until it rings, elsewhere 1.5 s"}


def test_the_past_is_forgotten():
    found = Quality(900.0)
    run(found, "a", FAILED, ENOUGH)
    assert found.demoted(["a", "b"], "4930", 900.0)
    assert found.demoted(["a", "b"], "4930", 1100.0) == {}
    assert found.figures("a", "4930", 1100.0).calls == 0


def test_the_window_slides():
    found = Quality(900.0)
    for minute in range(60):
        run(found, "a", ANSWERED, 1, now=minute * 60.0)
    assert 14 <= found.figures("a", "4930", 3600.0).calls <= 15


def test_now_and_then_a_call_finds_out():
    found = Quality()
    assert [found.probes("4930") for _ in range(2 * PROBE)].count(True) == 2


def test_what_is_counted_is_bounded(monkeypatch):
    monkeypatch.setattr(quality, "MAX_RECORDS", 5)
    found = Quality()
    for number in range(20):
        run(found, "a", ANSWERED, 1, prefix=str(number))
        found.probes(str(number))
    assert len(found._records) == len(found._routed) == 5
    assert found.figures("a", "19", 101.0).calls == 1
