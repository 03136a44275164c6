"""What final responses mean to a fork: which is the best of several, what is said for silence."""

from __future__ import annotations

PREFERRED = {401: 0, 407: 0, 415: 1, 420: 1, 484: 1}
"""Responses of the 4xx class that help the sender to try again, and so win over others of their class."""

FLOW_FAILED: dict[int, str] = {
    430: "the phone's flow to the proxy before it is gone (RFC 5626 §11.5)",
    477: "what Kamailio says when it could not send to the phone",
}
"""Responses of a proxy that has not delivered the request: the phone has never seen it, and may be woken."""

OTHER_FLOW: dict[int, str] = {
    **FLOW_FAILED,
    408: "nothing came back over this flow; not once the phone rang, for then nobody answered",
}
"""Responses after which another flow of the same phone is tried (RFC 5626 §7)."""

LOCAL = {
    408: (408, "Request Timeout"),
    480: (480, "Temporarily Unavailable"),
    487: (487, "Request Terminated"),
    500: (500, "Server Internal Error"),
    502: (502, "Bad Gateway"),
    503: (503, "Service Unavailable"),
}
"""What the sender hears for a branch that ended without a response of its own. 503: we have no room for its media."""


def rank(status: int, heard: bool) -> tuple[int, int, int]:
    """The best of several final responses is the one with the lowest rank (RFC 3261 §16.7 step 6). `heard`: it came
    from a target and is not our own verdict on one."""
    if status >= 600:
        return (0, 0, status)
    return (status // 100, PREFERRED.get(status, 2) if heard else 3, status)
