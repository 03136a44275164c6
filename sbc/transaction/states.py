"""The states and events of all four machines, by the names of the RFCs."""

from __future__ import annotations

import enum


class State(enum.IntEnum):
    """States of RFC 3261 figures 5 … 8 and RFC 6026. (IntEnum: they are dictionary keys on the hot path.)"""

    CALLING = 0
    TRYING = 1
    PROCEEDING = 2
    ACCEPTED = 3
    COMPLETED = 4
    CONFIRMED = 5
    TERMINATED = 6


class Event(enum.IntEnum):
    """What can happen to a transaction."""

    REQUEST = 16  # the same request again
    ACK = 17
    PROVISIONAL = 18
    SUCCESS = 19  # 2xx
    FAILURE = 20  # 3xx … 6xx
    RESEND = 21  # timer A, E or G; after a final answer: let the request go
    TIMEOUT = 22  # timer B, C, D, F, H, I, J, K, L or M
    LOST = 23  # the connection ended
    ABANDON = 24  # the transaction user wants no more of it
    CANCEL = 25  # the transaction user wants it to end
    MOVE = 26  # the request continues on another hop


def event_of(status: int) -> Event:
    """The event that an answer with this status is."""
    return Event.PROVISIONAL if status < 200 else Event.SUCCESS if status < 300 else Event.FAILURE
