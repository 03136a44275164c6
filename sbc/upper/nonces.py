"""Nonces that upper servers gave us, used again so that most refreshes need one round trip: pure.

A nonce is kept as text in the row of its registration, which is read and written with each refresh anyway: memory
holds none of them, and they outlive a restart. Losing one costs a challenge, nothing else. A server whose nonces never
outlive the time between two refreshes is not worth the words; it is tried again now and then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sbc.sip.digest import Challenge
from sbc.sip.errors import ParseError
from sbc.sip.message import Response
from sbc.sip.scan import split_commas, unquote

LONGEST = 1_000
"""Characters of a challenge that is kept; servers with longer ones challenge each time."""
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

    def written(self) -> str:
        """As text, for `read_nonce`; empty for one that no row should hold."""
        text = f"{407 if self.proxy else 401} {self.count} {self.challenge.render().decode('latin-1')}"
        return "" if len(text) > LONGEST or "\0" in text else text


def read_nonce(text: str) -> Nonce | None:
    """The nonce that a row holds, if there is one."""
    status, _, rest = text.partition(" ")
    count, _, value = rest.partition(" ")
    try:
        return Nonce(Challenge.parse(value.encode("latin-1")), int(count), status == "407") if value else None
    except (ParseError, ValueError):
        return None


class Reuse:
    """Which servers take a nonce again."""

    def __init__(self) -> None:
        self._refused: dict[str, int] = {}
        self._passed: dict[str, int] = {}

    def worthwhile(self, server: str) -> bool:
        """Whether a nonce that was just accepted there is worth keeping."""
        if self._refused.get(server, 0) < FRUITLESS:
            return True
        passed = self._passed[server] = self._passed.get(server, 0) + 1
        return passed % TRY_AGAIN == 0

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
