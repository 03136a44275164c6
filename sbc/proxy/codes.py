"""What final responses mean to a fork: which is the best of several, and after which another server may do better."""

from __future__ import annotations

FAILOVER: dict[int, str] = {
    408: "a proxy there waited in vain for what is behind it; not once the call rang, for then nobody answered",
    500: "the server broke over it",
    502: "a gateway there found nobody behind it",
    503: "out of service, or no line left (RFC 3263 §4.3: the next server)",
    504: "the server waited in vain for another one",
    513: "too large for that server",
    580: "no resources for the media there (RFC 3312)",
}
"""Final responses of an upper server after which the next one may do better. 501 and 505 are not among them: the next
server of a domain runs the same software. 4xx and 6xx are answers about the call."""

PREFERRED = {401: 0, 407: 0, 415: 1, 420: 1, 484: 1}
"""Responses of the 4xx class that help the sender to try again, and so win over others of their class."""

LOCAL = {
    408: (408, "Request Timeout"),
    480: (480, "Temporarily Unavailable"),
    487: (487, "Request Terminated"),
    500: (500, "Server Internal Error"),
    503: (500, "Server Internal Error"),
}
"""What the sender hears for a branch that ended without a response of its own; a 503 is not passed on (§16.7)."""


def rank(status: int, heard: bool) -> tuple[int, int, int]:
    """The best of several final responses is the one with the lowest rank (RFC 3261 §16.7 step 6). `heard`: it came
    from a target and is not our own verdict on one."""
    if status >= 600:
        return (0, 0, status)
    return (status // 100, PREFERRED.get(status, 2) if heard else 3, status)
