"""How busy a node says it is."""

from __future__ import annotations

import pytest

from sbc.observe.load import EXTREME, LOW, WORDS, level


@pytest.mark.parametrize(
    ("lag", "shares", "expected"),
    [
        (0.0, (), 0),
        (0.01, (0.1, 0.2), 0),
        (0.06, (0.0,), 1),
        (0.0, (0.0, 0.5), 2),
        (0.6, (0.3,), 3),
        (0.0, (0.96,), 4),
        (9.0, (0.0,), 4),
    ],
)
def test_the_worst_counts(lag: float, shares: tuple[float, ...], expected: int) -> None:
    assert level(lag, *shares) == expected
    assert LOW <= level(lag, *shares) <= EXTREME
    assert WORDS[level(lag, *shares)]
