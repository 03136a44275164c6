"""Whether one upper server is fit to be used: pure.

Told of every OPTIONS that we sent it and of the outcome of real requests, a `Health` says `up`, `down` or `unknown`
and when the next OPTIONS is due. It takes two signs in a row to change its mind, so that one lost datagram moves
nobody and a server that flaps does not drag its users to and fro.
"""

from __future__ import annotations

UP, DOWN, UNKNOWN = "up", "down", "unknown"

FAILURES = 2
"""Signs of trouble in a row after which a server is down."""
RECOVERIES = 2
"""Good answers to OPTIONS in a row after which a server that was down is up again."""
DOUBT = 5.0
"""Seconds between two OPTIONS to a server in doubt or down; a shorter interval for all counts here too."""
SMOOTHING = 0.25
"""Share of the newest measurement in the round trip that is shown."""

SICK: dict[int, str] = {
    500: "its own answer to OPTIONS is an internal error: whatever serves calls is broken",
    502: "a proxy in front says that the server is not there",
    503: "it says itself that it is overloaded or out of service",
    504: "a proxy in front waits for it in vain",
}
"""Answers to OPTIONS that speak against a server. Any other one (404, 405, 501 …) comes from a server that works."""

DOUBTFUL: dict[int, str] = {
    408: "a proxy in front may wait for it in vain",
    500: "perhaps one request's fault, perhaps not",
    502: "a proxy in front may not find it",
    503: "out of service, or out of lines for this one call: PBXs say it for both",
    504: "a proxy in front may wait for it in vain",
}
"""Answers to real requests after which OPTIONS has to decide. All others prove that the server works."""


class Health:
    """What is known of one server. Times named `now` are monotonic, `now_at` UTC epoch seconds."""

    __slots__ = ("_asked", "_bad", "_doubt", "_good", "interval", "reason", "round_trip", "since_at", "state")

    def __init__(self, interval: float, now_at: float) -> None:
        self.interval = interval
        """Seconds between two OPTIONS while all is well; 0: none are sent."""
        self.state = UNKNOWN
        self.reason = ""
        self.since_at = now_at
        self.round_trip: float | None = None
        self._bad = 0
        self._good = 0
        self._doubt = False
        self._asked: float | None = None

    @property
    def down(self) -> bool:
        """Whether the server is to be used only when there is no other."""
        return self.state is DOWN

    def settled(self, seconds: float, now_at: float) -> bool:
        """Whether the server is up, has been so for this long, and nothing speaks against it."""
        return self.state is UP and not self._bad and not self._doubt and now_at - self.since_at >= seconds

    def due(self, now: float) -> bool:
        """Whether an OPTIONS is to be sent now; it then counts as sent."""
        if not self.interval:
            return False
        doubtful = self._doubt or self._bad or self.state is DOWN
        pause = min(self.interval, DOUBT) if doubtful else self.interval
        if self._asked is not None and now < self._asked + pause:
            return False
        self._asked = now
        return True

    def probed(self, status: int, seconds: float, now_at: float) -> bool:
        """An OPTIONS was answered after so many seconds. Gives whether the state has changed."""
        if status in SICK:
            return self.silent(f"OPTIONS: {status}", now_at)
        known = self.round_trip
        self.round_trip = seconds if known is None else known + SMOOTHING * (seconds - known)
        self._bad = 0
        self._doubt = False
        self._good += 1
        if self.state is DOWN and self._good < RECOVERIES:
            return False
        return self._become(UP, "", now_at)

    def served(self, status: int, now_at: float) -> bool:
        """A real request got its first response. Gives whether the state has changed.

        A server that is down comes back by OPTIONS alone, for a late answer is no proof; without OPTIONS by this.
        """
        if status in DOUBTFUL:
            self._doubt = True
            return False
        self._bad = 0
        if self.state is DOWN and self.interval:
            return False
        return self._become(UP, "", now_at)

    def silent(self, reason: str, now_at: float) -> bool:
        """No answer came, to an OPTIONS or a real request, or the server could not be reached."""
        self._good = 0
        self._bad += 1
        return self._bad >= FAILURES and self._become(DOWN, reason, now_at)

    def _become(self, state: str, reason: str, now_at: float) -> bool:
        self.reason = reason
        if state is self.state:
            return False
        self.state, self.since_at = state, now_at
        return True
