"""Whether the parties of a leg are still heard.  [pure]"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sbc.media.engine import Side

_PARTIES: dict[Side, str] = {"a": "caller", "b": "callee"}


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds of silence: of `both` parties, or of `one` that should be heard, until a leg is given up; 0: never."""

    both: float
    one: float


class Silence:
    """One leg's: how many packets each party had sent when that last changed, and when it did."""

    __slots__ = ("_heard", "_heard_at", "told")

    def __init__(self, now: float) -> None:
        self._heard: dict[Side, int] = {"a": 0, "b": 0}
        self._heard_at: dict[Side, float] = {"a": now, "b": now}
        #: Whether it was reported since the leg last gave a sign of life.
        self.told = False

    def awake(self, now: float) -> None:
        """Signalling came: silence counts from here."""
        self._heard_at = {"a": now, "b": now}
        self.told = False

    def look(
        self, packets: Mapping[Side, int], now: float, patience: Patience, *, held: bool, speaking: Mapping[Side, bool]
    ) -> str:
        """What is to be told of this leg, once; empty while there is nothing.

        `packets`: what each party has sent so far; `held`: one of them wants no media, so silence means nothing;
        `speaking`: who has agreed to send.
        """
        for side, count in packets.items():
            if held or count != self._heard[side]:
                self._heard[side], self._heard_at[side] = count, now
        why = "" if self.told else self._silent(now, patience, speaking)
        self.told = self.told or bool(why)
        return why

    def _silent(self, now: float, patience: Patience, speaking: Mapping[Side, bool]) -> str:
        if patience.both and now - max(self._heard_at.values()) >= patience.both:
            return f"no media for {patience.both:g} s"
        for side, party in _PARTIES.items():
            if patience.one and speaking[side] and now - self._heard_at[side] >= patience.one:
                return f"no media from the {party} for {patience.one:g} s"
        return ""
