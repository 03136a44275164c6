"""The port behind which relays live, and what they tell about a call's media.

An engine gets whole descriptions, because an engine in another process (or on another machine) rewrites them itself;
all answers are Deferreds for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from sbc.media.sdp import Session
from sbc.media.settings import MediaSettings

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

#: The two parties of a leg: `a` got or sent the first request on its side, `b` is the other one.
Side = Literal["a", "b"]


def other(side: Side) -> Side:
    """The opposite party."""
    return "b" if side == "a" else "a"


@dataclass(frozen=True, slots=True)
class Direction:
    """What was received from one party: `lost` in packets, `jitter` in seconds, `rtcp` the RTCP packets on a port of
    their own (they are not in `packets`), `foreign` dropped packets of strangers, `undelivered` packets of this party
    that the other one could not be sent: nobody knows where it is, or the kernel refused; `refused` packets that were
    not encrypted as agreed: forged, damaged or repeated; `reported_lost` and `reported_jitter` (seconds) what the
    receiver of these packets last said in a report (None: nothing that could be read)."""

    packets: int = 0
    bytes: int = 0
    lost: int = 0
    jitter: float = 0.0
    foreign: int = 0
    rtcp: int = 0
    undelivered: int = 0
    refused: int = 0
    reported_lost: int | None = None
    reported_jitter: float = 0.0

    def after(self, before: Direction) -> Direction:
        """With what was counted elsewhere before; jitter and reports are the newest."""
        names = ("packets", "bytes", "lost", "foreign", "rtcp", "undelivered", "refused")
        return replace(self, **{name: getattr(self, name) + getattr(before, name) for name in names})


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """One media line: its place in the description, its kind (`audio`), and both directions."""

    index: int
    kind: str
    from_a: Direction
    from_b: Direction

    def after(self, before: StreamStatistics) -> StreamStatistics:
        """With what was counted elsewhere before."""
        return replace(self, from_a=self.from_a.after(before.from_a), from_b=self.from_b.after(before.from_b))


@dataclass(frozen=True, slots=True)
class Statistics:
    """A whole leg; without streams when nothing was relayed."""

    streams: tuple[StreamStatistics, ...] = ()

    def plus(self, later: Statistics) -> Statistics:
        """Those of a leg that went on elsewhere."""
        now = {stream.index: stream for stream in later.streams}
        gone = [stream.index for stream in self.streams if stream.index not in now]
        before = {stream.index: stream for stream in self.streams}
        both = [now[index].after(before[index]) if index in before else now[index] for index in now]
        return Statistics(tuple(sorted([*both, *(before[index] for index in gone)], key=lambda each: each.index)))

    @property
    def packets(self) -> int:
        """Packets relayed, both directions of all streams."""
        return sum(stream.from_a.packets + stream.from_b.packets for stream in self.streams)


@dataclass(frozen=True, slots=True)
class Offer:
    """An SDP offer on its way: `source` is the IP its signalling came from; `back` and `toward` are the addresses (IP
    literals) that its sender and its receiver are shown. `wanted`: how the receiver is to protect its media: `web` as
    browsers do, `keep` as the sender does, `off` not at all, `sdes` by SRTP with keys in the description."""

    session: Session
    from_: Side
    source: str
    back: str
    toward: str
    wanted: str = "keep"


@dataclass(frozen=True, slots=True)
class Answer:
    """An SDP answer on its way; the addresses are those of the offer."""

    session: Session
    from_: Side
    source: str


#: Why a leg carries no media any more: nothing was heard, keys could not be agreed on or were lost, the party was there
#: and is gone (RFC 7675), the relay itself is.
Cause = Literal["timeout", "keys", "gone", "lost"]

#: What call records say of each.
CAUSES: dict[Cause, str] = {
    "timeout": "media timeout",
    "keys": "media encryption failed",
    "gone": "media gone",
    "lost": "media relay lost",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """The end of a leg's media; `text` says what happened."""

    cause: Cause
    text: str

    def __str__(self) -> str:
        return f"{CAUSES[self.cause]}: {self.text}"


class Engine(Protocol):
    """A relay. Keys are the caller's; each names one leg with its own ports."""

    #: Called with the key when a leg fell silent, or cannot carry media any more. May come again until it is closed.
    on_fault: Callable[[str, Fault], None]

    @property
    def name(self) -> str:
        """The engine's name in metrics: what forwards packets now."""

    def offer(self, key: str, offer: Offer) -> Deferred[bytes]:
        """The description for the other party. A known key keeps its ports. Fails with `RemoteError`: 503 when no port
        is free, 488 when its protection is not understood; then nothing changed."""

    def answer(self, key: str, answer: Answer) -> Deferred[bytes]:
        """The description for the other party. May come several times for one offer (early media, then 200)."""

    def carries(self, key: str) -> bool:
        """Whether this leg is relayed."""

    @property
    def streams(self) -> int:
        """Media lines relayed now."""

    @property
    def packets(self) -> int:
        """Packets received from parties since the start."""

    def reload(self, settings: MediaSettings) -> None:
        """Take over what can change while calls are up: the time-out; for new legs and offers the rest."""

    @property
    def pinned(self) -> int:
        """Streams that the kernel forwards now, each direction by itself."""

    @property
    def exhausted(self) -> int:
        """Offers refused since the start because no port was free."""

    def prepare(self) -> None:
        """Do what needs the privileges that the process started with."""

    def start(self) -> None:
        """Begin to work."""

    def stop(self) -> Deferred[None]:
        """End all legs."""

    def leave(self) -> Deferred[None]:
        """Stop, but let the legs go on as far as they can without this process; the next one restores them."""

    def snapshot(self, key: str) -> str | None:
        """What `restore` needs after a restart; None when the leg is not relayed or not answered yet."""

    def restore(self, key: str, text: str) -> Deferred[bool]:
        """Relay a leg again on its old ports; False when the ports are taken or the text is not understood. Its
        parties' packets latch anew; where they were heard last is where packets for them go until then. A leg whose
        keys were the relay's goes on if that still has it; else only its end can be restored: `on_fault` will tell."""

    def close(self, key: str) -> Deferred[Statistics]:
        """End a leg and free its ports; empty statistics for an unknown key."""
