"""The port behind which the kernel forwards steady streams in place of the relay.

A relay tells it, for each way of a stream, whose packets go where once both parties have latched; everything else stays
with the relay's sockets, which remain bound to the same ports. An offload never has to take a flow: what it refuses, or
gives up later, goes on in user space.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sbc.media.addresses import Address


class UnavailableError(Exception):
    """This machine cannot forward in the kernel; the text says why, for the one line of the log."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One way of one stream: RTP that `source` sends to `local` is to go out again from `sender` to `destination`.

    All four are addresses and ports as on the wire of this machine (never a wildcard, never a NAT's outside); `local`
    names the flow. `rates`: clock rates in Hz by payload type, for the jitter; a type that is missing has 8000.
    """

    local: Address
    source: Address
    sender: Address
    destination: Address
    dscp: int = 0
    rates: Mapping[int, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was forwarded of a flow since it was pinned: `bytes` of UDP payload, `lost` packets, `jitter` in seconds."""

    packets: int = 0
    bytes: int = 0
    lost: int = 0
    jitter: float = 0.0


class Offload(Protocol):
    """Forwards flows in the kernel. No method blocks or raises; what makes an offload raises `UnavailableError`.

    Promised for a pinned flow: a packet is forwarded only if its source is the flow's (address and port), it is RTP
    version 2 with a payload type outside 64-95 (RTCP on the same port, RFC 5761), whole (no fragment) and without IP
    options; everything else that arrives at `local` reaches the relay's socket as if the flow were not there.
    """

    #: What it is called in metrics and in the log.
    name: str

    @property
    def account(self) -> str:
        """How it does it now, in words for the log."""

    def pin(self, flow: Flow) -> bool:
        """Forward it from now on; False when that is not possible (address families differ, no route, a local
        destination, table full …). A flow that an earlier process left under the same `local` with the same addresses
        goes on, with its counts; one with others is replaced."""

    def unpin(self, flow: Flow) -> Counts:
        """Stop forwarding it: what was counted. Zero for a flow that is not pinned."""

    def counts(self) -> Mapping[Address, Counts]:
        """What was counted so far, of all pinned flows, by `local`."""

    def left(self, port: int) -> Flow | None:
        """The flow to this local port that an earlier process left and that still goes on."""

    def settle(self) -> None:
        """Everybody who wanted a flow of an earlier process has pinned it again: drop the rest."""

    def fileno(self) -> int:
        """A descriptor that is readable when `look` has something to tell; -1 when it never has."""

    def look(self) -> Iterable[tuple[Flow, Counts]]:
        """Flows that were given up (a link went away, a route changed), with what was counted."""

    def close(self) -> None:
        """The relay ends in order: unpin everything, leave nothing behind. (A relay that crashes calls nothing; its
        flows go on.)"""
