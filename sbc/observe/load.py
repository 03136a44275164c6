"""How busy a node is, as one number that balancers and settings go by. Pure."""

from __future__ import annotations

from typing import Final

LOW, MEDIUM, BUSY, HIGH, EXTREME = range(5)

WORDS: Final = ("low", "medium", "busy", "high", "extreme")
"""The levels in words; extreme: treat the node as down."""

LAG: Final = (0.05, 0.2, 0.5, 2.0)
"""Seconds that the event loop is late, time after time, from which a level begins: at 0.5 s SIP repeats its requests
(T1)."""

SHARE: Final = (0.25, 0.5, 0.75, 0.95)
"""Fill of a bounded table or queue from which a level begins: at 1 it refuses."""


def level(lag: float, *shares: float) -> int:
    """0 (low) to 4 (extreme): the worst of the loop's lag in seconds and of how full tables and queues are (0 to 1)."""
    return max(_place(lag, LAG), *(_place(share, SHARE) for share in shares), LOW)


def _place(value: float, steps: tuple[float, ...]) -> int:
    return sum(value >= step for step in steps)
