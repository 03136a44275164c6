"""Whose packets are believed: latching on the first source that the signalling makes plausible (RFC 7362).  [pure]

A party's packets come from where its description says, or, behind NAT, from the address its signalling came from (any
port). Nothing else latches, so spraying packets at the relay's ports neither steals a call's media nor injects any.
A source that fits better replaces one that fits less; an equal one does not, until the party signals again.
"""

from __future__ import annotations

from typing import Any

from sbc.media.addresses import Address

#: A source as the socket reports it: host, port, and for IPv6 flow label and zone.
Source = tuple[Any, ...]

#: How well a source fits what signalling said. A foreign one never latches.
FOREIGN, SIGNALLED, HOST, EXACT = 0, 1, 2, 3


def rank(source: Source, described: Address | None, signalled: str) -> int:
    """`EXACT`: the described address and port; `HOST`: that address, another port; `SIGNALLED`: where the signalling
    came from; `FOREIGN`: neither. Hosts are compared in canonical text."""
    if described is not None:
        if source == described:
            return EXACT
        if source[0] == described[0]:
            return HOST
    return SIGNALLED if source[0] == signalled else FOREIGN


class Latch:
    """What one party's packets on one port are compared with, and where packets for it are sent.

    `source` is the socket address believed now (None: the next plausible one is), `destination` where to send (None:
    nowhere yet, or the party wants nothing).
    """

    __slots__ = ("_described", "_heard", "_muted", "_rank", "_signalled", "destination", "source")

    def __init__(self) -> None:
        self.source: Source | None = None
        self.destination: Source | None = None
        self._described: Address | None = None
        self._signalled = ""
        self._heard: Source | None = None
        self._rank = FOREIGN
        self._muted = True

    @property
    def described(self) -> Address | None:
        """Where the description says the party receives, if that is believed."""
        return self._described

    def signal(self, described: Address | None, signalled: str, *, muted: bool) -> None:
        """The party sent a description: wait for its first packet anew.

        `described` comes from `addresses.destination`; `muted`: it wants nothing sent (held by the null address, or
        the media is rejected). A party that repeats itself keeps the destination learnt from its packets.
        """
        if (described, signalled) != (self._described, self._signalled):
            self._described, self._signalled, self._heard = described, signalled, None
        self._muted = muted
        self.source, self._rank = None, FOREIGN
        self.destination = None if muted else (self._heard or self._described)

    @property
    def memory(self) -> list[Any]:
        """What `recall` needs, fit for JSON."""
        return [self._described, self._signalled, self._heard, self._muted]

    def recall(self, memory: list[Any]) -> None:
        """Be as one was whose `memory` this is, still waiting for the first packet. Raises `ValueError` or `TypeError`
        for anything else."""
        described, signalled, heard, muted = memory
        self._described = None if described is None else (str(described[0]), int(described[1]))
        self._signalled = str(signalled)
        self._heard = None if heard is None else (str(heard[0]), *(int(number) for number in heard[1:]))
        self.source, self._rank, self._muted = None, FOREIGN, bool(muted)
        self.destination = None if muted else (self._heard or self._described)

    def accept(self, source: Source) -> bool:
        """Whether a media packet from a source other than the latched one is believed; if so it is the latched one."""
        fits = rank(source[:2], self._described, self._signalled)
        if fits <= self._rank:
            return False
        self.source, self._rank, self._heard = source, fits, source
        if not self._muted:
            self.destination = source
        return True
