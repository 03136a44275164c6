"""Registrations that only the app itself can refresh: when it is woken for that, and what if it does not come.  Pure.

Without a usable HA1 the upper server's challenge cannot be answered here. The app is pushed in time, again with longer
pauses while it does not register (RFC 8599 §5.5), and left alone after that: a call wakes it all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbc.push.indication import REFRESH_LEAD

PAUSES = (45.0, 90.0, 180.0, 360.0, 720.0)
"""Seconds from one refresh push to the next: the second still comes before the end of the registration."""

OFF, AUTO, ON, REMOVE = "off", "auto", "on", "remove"


@dataclass(frozen=True, slots=True)
class Asking:
    """`push` the app now; look again at `next_at` (None: no more); `remove` the user's devices."""

    push: bool
    next_at: float | None
    remove: bool = False


def ask(mode: str, times: int, expires_at: float | None, now_at: float) -> Asking:
    """What to do about a registration that needs its app, after `times` pushes without a REGISTER.

    `mode` is `push.wake_to_refresh`; `expires_at` when the upper server forgets the registration. UTC epoch seconds.
    """
    if mode == REMOVE:
        over = expires_at is None or expires_at <= now_at
        return Asking(False, None if over else expires_at, remove=over)
    if mode == OFF:
        return Asking(False, None)
    return Asking(times <= len(PAUSES), now_at + PAUSES[times] if times < len(PAUSES) else None)


def in_time(next_at: float, granted: float, now_at: float) -> float:
    """When to refresh a registration that perhaps only its app can: the lead that a push needs, where there is room."""
    return min(next_at, now_at + max(granted / 2, granted - REFRESH_LEAD))
