"""When the end of a certificate is spoken of.  [pure]

Apple's certificates live about a year, and whoever made one has forgotten it by then. Token keys (.p8), service
accounts and VAPID keys carry no date.
"""

from __future__ import annotations

from collections.abc import Mapping

ALARMS = (30, 14, 7, 1, 0)
"""Days before the end at each of which it is said once more: renewing a certificate takes operators a while."""

DAY = 86_400.0


def days_left(ends_at: float, now_at: float) -> float:
    """Days until *ends_at*, both UTC epoch seconds; negative afterwards."""
    return (ends_at - now_at) / DAY


def alarm(days: float) -> int | None:
    """The last of ALARMS that has passed with *days* left, ``None`` before the first."""
    return min((each for each in ALARMS if days <= each), default=None)


def words(days: float) -> str:
    """What is said with *days* left."""
    if days <= 0:
        return "the certificate has expired; Apple will refuse it"
    return f"the certificate expires in {days:.0f} days" if days >= 2 else "the certificate expires within two days"


class Watch:
    """Says each alarm once."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, int | None]] = {}

    def due(self, ends: Mapping[str, float], now_at: float) -> list[str]:
        """What is to be said now about certificates that end at *ends* (UTC epoch seconds by app)."""
        told = []
        for name, ends_at in ends.items():
            days = days_left(ends_at, now_at)
            reached = (ends_at, alarm(days))
            if reached[1] is not None and self._said.get(name) != reached:
                told.append(f"{name}: {words(days)}")
            self._said[name] = reached
        for name in self._said.keys() - ends.keys():
            del self._said[name]
        return told
