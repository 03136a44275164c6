"""How often: token buckets, one per key. Pure."""

from sbc.security.generations import Generations

KEYS = 50_000
"""Keys whose buckets are remembered (about 10 MB), per generation; a forgotten bucket is a full one."""


class _Bucket:
    __slots__ = ("at", "left")

    def __init__(self, left: float, at: float) -> None:
        self.left = left
        self.at = at


class Rates:
    """`rate` per second in the long run, `burst` at once. A rate of 0 allows everything."""

    __slots__ = ("_buckets", "_burst", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._buckets: Generations[str, _Bucket] = Generations(KEYS)

    def take(self, key: str, now: float, cost: float = 1.0) -> bool:
        """Whether one more of that key is allowed at `now` (seconds, any clock that does not go back)."""
        if self._rate <= 0.0:
            return True
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(self._burst, now)
            self._buckets.put(key, bucket)
        left = min(bucket.left + (now - bucket.at) * self._rate, self._burst)
        bucket.at = now
        allowed = left >= cost
        bucket.left = left - cost if allowed else left
        return allowed
