"""Which server is tried first, second, last."""

from __future__ import annotations

from collections import Counter

from sbc.sip.uri import Uri
from sbc.upper.order import ordered
from sbc.upper.servers import UpperServer


def server(name, priority=0, weight=1):
    return UpperServer(name, Uri.parse(b"sip:192.0.2.1"), b"example.com", priority, weight, ())


A, B, SPARE = server("a"), server("b"), server("spare", 10)


def names(servers, key=b"alice", down=(), demoted=()):
    found = ordered(servers, key, down=lambda each: each.name in down, demoted=lambda each: each.name in demoted)
    return [each.name for each in found]


def test_priority_first_and_what_is_down_last():
    assert names([SPARE, A]) == ["a", "spare"]
    assert names([SPARE, A], down={"a"}) == ["spare", "a"]
    assert names([SPARE, A], down={"a", "spare"}) == ["a", "spare"], "when all are down the usual order is as good"


def test_what_is_demoted_comes_after_the_others_but_before_what_is_down():
    third = server("third", 20)
    assert names([A, SPARE, third], demoted={"a"}) == ["spare", "third", "a"]
    assert names([A, SPARE, third], demoted={"a"}, down={"spare"}) == ["third", "a", "spare"]


def test_the_same_key_always_draws_the_same_server():
    assert len({tuple(names([A, B], b"alice")) for _ in range(5)}) == 1
    assert {names([A, B], b"user%d" % number)[0] for number in range(20)} == {"a", "b"}


def test_weights_are_shares_of_many_keys():
    big, small, never = server("big", weight=3), server("small", weight=1), server("never", weight=0)
    firsts = Counter(names([never, small, big], b"user%d" % number)[0] for number in range(4000))
    assert firsts["never"] == 0
    assert 2800 < firsts["big"] < 3200
    assert names([never, small])[-1] == "never"


def test_the_shares_of_three_servers_are_no_accident():
    """Pearson's chi-square of 20,000 keys against the weights: beyond 13.8 in one of a thousand worlds."""
    servers = [server("five", weight=5), server("three", weight=3), server("two", weight=2)]
    for kind in (b"user%d@example.com", b"+4930%07d", b"%032x"):
        firsts = Counter(names(servers, kind % number)[0] for number in range(20_000))
        expected = {"five": 10_000, "three": 6_000, "two": 4_000}
        chi_square = sum((firsts[name] - share) ** 2 / share for name, share in expected.items())
        assert chi_square < 13.8, (kind, firsts)
    seconds = Counter(
        names(servers, b"%d" % number)[1] for number in range(9_000) if names(servers, b"%d" % number)[0] == "five"
    )
    assert abs(seconds["three"] / seconds["two"] - 1.5) < 0.15, "what is left is shared by weight too"


def test_when_one_leaves_only_its_own_users_move():
    c = server("c")
    for number in range(200):
        key = b"user%d" % number
        before = names([A, B, c], key)
        after = names([A, B, c], key, down={"b"})
        assert [each for each in before if each != "b"] == after[:2]
