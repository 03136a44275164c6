"""How long a device takes to wake, learned from how long it took, and what follows from that.  [pure]

The last wakes of a device stand in ``push_tokens.wakes``, five digits of milliseconds each, oldest first.
"""

from __future__ import annotations

from dataclasses import dataclass

DIGITS = 5
KEPT = 16
"""Wakes remembered for each device: enough for a 95th percentile to mean something, and new habits soon count."""

LONGEST = 99_999
"""Milliseconds; no request waits longer, so no wake takes longer."""

ENOUGH = 4
"""Wakes from which a device's own habit counts; before that, ``USUAL``."""

USUAL = 6.0
"""Seconds after which a device nobody knows is late: most take about two, and only then a second push is worth it."""

EARLIEST = 3.0
"""Seconds before which no device is late: a push takes its way, and two within a moment are one for the user."""

MARGIN = 1.5
"""Times the 95th percentile: one in twenty is later than that without anything being wrong."""

LEFT = 2.0
"""Seconds of the wait that must be left: a phone that wakes later than the caller's patience rings for nobody."""


@dataclass(frozen=True, slots=True)
class Habit:
    """Seconds from push to REGISTER: the middle one and the 95th percentile of ``count`` wakes."""

    median: float
    late: float
    count: int


def habit(wakes: str) -> Habit | None:
    """What the column says; ``None`` without any wake."""
    times = sorted(
        int(wakes[at : at + DIGITS]) / 1000
        for at in range(0, len(wakes), DIGITS)
        if wakes[at : at + DIGITS].isdigit() and len(wakes) - at >= DIGITS
    )
    if not times:
        return None
    return Habit(quantile(times, 0.5), quantile(times, 0.95), len(times))


def quantile(ordered: list[float], share: float) -> float:
    """The value below which *share* of the *ordered* values lie, between two of them by interpolation."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def entry(seconds: float) -> str:
    """A wake as it is written into the column."""
    return f"{min(max(int(seconds * 1000), 0), LONGEST):0{DIGITS}d}"


def push_again(known: Habit | None, wait: float) -> float | None:
    """Seconds after the first push at which a device that has not come is pushed once more; ``None``: not at all.

    *wait*: seconds that its request waits in all. A device that would come too late all the same is left alone.
    """
    if known is None or known.count < ENOUGH:
        after, takes = USUAL, LEFT
    else:
        after, takes = max(EARLIEST, MARGIN * known.late), max(LEFT, known.median)
    return after if after + takes <= wait else None
