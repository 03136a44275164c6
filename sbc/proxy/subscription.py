"""How long the leg of a subscription is needed (RFC 6665, 3515). Pure."""

from __future__ import annotations

from sbc.sip.errors import ParseError
from sbc.sip.message import Request, Response

MAX_SUBSCRIPTIONS = 100_000
"""Subscriptions through this node at once: half of all legs, so that they never take the place of calls."""

DEFAULT_EXPIRES = 3600
"""Seconds of a subscription whose 2xx does not say (RFC 6665 §4.1.2.1: the event package decides, mostly an hour)."""

LONGEST = 86_400
"""Seconds after which a subscription must have been refreshed, whatever it says."""

GRACE = 64.0
"""Seconds that a leg is kept past its end: a last NOTIFY and its repetitions."""

REFERRED = 300.0
"""Seconds without a NOTIFY after which the implicit subscription of a REFER is over."""


def subscribed_until(request: Request, response: Response, before: float | None, now: float) -> float:
    """When the leg may go, after this final response to a request of it. `before` is what was said last."""
    known = before if before is not None else now + GRACE
    if request.method == b"NOTIFY":
        state = (request.first(b"subscription-state") or b"").split(b";", 1)[0].strip().lower()
        if state == b"terminated" or response.status == 481:
            return now + GRACE
        return max(known, now + REFERRED)
    if not 200 <= response.status < 300:
        return known
    if request.method == b"REFER":
        return now + REFERRED
    if request.method != b"SUBSCRIBE":
        return known
    try:
        expires = response.expires if response.expires is not None else request.expires
    except ParseError:
        expires = None
    return now + min(DEFAULT_EXPIRES if expires is None else expires, LONGEST) + GRACE
