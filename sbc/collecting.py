"""When the cyclic garbage collector looks at what, so that it never holds up a call: what is new little by little, what
is older in quiet moments.

What calls leave behind forms no cycles, so the collector frees next to nothing; but it looks at every object that is
there, and those of a transaction stay for 32 seconds.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

THREAD_TURN = 0.001
"""Seconds that a thread which wants to go on lets another one run, where Python's own are five times as many. A look-up
goes on some five times, since SQLite runs beside the interpreter: behind a busy reactor that was 25 ms of a wake."""

NEW = 1_000
"""Objects more than before after which the new ones are looked at: 1 to 3 ms. With 50,000 it was up to 80 ms, every few
seconds; the sum of it is the same, for each object is looked at once."""

NEVER = 2**31 - 1
"""Looks at the new objects after which the older ones are looked at too: none."""

LOOK = 10.0
"""Seconds between two looks for a quiet moment."""

PAUSE = 60.0
"""Seconds at least from one quiet moment that was used to the next."""

QUIET = 1_000
"""Transactions alive up to which a moment is quiet, some eight calls a second: their objects take 20 ms."""

LATEST = 900.0
"""Seconds after which the older objects are looked at however busy the node is: connections leave cycles."""


class Collecting:
    """Looks at the older objects in quiet moments. `transactions`: how many there are; `clock`: monotonic seconds."""

    def __init__(
        self,
        transactions: Callable[[], int],
        clock: Callable[[], float],
        collect: Callable[[], object] = gc.collect,
    ) -> None:
        self._transactions = transactions
        self._clock = clock
        self._collect = collect
        self._at = clock()

    def look(self) -> None:
        """Use the moment if it is quiet, or if there was none for long; call it every `LOOK` seconds."""
        waited = self._clock() - self._at
        if waited >= LATEST or (waited >= PAUSE and self._transactions() <= QUIET):
            self._collect()
            self._at = self._clock()


def settle() -> None:
    """All is built: nothing of it is ever looked at again; from here on as this module says."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW, NEVER, NEVER)
    sys.setswitchinterval(THREAD_TURN)
