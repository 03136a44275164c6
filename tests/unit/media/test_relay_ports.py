"""The port pool."""

from __future__ import annotations

import resource
from random import Random

import pytest

from sbc.media.ports import QUARANTINE, PortPool
from sbc.media.sockets import OTHER_FILES, allow_files
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
