"""Stop asking a provider that keeps failing, and find out when it works again.  [pure]"""

from __future__ import annotations

# Seconds without any try once it is open; then one push at a time finds out.
OPEN_FOR = 15.0
# Seconds after an error that only the operator can mend (wrong key): the provider must not be pestered with it.
OPEN_FOR_CONFIG = 30.0
# Failures in a row of APNs or a Web Push service; FCM's number is a setting.
THRESHOLD = 20


class Breaker:
    """One for each app at each provider. Times are monotonic seconds."""

    __slots__ = ("_probing", "_until", "failures", "reason", "threshold")

    def __init__(self, threshold: int = THRESHOLD) -> None:
        self.threshold = threshold
        self.failures = 0
        self.reason = ""
        self._until = 0.0
        self._probing = False

    def allows(self, now: float) -> bool:
        """May a push be tried? While half open only one at a time may, and its outcome must be reported."""
        if not self._until:
            return True
        if now < self._until or self._probing:
            return False
        self._probing = True
        return True

    def is_open(self, now: float) -> bool:
        """As ``allows``, without taking the turn."""
        return bool(self._until) and (now < self._until or self._probing)

    def succeeded(self) -> None:
        """The provider took a push or gave a clear answer about its token."""
        self.failures = 0
        self._until = 0.0
        self._probing = False

    def failed(self, now: float, reason: str, *, config: bool = False) -> bool:
        """The provider failed, or with *config* refused the app as a whole; answer whether that opened the breaker."""
        was_open = bool(self._until)
        self.failures += 1
        self.reason = reason
        if config or self._probing or self.failures >= self.threshold:
            self._until = now + (OPEN_FOR_CONFIG if config else OPEN_FOR)
        self._probing = False
        return bool(self._until) and not was_open

    def spared(self) -> None:
        """The push that was allowed never reached the provider: it proves nothing."""
        self._probing = False
