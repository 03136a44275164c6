"""Bans: how offences of a source add up, how long it stays out, what forged packets cannot do. Pure.

Times are UTC seconds, since bans are stored and outlive the process.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from sbc.security.generations import Generations
from sbc.transport.address import source_of
from sbc.transport.limits import BAD_HANDSHAKE, BROKEN_FRAMING, NOT_READING, NOT_SIP, OVERSIZED, SILENT, SLOW

WATCHED_SOURCES = 50_000
"""Sources whose offences are remembered (about 10 MB), per generation."""
BANNED_SOURCES = 100_000
"""Bans held at once (about 30 MB); above it the ban that ends first makes room."""
VOUCHED_SOURCES = 100_000
"""Sources of authenticated flows remembered, per generation."""

OFFENCES = {
    "scanner": 10.0,  # a User-Agent or request of a known scanning tool
    "wrong-credentials": 2.0,  # a digest answer that does not verify; a mistyped password costs an honest user some
    "unknown-user": 2.0,  # a name that nobody has; told apart from wrong credentials only in here
    "forbidden": 2.0,  # a request to relay to a foreign domain
    "flood": 1.0,  # a request beyond the rate limit, counted once a second
    "malformed": 0.5,  # SIP that does not parse; broken phones send it too
    NOT_SIP: 1.0,
    OVERSIZED: 1.0,
    BROKEN_FRAMING: 1.0,
    BAD_HANDSHAKE: 1.0,  # web crawlers and expired certificates alike
    SLOW: 1.0,
    SILENT: 0.2,  # a phone that lost its network looks the same
    NOT_READING: 0.2,
}
"""What each offence adds to the score of its source."""

GUESSES = frozenset(("wrong-credentials", "unknown-user"))
"""Offences that an honest user's mistyped password shows too: behind a NAT with authenticated phones nobody is shut out
for them."""


@dataclass(frozen=True, slots=True)
class Ban:
    """One source shut out. `source` is an IPv4 address or an IPv6 /64; `by` is `auto` or the name of an operator."""

    source: str
    reason: str
    since_at: float
    until_at: float
    by: str = "auto"
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BanPolicy:
    """How much is too much. Times in seconds."""

    score: float = 10.0
    """A source is banned when its score reaches this."""
    window: float = 60.0
    """A full score is forgotten in this time, evenly."""
    duration: float = 600.0
    """The first ban of a source; each further one is twice as long."""
    longest: float = 86_400.0
    unproven: float = 60.0
    """Longest ban on evidence that could be forged: a datagram shows who is said to have sent it, not who did."""
    memory: float = 86_400.0
    """How long a former ban makes the next one longer."""


class Recorder(Protocol):
    """Who keeps bans beyond this process."""

    def banned(self, ban: Ban) -> None:
        """A new or longer ban."""

    def lifted(self, source: str) -> None:
        """The ban of this source is gone before its time."""


class _Suspect:
    """What is held against one source."""

    __slots__ = ("at", "banned_until_at", "score", "times")

    def __init__(self, at: float) -> None:
        self.at = at
        self.score = 0.0
        self.times = 0
        self.banned_until_at = 0.0


class BanTable:
    """Scores and bans of all sources."""

    def __init__(self, policy: BanPolicy, recorder: Recorder) -> None:
        self.policy = policy
        self._recorder = recorder
        self._bans: dict[str, Ban] = {}
        self._suspects: Generations[str, _Suspect] = Generations(WATCHED_SOURCES)
        self._vouched: Generations[str, float] = Generations(VOUCHED_SOURCES)

    def __len__(self) -> int:
        return len(self._bans)

    def banned(self, host: str) -> bool:
        """Whether this address is shut out. Bans end by `expire`, so that this is one look-up per datagram."""
        return bool(self._bans) and source_of(host) in self._bans

    def offence(self, host: str, kind: str, at: float, *, proven: bool) -> Ban | None:
        """An address did what it should not; the ban if that was once too often.

        `proven`: the address is known to be the sender's own (a stream, or a correct answer to our challenge). What is
        not proven never bans a source with a live authenticated flow, nor anybody for longer than `policy.unproven`.
        Guesses do not ban such a source either.
        Raises KeyError for a kind that is not in OFFENCES.
        """
        source = source_of(host)
        weight = OFFENCES[kind]
        if (not proven or kind in GUESSES) and (self._vouched.get(source) or 0.0) > at:
            return None
        suspect = self._suspects.get(source)
        if suspect is None:
            suspect = _Suspect(at)
            self._suspects.put(source, suspect)
        policy = self.policy
        faded = (at - suspect.at) * policy.score / policy.window
        suspect.score = max(suspect.score - max(faded, 0.0), 0.0) + weight
        suspect.at = at
        if suspect.score < policy.score:
            return None
        suspect.score = 0.0
        if not proven:
            return self._shut(source, kind, at, policy.unproven, "auto", 1)
        if at - suspect.banned_until_at > policy.memory:
            suspect.times = 0
        seconds = min(policy.duration * 2.0 ** min(suspect.times, 30), policy.longest)
        suspect.times += 1
        suspect.banned_until_at = at + seconds
        return self._shut(source, kind, at, seconds, "auto", suspect.times)

    def vouch(self, host: str, until_at: float) -> None:
        """Somebody behind this address is authenticated and reachable until then."""
        source = source_of(host)
        self._vouched.put(source, max(until_at, self._vouched.get(source) or 0.0))

    def vouched(self, host: str) -> bool:
        """Whether somebody behind this address was authenticated not long ago."""
        return self._vouched.get(source_of(host)) is not None

    def ban(self, host: str, reason: str, at: float, seconds: float, by: str) -> Ban:
        """An operator shuts an address out; the length is not bounded by the policy."""
        return self._shut(source_of(host), reason, at, seconds, by, 1)

    def lift(self, host: str) -> bool:
        """End a ban and forget what led to it; False when there was none. Takes an address or a listed source."""
        source = host if host in self._bans else source_of(host)
        self._suspects.pop(source)
        if self._bans.pop(source, None) is None:
            return False
        self._recorder.lifted(source)
        return True

    def expire(self, at: float) -> list[str]:
        """End the bans whose time is over; call it about once a second. The sources let in again."""
        over = [source for source, ban in self._bans.items() if ban.until_at <= at]
        for source in over:
            del self._bans[source]
        return over

    def restore(self, bans: Iterable[Ban], at: float) -> None:
        """Take over stored bans (start, or another node's); nothing is recorded."""
        for ban in bans:
            held = self._bans.get(ban.source)
            if ban.until_at > at and (held is None or held.until_at < ban.until_at):
                self._put(ban)

    def each(self) -> list[Ban]:
        """All bans, the latest first."""
        return sorted(self._bans.values(), key=lambda ban: ban.since_at, reverse=True)

    def _shut(self, source: str, reason: str, at: float, seconds: float, by: str, times: int) -> Ban:
        held = self._bans.get(source)
        if held is not None and held.until_at >= at + seconds:
            return held
        ban = Ban(source, reason, at, at + seconds, by, times)
        self._put(ban)
        self._recorder.banned(ban)
        return ban

    def _put(self, ban: Ban) -> None:
        if ban.source not in self._bans and len(self._bans) >= BANNED_SOURCES:
            del self._bans[min(self._bans, key=lambda source: self._bans[source].until_at)]
        self._bans[ban.source] = ban
