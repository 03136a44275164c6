"""The port pool."""

from __future__ import annotations

from random import Random

import pytest

from sbc.media.ports import QUARANTINE, PortPool
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
