"""The port pool."""

from __future__ import annotations

import resource
from random import Random

import pytest

from sbc.media.ports import QUARANTINE, PortPool
from sbc.media.settings import MediaSettings
from sbc.media.share import Share, pairs
from sbc.media.sockets import OTHER_FILES, allow_files
from sbc.settings import Ports
from sbc.sip.errors import RemoteError


def test_pairs_are_even_and_within_the_range() -> None:
    assert PortPool(20000, 20009, Random(1)).size == 5
    pool = PortPool(20001, 20007, Random(1))
    assert {pool.take(0.0) for _ in range(pool.size)} == {20002, 20004, 20006}
    assert PortPool(20001, 20002, Random(1)).size == 0


def test_the_order_is_random() -> None:
    orders = set()
    for seed in range(5):
        pool = PortPool(20000, 20099, Random(seed))
        orders.add(tuple(pool.take(0.0) for _ in range(10)))
    assert len(orders) == 5


def test_exhaustion_is_answered_and_ports_rest_before_they_are_lent_again() -> None:
    pool = PortPool(20000, 20003, Random(1))
    first, second = pool.take(0.0), pool.take(0.0)
    with pytest.raises(RemoteError) as refused:
        pool.take(0.0)
    assert refused.value.status == 503

    pool.give(first, 10.0)
    with pytest.raises(RemoteError):
        pool.take(10.0 + QUARANTINE - 0.1)
    assert pool.take(10.0 + QUARANTINE) == first
    pool.give(second, 50.0)
    assert len(pool) == 0


def test_the_limit_of_open_files_is_raised_never_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1024, 10_000]

    def setrlimit(which: int, wanted: tuple[int, int]) -> None:
        limits[:] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda which: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert allow_files(1000)
    assert limits == [1000 + OTHER_FILES, 10_000]
    assert allow_files(10)
    assert limits == [1000 + OTHER_FILES, 10_000]
    assert not allow_files(20_000)
    assert limits == [10_000, 10_000]


def test_a_port_is_claimed_once() -> None:
    pool = PortPool(20000, 20003, Random(1))
    pool.claim(20002)
    with pytest.raises(RemoteError):
        pool.claim(20002)
    with pytest.raises(RemoteError):
        pool.claim(20001)
    assert pool.take(0.0) == 20000


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_workers_lend_parts_that_make_the_whole(of: int) -> None:
    whole = pairs(20001, 20044)
    parts = [Share(number, of).part(whole) for number in range(of)]
    assert [port for part in parts for port in part] == list(whole)
    assert all(Share(0, of).owner(whole, port) == number for number, part in enumerate(parts) for port in part)


def test_a_leg_that_comes_from_another_worker_brings_its_ports() -> None:
    pool = PortPool(20000, 20015, Random(1), Share(1, 2))
    pool.claim(20002)
    for _ in range(2):
        with pytest.raises(RemoteError):
            pool.claim(20002)
    pool.give(20002, 0.0)
    assert {pool.take(QUARANTINE) for _ in range(4)} == {20008, 20010, 20012, 20014}, "it is not ours to lend"
    with pytest.raises(RemoteError):
        pool.take(QUARANTINE)
    pool.claim(20002)
    pool.give(20014, QUARANTINE)
    pool.claim(20014)  # it comes back before its rest is over


def test_a_range_has_room_for_every_worker() -> None:
    assert not list(MediaSettings(ports=Ports(20000, 20007), workers=2).problems())
    [(name, _)] = MediaSettings(ports=Ports(20000, 20007), workers=3).problems()
    assert name == "ports"
