"""Targets whose turn has not come, in the order of their preference (RFC 3261 §16.6): pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import Generic

from sbc.proxy.branch import Candidate, T


class Turns(Generic[T]):
    """Candidates by falling q; those of equal q have their turn together."""

    __slots__ = ("_later",)

    def __init__(self) -> None:
        self._later: list[Candidate[T]] = []

    def __len__(self) -> int:
        return len(self._later)

    def add(self, candidates: Iterable[Candidate[T]]) -> None:
        """These come too."""
        self._later = sorted([*self._later, *candidates], key=lambda candidate: -candidate.q)

    def drop(self, key: str) -> bool:
        """Forget the candidate of that key; whether there was one."""
        kept = [candidate for candidate in self._later if candidate.key != key]
        found = len(kept) < len(self._later)
        self._later = kept
        return found

    def take(self) -> list[Candidate[T]]:
        """Those of the highest q; they are no longer here. There must be some."""
        highest = self._later[0].q
        turn = [candidate for candidate in self._later if candidate.q == highest]
        self._later = self._later[len(turn) :]
        return turn

    def clear(self) -> None:
        """Nobody follows."""
        self._later = []


def in_place(
    candidates: Iterable[Candidate[T]], known: Container[str], reserve: Sequence[Candidate[T]]
) -> list[Candidate[T]]:
    """What is tried in the place of a server that named these candidates: those that are not `known` already, each
    once. The `reserve` of the server follows on the last of them."""
    named = list({each.key: each for each in candidates if each.key not in known}.values())
    if named and reserve:
        last = min(reversed(named), key=lambda each: each.q)
        named[named.index(last)] = replace(last, reserve=(*last.reserve, *reserve))
    return named
