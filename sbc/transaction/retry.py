"""The times transactions work with: seconds everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(slots=True, frozen=True, kw_only=True)
class Timers:
    """The timers of RFC 3261 table 4. `timeout` is 64·T1: timers B, F, H, J, L and M."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    c: float = 180.0
    d: float = 32.0
    timeout: float = 32.0
    #: A server transaction whose user is silent for so long is dropped: longer than any wait for a phone, and than the
    #: minute after which a proxy repeats its provisional answer. Keeps a mistake of ours from filling the table.
    silence: float = 600.0


RFC_TIMERS: Final = Timers()


@dataclass(slots=True, frozen=True, kw_only=True)
class Retry:
    """How a request on an unreliable hop is repeated and when it is given up.

    The first repetition comes after `interval`, each pause is `factor` times the one before, up to `cap`; after
    `max_sends` sends (the first one counts; 0: no limit) it only waits. `give_up` runs from the start to the end of
    patience for any answer, on reliable hops too. None means what the RFC says: T1, no cap for INVITE and T2 for
    others, 64·T1.
    """

    interval: float | None = None
    factor: float = 2.0
    cap: float | None = None
    max_sends: int = 0
    give_up: float | None = None


RFC_RETRY: Final = Retry()
