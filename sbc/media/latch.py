"""Whose packets are believed: latching on the first source that the signalling makes plausible (RFC 7362).  [pure]

A party's packets come from where its description says, or, behind NAT, from the address its signalling came from (any
port). Nothing else latches, so spraying packets at the relay's ports neither steals a call's media nor injects any.
A source that fits better replaces one that fits less; an equal one does not, until the party signals again.

Where signalling arrives through a balancer that hides its origin, that would leave phones behind NAT mute. For such
networks strangers can be admitted: only while nobody better was heard for `GRACE` seconds, and only with `PROOF`
packets in a row; anybody better replaces them at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sbc.media.addresses import Address

#: A source as the socket reports it: host, port, and for IPv6 flow label and zone.
Source = tuple[Any, ...]

#: Seconds after signalling in which strangers are never believed.
GRACE = 2.0
#: Packets in a row that a stranger must send.
PROOF = 5

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


class Memory(NamedTuple):
    """What a latch knows besides the moment: described address, signalling host, last believed source, muted."""

    described: Address | None
    signalled: str
    heard: Source | None
    muted: bool


class Latch:
    """What one party's packets on one port are compared with, and where packets for it are sent.

    `source` is the socket address believed now (None: the next plausible one is), `destination` where to send (None:
    nowhere yet, or the party wants nothing), `changes` how often that or its `memory` may have changed.
    """

    __slots__ = (
        "_alias", "_candidate", "_described", "_heard", "_muted", "_proof", "_rank", "_signalled", "_strangers_at",
        "changes", "destination", "source",
    )  # fmt: skip

    def __init__(self) -> None:
        self.source: Source | None = None
        self.destination: Source | None = None
        self._described: Address | None = None
        self._signalled = ""
        self._heard: Source | None = None
        self._rank = FOREIGN
        self._muted = True
        self._alias = ""
        self._strangers_at: float | None = None
        self._candidate: Source | None = None
        self._proof = 0
        self.changes = 0

    @property
    def described(self) -> Address | None:
        """Where the description says the party receives, if that is believed."""
        return self._described

    def signal(
        self,
        described: Address | None,
        signalled: str,
        *,
        muted: bool,
        alias: str = "",
        strangers_at: float | None = None,
    ) -> None:
        """The party sent a description: wait for its first packet anew.

        `described` comes from `addresses.destination`; `muted`: it wants nothing sent (held by the null address, or
        the media is rejected); `alias`: another address by which the signalling's origin may send; `strangers_at`: the
        time from which strangers may be believed (None: never). A party that repeats itself keeps the destination
        learnt from its packets.
        """
        if (described, signalled) != (self._described, self._signalled):
            self._described, self._signalled, self._heard = described, signalled, None
        self.changes += 1
        self._muted = muted
        self._alias, self._strangers_at, self._proof = alias, strangers_at, 0
        self.source, self._rank = None, FOREIGN
        self.destination = None if muted else (self._heard or self._described)

    @property
    def memory(self) -> Memory:
        """What `recall` needs."""
        return Memory(self._described, self._signalled, self._heard, self._muted)

    def recall(self, memory: Memory) -> None:
        """Know what one knew whose `memory` this is; `signal` with the same arguments keeps it."""
        self._described, self._signalled, self._heard, _ = memory

    def accept(self, source: Source, now: float) -> bool:
        """Whether a media packet from a source other than the latched one is believed; if so it is the latched one."""
        fits = self.fits(source)
        if fits <= self._rank and not (fits == FOREIGN and self._proven(source, now)):
            return False
        self.source, self._rank, self._heard = source, fits, source
        self.changes += 1
        if not self._muted:
            self.destination = source
        return True

    def fits(self, source: Source) -> int:
        """How well a source fits, see `rank`."""
        fits = rank(source[:2], self._described, self._signalled)
        return SIGNALLED if fits == FOREIGN and source[0] == self._alias else fits

    def settle(self, source: Source | None) -> None:
        """The party has proven by other means to be here (None: to be gone)."""
        self.source = self.destination = self._heard = source
        self.changes += 1

    def _proven(self, source: Source, now: float) -> bool:
        """Whether a stranger has sent enough, after nobody else did."""
        if self._strangers_at is None or now < self._strangers_at or self.source is not None:
            return False
        self._proof = self._proof + 1 if source == self._candidate else 1
        self._candidate = source
        return self._proof >= PROOF
