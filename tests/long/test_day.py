"""A day in the life of ten thousand registrations: a clock, the real store, ledger and refresher, two small servers."""

from __future__ import annotations

import time

import pytest

from sbc.registrar.asking import PAUSES
from sbc.upper import refresher
from tests.long.day_world import HOUR, RATE, STEP, USERS, World

CPU = 90.0
"""Seconds of this thread that the whole day may take: four times what it takes on a machine with nothing else to do,
and far below what a look at every registration in every step would take."""


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(refresher, "POLL", STEP)
    made = World(tmp_path)
    yield made
    made.books.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_day(world):
    began = time.thread_time()
    world.populate()
    night(world)
    both_servers_away(world)
    one_server_away(world)
    accounts_change(world)
    restarted(world)
    tokens_move(world)
    longer_registrations(world)
    evening(world)
    used = time.thread_time() - began
    assert used < CPU, f"{used:.1f} s of CPU"


def night(world):
    world.run(3)
    assert world.lapsed == []
    assert set(world.pushed) <= world.secretive, "nobody is woken whom the SBC can refresh"
    assert set(world.states()) <= {"registered", "needs_wake"}


def both_servers_away(world):
    """For twenty minutes: what falls due backs off, and nobody else notices."""
    world.dead.update("ab")
    world.run(1 / 3)
    assert 200 < world.states()["failing"] < 1000
    world.dead.clear()
    world.run(2 / 3)
    assert "failing" not in world.states(), "back for everybody"


def one_server_away(world):
    """Its registrations move to the other one, and back, at no more than the rate that is set."""
    world.dead.add("a")
    world.move("a")
    world.run(1 / 4)
    assert world.count("state = 'registered' and upper = 'a'") == 0
    assert world.count("state = 'registered' and upper = 'b'") > 0.97 * USERS
    world.dead.clear()
    world.move("b")
    world.run(1 / 4)
    assert world.count("state = 'registered' and upper = 'b'") == 0


def accounts_change(world):
    """Some are deleted; others have a new password, which the app tells when it comes the next time."""
    for user in world.closed:
        del world.passwords[user]
    for user in world.changed:
        world.passwords[user] = "new"
    world.run(8.5)
    rejected = world.users_in("rejected")
    assert set(world.closed) <= rejected <= set(world.closed) | set(world.changed)
    assert not any(world.subscriber(user).targets for user in world.closed), "and their devices are gone"
    assert not any(world.subscriber(user).user.ha1 for user in rejected), "no wrong password is tried twice"
    for user in world.changed:
        world.wake(user)
    world.run(0.25)
    assert world.users_in("rejected") == set(world.closed)


def restarted(world):
    """The SBC is away for five minutes at lunch."""
    world.run(1 / 12, restarting=True)
    world.start_sbc()
    world.run(0.25)
    assert world.count("next_at < ?", world.now_at - 2 * STEP) == 0, "what fell due meanwhile has been refreshed"


def tokens_move(world):
    changing = [user for user in world.passwords if user.endswith("7") and user not in world.absent][:300]
    for user in changing:
        world.wake(user, token=f"new-{user}")
    world.wake("u2", token=world.tokens["u1"])
    world.run(0.25)
    prids = [[token.prid for target in world.subscriber(user).targets for token in target.tokens] for user in changing]
    assert prids == [[f"new-{user}"] for user in changing]
    assert [target.tokens for target in world.subscriber("u1").targets] == [()], "a token has one user"


def longer_registrations(world):
    """In the afternoon the server wants them (423), and gets them."""
    world.least = 36_000
    before = world.answers[423]
    world.run(2)
    assert world.answers[423] - before > 500
    assert set(world.states()) <= {"registered", "needs_wake", "rejected", "ended"}


def evening(world):
    """Who has not been seen for thirty days is refreshed no more, and then removed."""
    world.run(24 - world.time.now / HOUR)
    assert set(world.absent) <= world.users_in("ended")
    world.remove_gone()
    assert not any(world.subscriber(user) for user in world.absent)
    living = set(world.passwords) - set(world.absent) - world.silent - world.secretive
    assert world.users_in("registered") >= living
    assert {user for user in living if world.bound[user] < world.now_at} == set(), "the upper server thinks so too"
    assert max(world.accepted.values()) <= RATE * 1.1, "never faster than set"
    assert max(world.pushed.values()) <= 2 * (1 + len(PAUSES)), "nobody is pushed for ever"
    assert {user for when, user in world.lapsed if when < 3 * HOUR} == set()
    assert world.refresher.running == 0
