"""Nonces that upper servers gave us, kept so that most refreshes need one round trip: pure.

Losing one costs a challenge, nothing else: the table is bounded and lives in RAM alone. A server whose nonces never
outlive the time between two refreshes is not worth the memory; it is tried again now and then.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from sbc.sip.digest import Challenge
from sbc.sip.message import Response
from sbc.sip.scan import split_commas, unquote

MAX_NONCES = 50_000
"""Nonces kept at once, about 500 bytes each; the one unused longest goes first."""
FRUITLESS = 20
"""Reuses in a row that a server refused, after which its nonces are kept no more."""
TRY_AGAIN = 1000
"""Every so many registrations at such a server one nonce is kept all the same."""


@dataclass(frozen=True, slots=True)
class Nonce:
    """A challenge that was answered `count` times; `proxy`: it came with 407."""

    challenge: Challenge
    count: int
    proxy: bool

    def used(self) -> Nonce:
        """After one more answer."""
        return replace(self, count=self.count + 1)


class Nonces:
    """By server name and registration."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], Nonce] = OrderedDict()
        self._refused: dict[str, int] = {}
        self._passed: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, server: str, registration: int) -> Nonce | None:
        """The nonce kept for this registration; it is kept no more, until `keep`."""
        return self._kept.pop((server, registration), None)

    def keep(self, server: str, registration: int, nonce: Nonce) -> None:
        """This nonce was just accepted."""
        if self._refused.get(server, 0) >= FRUITLESS:
            passed = self._passed[server] = self._passed.get(server, 0) + 1
            if passed % TRY_AGAIN:
                return
        while len(self._kept) >= MAX_NONCES:
            self._kept.popitem(last=False)
        self._kept[server, registration] = nonce

    def reused(self, server: str, accepted: bool) -> None:
        """A kept nonce was used again, and the server took it, or wanted another."""
        if accepted:
            self._refused.pop(server, None)
        else:
            self._refused[server] = self._refused.get(server, 0) + 1


def next_nonce(response: Response, now: Nonce) -> Nonce:
    """The nonce to answer the next time: what `Authentication-Info` announces (RFC 7616 §3.5), else the same again."""
    for name in (b"authentication-info", b"proxy-authentication-info"):
        for value in response.lines(name):
            for part in split_commas(value):
                key, _, text = part.partition(b"=")
                if key.strip().lower() == b"nextnonce" and unquote(text.strip()):
                    return Nonce(replace(now.challenge, nonce=unquote(text.strip()), stale=False), 0, now.proxy)
    return now
