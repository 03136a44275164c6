"""A server proves that it is there, fails, and comes back."""

from __future__ import annotations

from sbc.upper.health import DOUBT, DOWN, UNKNOWN, UP, Health


def test_an_answer_to_options_makes_it_up():
    health = Health(30.0, 1000.0)
    assert (health.state, health.since_at, health.round_trip) == (UNKNOWN, 1000.0, None)
    assert health.due(5.0), "asked at once"
    assert not health.due(5.1)
    assert health.probed(200, 0.02, 1001.0)
    assert (health.state, health.since_at, health.round_trip) == (UP, 1001.0, 0.02)
    assert not health.due(34.9)
    assert health.due(35.0)
    assert not health.probed(404, 0.04, 1030.0), "whoever says 404 works"
    assert 0.02 < health.round_trip < 0.04


def test_one_lost_datagram_moves_nobody():
    health = Health(30.0, 0.0)
    health.due(0.0)
    health.probed(200, 0.02, 0.0)
    health.due(30.0)
    assert not health.silent("no answer to OPTIONS", 34.0)
    assert health.state is UP
    assert not health.due(34.0)
    assert health.due(30.0 + DOUBT), "but it is asked again soon"
    health.probed(200, 0.02, 35.1)
    assert not health.due(60.0), "and all is well again"


def test_two_failures_in_a_row_make_it_down_and_two_good_answers_up():
    health = Health(30.0, 0.0)
    health.due(0.0)
    health.probed(200, 0.02, 0.0)
    assert not health.silent("no answer", 10.0)
    assert health.silent("no answer to INVITE", 12.0)
    assert (health.state, health.reason, health.since_at, health.down) == (DOWN, "no answer to INVITE", 12.0, True)
    assert not health.silent("connection refused", 17.0), "it was down before"
    assert health.reason == "connection refused"

    assert not health.probed(200, 0.02, 22.0), "once may be chance"
    assert not health.silent("no answer", 27.0)
    assert not health.probed(200, 0.02, 32.0)
    assert health.probed(200, 0.02, 37.0)
    assert (health.state, health.reason) == (UP, "")


def test_a_server_that_says_that_it_is_out_of_service():
    health = Health(30.0, 0.0)
    assert not health.probed(503, 0.01, 0.0)
    assert health.probed(503, 0.01, 5.0)
    assert (health.state, health.reason) == (DOWN, "OPTIONS: 503")


def test_a_call_refused_for_lack_of_lines_only_raises_doubt():
    health = Health(30.0, 0.0)
    health.due(0.0)
    health.probed(200, 0.02, 0.0)
    for _ in range(10):
        assert not health.served(503, 8.0)
    assert health.state is UP
    assert health.due(8.0), "OPTIONS decides, now"
    health.probed(200, 0.02, 8.1)
    assert not health.due(20.0)


def test_real_answers_prove_that_it_works():
    health = Health(30.0, 0.0)
    assert health.served(486, 1.0)
    health.silent("no answer", 2.0)
    health.served(180, 3.0)
    assert not health.silent("no answer", 4.0), "not two in a row"
    assert health.silent("no answer", 5.0)
    assert not health.served(200, 6.0), "a late answer is no proof: OPTIONS brings it back"
    assert health.down


def test_without_options_real_answers_alone_count():
    health = Health(0.0, 0.0)
    assert not health.due(100.0)
    health.silent("no answer", 1.0)
    assert health.silent("no answer", 2.0)
    assert health.served(200, 3.0)
    assert health.state is UP


def test_a_server_is_settled_when_nothing_has_spoken_against_it_for_a_while():
    health = Health(30.0, 0.0)
    assert not health.settled(600.0, 5000.0), "nobody knows it"
    health.probed(200, 0.02, 100.0)
    assert not health.settled(600.0, 699.0)
    assert health.settled(600.0, 700.0)
    health.served(503, 710.0)
    assert not health.settled(600.0, 710.0), "which may mean that it is out of service"
    health.probed(200, 0.02, 711.0)
    assert health.settled(600.0, 711.0), "it was out of lines"
    health.silent("no answer", 720.0)
    assert not health.settled(600.0, 720.0)
