"""The words of a call's timeline (`call_events.kind`) and what each one means."""

from __future__ import annotations

from typing import Final

REGISTER: Final = "register"
UNREGISTER: Final = "unregister"
ASLEEP: Final = "asleep"
INVITE: Final = "invite"
ROUTED: Final = "routed"
PUSH_SENT: Final = "push_sent"
PUSH_ACCEPTED: Final = "push_accepted"
PUSH_FAILED: Final = "push_failed"
WAITING: Final = "waiting"
WOKEN: Final = "woken"
DELIVERED: Final = "delivered"
RESENT: Final = "resent"
RINGING: Final = "ringing"
ANSWERED: Final = "answered"
CHALLENGED: Final = "challenged"
BRANCH_FAILED: Final = "branch_failed"
FAILOVER: Final = "failover"
MEDIA: Final = "media"
BYE: Final = "bye"
CANCEL: Final = "cancel"
CANCELLED: Final = "cancelled"
REJECTED: Final = "rejected"
TIMEOUT: Final = "timeout"
ENDED: Final = "ended"
MESSAGE: Final = "message"
STORED: Final = "stored"
REQUEST: Final = "request"
ERROR: Final = "error"

KINDS: Final[dict[str, str]] = {
    REGISTER: "a device of the called user registered: where from; or the parties were registered at a stand-in first",
    UNREGISTER: "a device of the called user went away",
    ASLEEP: "a target is asleep: a push binding without a flow that is known to be alive",
    INVITE: "the call came in: from whom, to whom, from which side",
    ROUTED: "where the call goes: the upper server and the rule, or the user's devices",
    PUSH_SENT: "a push went to the provider: provider, app, device",
    PUSH_ACCEPTED: "the provider took the push: status, seconds",
    PUSH_FAILED: "the provider refused the push, or it could not be sent: status, reason",
    WAITING: "the request is held for a phone to wake: for how long at most, what the caller hears",
    WOKEN: "the phone registered while the call was waiting for it: seconds since the push",
    DELIVERED: "the request went to a target: address and transport",
    RESENT: "the request was sent again because the target kept silent",
    RINGING: "a target rings (180, 183): which one",
    ANSWERED: "a target answered (2xx): which one",
    CHALLENGED: "a 401 or 407 was passed on or answered",
    BRANCH_FAILED: "one target refused or failed while others go on: code, reason",
    FAILOVER: "the next upper server is tried: which one failed and why",
    MEDIA: "what the relay saw: packets, bytes and loss both ways",
    BYE: "one side hung up: which one",
    CANCEL: "the caller gave up before the answer, or another target was faster",
    CANCELLED: "the call ended unanswered because the caller gave up (487)",
    REJECTED: "the call ended unanswered by an error: code, reason",
    TIMEOUT: "the call ended because somebody kept silent: who, for how long",
    ENDED: "the call is over: code, reason, by whom",
    MESSAGE: "a MESSAGE came in: from whom, to whom, size",
    STORED: "a MESSAGE was stored for later delivery",
    REQUEST: "another request of the dialog passed: its method",
    ERROR: "something on our side went wrong",
}
"""Every kind there is. `CallLog.event` takes no other, so that a query by kind finds what it looks for."""
