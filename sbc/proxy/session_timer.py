"""RFC 4028 as a bystander: the parties keep their session alive, the SBC watches and ends what is dead. Pure."""

from __future__ import annotations

from sbc.sip.message import Request, Response

MIN_INTERVAL = 90
"""Seconds; a session interval below it is none (RFC 4028 §4)."""

GRACE = 32.0
"""Seconds past the end of an interval before the call counts as dead: a last refresh may still be on its way."""


def interval_of(message: Request | Response) -> int | None:
    """The session interval that a 2xx (or a request) names, in seconds; None where there is none or it is nonsense."""
    value = message.first(b"session-expires")
    if value is None:
        return None
    text = value.split(b";", 1)[0].strip()
    if not text.isdigit() or len(text) > 9:
        return None
    seconds = int(text)
    return seconds if seconds >= MIN_INTERVAL else None


def dead_at(request: Request, response: Response, before: float | None, now: float) -> float | None:
    """When the call is dead unless it is refreshed, after a 2xx to this INVITE or UPDATE.

    Without Session-Expires in a 2xx the session has no timer any more (RFC 4028 §7.2). Other methods change nothing.
    """
    if request.method not in (b"INVITE", b"UPDATE") or not 200 <= response.status < 300:
        return before
    interval = interval_of(response)
    return None if interval is None else now + interval + GRACE
