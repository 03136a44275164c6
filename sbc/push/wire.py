"""What goes to a provider and what comes back, whoever the provider is.  [pure]"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from sbc.push.orders import Outcome

# Bytes of an answer's body that are kept: providers explain an error in a few hundred.
MAX_ANSWER = 16 * 1024
# Characters of a provider's reason that are kept for rows and logs.
MAX_REASON = 200


class Post:
    """One POST: ``path`` with query, lower-case ``headers`` without pseudo-headers, ``body``."""

    __slots__ = ("body", "headers", "path")

    def __init__(self, path: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.path, self.headers, self.body = path, headers, body


class Answer:
    """The answer to one ``Post``: header names in lower case, the body cut at MAX_ANSWER."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means, for the sender that knows about tries, deadlines and breakers.

    ``again``: worth another try now. ``retry_after``: seconds the provider asks us to wait. ``gone_at``: UTC epoch
    seconds since when the provider knows that the token is dead, 0 when it does not say. ``renew``: get a new
    provider or access token before the next try. ``reconnect``: the connection must not be used any more.
    ``other_environment``: the token may belong to the other APNs environment; ``other_kind``: it may be for the other
    kind of push (VoIP, alert). ``blame_app``: every push of this app
    will fail until the operator acts. ``token_only``: the failure lies in this token or device and says nothing about
    the others.
    """

    outcome: Outcome
    reason: str = ""
    again: bool = False
    retry_after: float | None = None
    gone_at: float = 0.0
    renew: bool = False
    reconnect: bool = False
    other_environment: bool = False
    other_kind: bool = False
    blame_app: bool = False
    token_only: bool = False


ACCEPTED = Verdict(Outcome.ACCEPTED)


def retry_after(headers: Mapping[bytes, bytes], now_at: float) -> float | None:
    """Seconds from ``Retry-After`` (RFC 9110 10.2.3), as a number or a date; ``None`` when absent or senseless."""
    value = headers.get(b"retry-after", b"").strip()
    if not value:
        return None
    if value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value.decode("ascii", "replace")).timestamp() - now_at)
    except (ValueError, TypeError, OverflowError):
        return None
