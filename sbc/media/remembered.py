"""What the signalling process knows of the legs in a media process, so that the next one can go on with them. [pure]"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sbc.media.control import Message
from sbc.media.engine import Side, Statistics, other

_SIDES: tuple[Side, Side] = ("a", "b")


class Handover(NamedTuple):
    """A leg on its way to another media process: what `Relay.restore` takes, the open offers, what was counted."""

    text: str
    offers: list[Message]
    statistics: Statistics


class Remembered:
    """The legs of one media process by key. What is kept of them may hold keys: it is for no disk and no log."""

    def __init__(self) -> None:
        #: Legs that are relayed.
        self.carried: set[str] = set()
        #: Legs that were asked for, relayed or not.
        self.known: set[str] = set()
        #: Legs found in a media process that was there before us, and not asked for yet.
        self.unclaimed: set[str] = set()
        #: What may outlive this process too, by leg.
        self.lasting: dict[str, str] = {}
        self._kept: dict[str, str] = {}
        self._offers: dict[tuple[str, Side], Message] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.known or key in self.carried

    def offered(self, key: str, side: Side, request: Message) -> None:
        """This offer is open."""
        self.carried.add(key)
        self._offers[key, side] = request

    def answered(self, key: str, side: Side) -> None:
        """The other party's offer is open no more."""
        self._offers.pop((key, other(side)), None)

    def keep(self, key: str, text: str, lasting: str | None) -> None:
        """What the media process said of a leg."""
        self._kept[key] = text
        if lasting is not None:
            self.lasting[key] = lasting

    def kept(self, key: str) -> str | None:
        """What was said last."""
        return self._kept.get(key)

    def forget(self, key: str) -> None:
        """The leg has ended."""
        for keys in (self.carried, self.known, self.unclaimed):
            keys.discard(key)
        self._kept.pop(key, None)
        self.lasting.pop(key, None)
        for side in _SIDES:
            self._offers.pop((key, side), None)

    def found(self, there: Iterable[str]) -> list[str]:
        """A media process has these legs. Returns those that it lacks."""
        found = set(there)
        self.unclaimed = found - self.carried
        self.carried |= found
        return [key for key in self.carried if key not in found]

    def open_offers(self, key: str) -> Iterator[Message]:
        """The offers of a leg that were not answered yet, as they were put."""
        for side in _SIDES:
            if (key, side) in self._offers:
                yield self._offers[key, side]
