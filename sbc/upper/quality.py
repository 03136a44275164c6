"""How well servers serve calls to a destination, over the last minutes: pure.

Health says whether a server is there; quality whether calls through it succeed. For each server and destination prefix
the outcome of calls is counted in a sliding window. A server that does clearly worse than another is demoted for that
prefix: tried after the others. Now and then a call goes to it first all the same, for nothing else would show that it
has become better.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass

BUCKETS = 15
"""Into so many pieces the window is cut; the oldest is forgotten as a whole."""
MAX_RECORDS = 10_000
"""Servers and prefixes counted at once, about 1 kB each; the one unused longest goes first."""
PREFIX = 4
"""Leading digits of a called number that make a destination: country, and most of an area or network."""
SHORTEST = 5
"""Digits of the shortest number that has a destination; extensions are all one."""

ENOUGH = 20
"""Calls in the window before a server is judged."""
FAILING = 0.25
"""Difference of failure ratios that demotes."""
WORSE = 0.5
"""A server whose answer ratio is below this share of the best one's is demoted."""
SLOWER = 5.0
"""Seconds of post-dial delay above the best one's that demote."""
PROBE = 20
"""Every so many calls to a prefix one is routed as if nobody were demoted."""

ANSWERED, REFUSED, FAILED = "answered", "refused", "failed"


def outcome(status: int) -> str:
    """What a final status says: `failed` is the server's fault, `refused` may be anybody's."""
    if status < 300:
        return ANSWERED
    return FAILED if status == 408 or 500 <= status < 600 else REFUSED


def destination(called: str) -> str:
    """The prefix of a called number; empty for names and extensions."""
    digits = called.removeprefix("+").removeprefix("00")
    return digits[:PREFIX] if len(digits) >= SHORTEST and digits.isdigit() else ""


@dataclass(slots=True)
class _Bucket:
    began: float
    calls: int = 0
    answered: int = 0
    failed: int = 0
    rang: int = 0
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted in the window: `answer_ratio` and `failure_ratio` of `calls`, mean post-dial `delay` in seconds
    (None: nothing rang)."""

    calls: int
    answer_ratio: float
    failure_ratio: float
    delay: float | None


NOTHING = Figures(0, 0.0, 0.0, None)


class Quality:
    """Figures of all servers. `window` is in seconds."""

    def __init__(self, window: float = 900.0) -> None:
        self.window = window
        self._records: OrderedDict[tuple[str, str], deque[_Bucket]] = OrderedDict()
        self._routed: OrderedDict[str, int] = OrderedDict()

    def ended(self, server: str, prefix: str, what: str, delay: float | None, now: float) -> None:
        """A call through this server was answered, refused or failed; `delay`: seconds until it rang."""
        bucket = self._bucket((server, prefix), now)
        bucket.calls += 1
        bucket.answered += what is ANSWERED
        bucket.failed += what is FAILED
        if delay is not None:
            bucket.rang += 1
            bucket.delay += delay

    def figures(self, server: str, prefix: str, now: float) -> Figures:
        """What was counted of late."""
        buckets = [one for one in self._records.get((server, prefix), ()) if one.began > now - self.window]
        calls = sum(one.calls for one in buckets)
        if not calls:
            return NOTHING
        rang = sum(one.rang for one in buckets)
        return Figures(
            calls,
            sum(one.answered for one in buckets) / calls,
            sum(one.failed for one in buckets) / calls,
            sum(one.delay for one in buckets) / rang if rang else None,
        )

    def demoted(self, servers: Iterable[str], prefix: str, now: float) -> dict[str, str]:
        """Which of these servers do worse than another of them, and how."""
        figures = {server: self.figures(server, prefix, now) for server in servers}
        judged = {server: seen for server, seen in figures.items() if seen.calls >= ENOUGH}
        if len(figures) < 2 or not judged:
            return {}
        return {server: why for server, seen in judged.items() if (why := _why(server, seen, figures))}

    def probes(self, prefix: str) -> bool:
        """Whether the next call to this prefix tries the usual order; counts it."""
        count = self._routed[prefix] = self._routed.get(prefix, 0) + 1
        self._routed.move_to_end(prefix)
        while len(self._routed) > MAX_RECORDS:
            self._routed.popitem(last=False)
        return count % PROBE == 0

    def _bucket(self, key: tuple[str, str], now: float) -> _Bucket:
        record = self._records.get(key)
        if record is None:
            while len(self._records) >= MAX_RECORDS:
                self._records.popitem(last=False)
            record = self._records[key] = deque(maxlen=BUCKETS)
        self._records.move_to_end(key)
        if not record or now - record[-1].began >= self.window / BUCKETS:
            record.append(_Bucket(now))
        return record[-1]


def _why(server: str, seen: Figures, figures: dict[str, Figures]) -> str:
    """Why a server is demoted, or nothing. One without figures of its own is taken to be as good as any: but only
    failures send calls to it, for an answer ratio can be low everywhere."""
    others = [other for name, other in figures.items() if name != server]
    known = [other for other in others if other.calls >= ENOUGH]
    least_failing = 0.0 if len(known) < len(others) else min(other.failure_ratio for other in known)
    if seen.failure_ratio - least_failing >= FAILING:
        return f"{seen.failure_ratio:.0%} of {seen.calls} calls failed"
    best = max((other.answer_ratio for other in known), default=0.0)
    if seen.answer_ratio < WORSE * best:
        return f"{seen.answer_ratio:.0%} of {seen.calls} calls answered, elsewhere {best:.0%}"
    delays = [other.delay for other in known if other.delay is not None]
    if seen.delay is not None and delays and seen.delay - min(delays) >= SLOWER:
        return f"{seen.delay:.1f} s until it rings, elsewhere {min(delays):.1f} s"
    return ""
