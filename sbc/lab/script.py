"""How an emulated service is told to misbehave: per key (a device token, a SIP method) a queue of what to do next.

In: `Script.plan(key, *steps)`. Out: `Script.next(key)`, the step for the request at hand or None for the honest one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

ANY = "*"  # the key of steps for requests that have no plan of their own
MAX_STEPS = 10_000  # steps queued for one key; more is a mistake in a test

Step = TypeVar("Step")


class Script(Generic[Step]):
    """Queues of steps. Each step is taken once; `always` ones stay until replaced."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Step]] = {}
        self._standing: dict[str, Step] = {}

    def plan(self, key: str, *steps: Step) -> None:
        """The next requests for `key` (or `ANY`) meet `steps`, one each, then honesty again. Plans add up."""
        queue = self._queues.setdefault(key, deque())
        if len(queue) + len(steps) > MAX_STEPS:
            raise ValueError(f"more than {MAX_STEPS} steps planned for {key!r}")
        queue.extend(steps)

    def always(self, key: str, step: Step | None) -> None:
        """Every request for `key` (or `ANY`) meets `step` once its queue is empty; None ends it."""
        if step is None:
            self._standing.pop(key, None)
        else:
            self._standing[key] = step

    def next(self, key: str) -> Step | None:
        """What to do with this request: the key's own queue, then its standing step, then those of `ANY`."""
        for name in (key, ANY):
            queue = self._queues.get(name)
            if queue:
                return queue.popleft()
            if name in self._standing:
                return self._standing[name]
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an emulated push service does with one request.

    `status` 0 keeps the honest answer (only delayed). `delay` is seconds before anything is sent. `act` is a word:
    ``answer``, ``silence`` (never an answer), ``close`` (the connection is cut instead), ``goaway`` (HTTP/2: GOAWAY
    that leaves this request unprocessed), ``answer+goaway`` (answered, then GOAWAY), ``refuse`` (HTTP/2:
    REFUSED_STREAM).
    `retry_after` (s) goes into the header of that name; `timestamp_at` (UTC epoch s) into APNs's 410.
    """

    status: int = 0
    reason: str = ""
    delay: float = 0.0
    act: str = "answer"
    retry_after: int | None = None
    timestamp_at: float | None = None
