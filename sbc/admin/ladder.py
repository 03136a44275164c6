"""A call drawn as a ladder: who said what to whom, from top to bottom. Pure: text in, coordinates out.

Drawn from the SIP trace where it has the call, else from the timeline, whose kinds say who spoke (the table `_ARROWS`,
last in this file).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sbc.observe import kinds
from sbc.observe.trace import TraceEntry

LANE_WIDTH: Final = 220
"""Pixels from one party to the next."""

STEP: Final = 30
"""Pixels from one line to the next."""

TOP: Final = 60
"""Pixels above the first line, for the parties' names."""

LABEL_LIMIT: Final = 60
"""Characters over an arrow."""

LANES_LIMIT: Final = 12
"""Parties drawn; what others say is left out."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One party: a vertical line at `x`."""

    name: str
    x: int


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the drawing: an arrow from `x1` to `x2` at height `y`, or a note at `x1` where both are equal."""

    y: int
    x1: int
    x2: int
    label: str
    offset: str
    """Seconds since the first line, as text."""

    @property
    def middle(self) -> int:
        """Where the label is centred."""
        return (self.x1 + self.x2) // 2

    @property
    def head(self) -> str:
        """The corner points of the arrow's head, as SVG wants them; empty for a note."""
        if self.x1 == self.x2:
            return ""
        back = -8 if self.x2 > self.x1 else 8
        return f"{self.x2},{self.y} {self.x2 + back},{self.y - 4} {self.x2 + back},{self.y + 4}"


@dataclass(frozen=True, slots=True)
class Ladder:
    """The drawing, with its size in pixels."""

    lanes: tuple[Lane, ...]
    steps: tuple[Step, ...]

    @property
    def width(self) -> int:
        """Pixels."""
        return LANE_WIDTH * max(len(self.lanes), 1)

    @property
    def height(self) -> int:
        """Pixels."""
        return TOP + STEP * (len(self.steps) + 1)


def _lanes(names: Sequence[str]) -> dict[str, Lane]:
    return {name: Lane(name, LANE_WIDTH // 2 + LANE_WIDTH * place) for place, name in enumerate(names)}


def _short(text: str) -> str:
    return text if len(text) <= LABEL_LIMIT else text[: LABEL_LIMIT - 1] + "…"


def from_trace(entries: Sequence[TraceEntry]) -> Ladder:
    """The ladder of traced messages, which are in order: the SBC in the middle of its peers as they appeared."""
    peers = list(dict.fromkeys(entry.peer for entry in entries))[: LANES_LIMIT - 1]
    lanes = _lanes([*peers[:1], "SBC", *peers[1:]])
    sbc = lanes["SBC"].x
    steps: list[Step] = []
    for entry in entries:
        if entry.peer in lanes:
            peer = lanes[entry.peer].x
            x1, x2 = (peer, sbc) if entry.direction == "in" else (sbc, peer)
            offset = f"{entry.at - entries[0].at:.3f}"
            steps.append(Step(TOP + STEP * (len(steps) + 1), x1, x2, _short(entry.summary), offset))
    return Ladder(tuple(lanes.values()), tuple(steps))


Party = Literal["caller", "SBC", "push service", "callee"]


def from_events(lines: Sequence[Mapping[str, object]]) -> Ladder:
    """The ladder of a timeline: records with `at` in UTC epoch seconds, `kind` and `detail`, in order."""
    spoken = {party for line in lines for party in _ARROWS.get(str(line["kind"]), ("SBC", "SBC"))}
    order: tuple[Party, ...] = ("caller", "SBC", "push service", "callee")
    lanes = _lanes([party for party in order if party == "SBC" or party in spoken])
    steps: list[Step] = []
    began = _seconds(lines[0]["at"]) if lines else 0.0
    for line in lines:
        kind = str(line["kind"])
        start, end = _ARROWS.get(kind, ("SBC", "SBC"))
        offset = f"{_seconds(line['at']) - began:.3f}"
        y = TOP + STEP * (len(steps) + 1)
        steps.append(Step(y, lanes[start].x, lanes[end].x, _short(kind.replace("_", " ")), offset))
    return Ladder(tuple(lanes.values()), tuple(steps))


def _seconds(at: object) -> float:
    return float(at) if isinstance(at, int | float) else 0.0


_ARROWS: Final[Mapping[str, tuple[Party, Party]]] = {
    kinds.INVITE: ("caller", "SBC"),
    kinds.MESSAGE: ("caller", "SBC"),
    kinds.CANCEL: ("caller", "SBC"),
    kinds.PUSH_SENT: ("SBC", "push service"),
    kinds.PUSH_ACCEPTED: ("push service", "SBC"),
    kinds.PUSH_FAILED: ("push service", "SBC"),
    kinds.REGISTER: ("callee", "SBC"),
    kinds.UNREGISTER: ("callee", "SBC"),
    kinds.WOKEN: ("callee", "SBC"),
    kinds.DELIVERED: ("SBC", "callee"),
    kinds.RESENT: ("SBC", "callee"),
    kinds.RINGING: ("callee", "SBC"),
    kinds.ANSWERED: ("callee", "SBC"),
    kinds.BRANCH_FAILED: ("callee", "SBC"),
    kinds.CANCELLED: ("SBC", "caller"),
    kinds.REJECTED: ("SBC", "caller"),
}
"""Who speaks to whom in a line of this kind; every other one is a note of the SBC to itself."""
