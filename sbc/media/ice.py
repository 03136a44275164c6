"""ICE-lite (RFC 8445): connectivity checks are answered, never made; the peer, a full agent, chooses.  [pure]

A source counts as valid once it sent a check signed with our password; nothing else on the port is believed. The checks
that go on for the whole call are also the peer's consent (RFC 7675) to be sent media: without one for `CONSENT` seconds
it is taken for gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sbc.media import stun
from sbc.media.latch import Source

#: Seconds without a check after which consent is lost (RFC 7675 section 5.1).
CONSENT = 30.0
#: Valid sources remembered: the pairs that a peer tries, a few per interface of its.
MAX_VALID = 16


@dataclass(frozen=True, slots=True)
class Credentials:
    """User fragment and password of one agent."""

    ufrag: bytes
    password: bytes = field(repr=False)


class IceLite:
    """One component. `local` is what descriptions show the peer; `selected` where to send (None: not known yet);
    `valid_at` when consent was last given."""

    __slots__ = ("_before", "_valid", "local", "remote_ufrag", "selected", "valid_at")

    def __init__(self, local: Credentials) -> None:
        self.local = local
        self._before: Credentials | None = None
        #: The peer's user fragment, once its description told.
        self.remote_ufrag: bytes | None = None
        self.selected: Source | None = None
        self.valid_at: float | None = None
        self._valid: dict[Source, None] = {}

    @property
    def memory(self) -> dict[str, Any]:
        """What `recall` needs, as JSON has it: passwords among it."""
        return {
            "local": _written(self.local),
            "before": None if self._before is None else _written(self._before),
            "remote": None if self.remote_ufrag is None else self.remote_ufrag.decode("latin-1"),
            "selected": self.selected,
            "valid": list(self._valid),
        }

    @classmethod
    def recall(cls, memory: Mapping[str, Any], now: float) -> IceLite:
        """One that goes on as the one did whose `memory` this is. Who was there has until `CONSENT` after `now` to come
        back."""
        ice = cls(_read(memory["local"]))
        ice._before = None if memory["before"] is None else _read(memory["before"])
        ice.remote_ufrag = None if memory["remote"] is None else memory["remote"].encode("latin-1")
        ice.selected = None if memory["selected"] is None else tuple(memory["selected"])
        ice._valid = {tuple(source): None for source in memory["valid"]}
        ice.valid_at = now if ice._valid else None
        return ice

    def restart(self, local: Credentials) -> None:
        """The peer restarts ICE: new credentials on our side too. What was valid stays so until something newer is, so
        that media goes on meanwhile (RFC 8445 section 9)."""
        self._before, self.local = self.local, local
        self.remote_ufrag = None

    def believes(self, source: Source) -> bool:
        """Whether this source has proven to be the peer."""
        return source in self._valid

    def consents(self, now: float) -> bool:
        """False once the peer is gone: it was there, and was not heard for `CONSENT` seconds."""
        return self.valid_at is None or now - self.valid_at < CONSENT

    def receive(self, data: bytes, source: Source, now: float) -> bytes | None:
        """The answer to a datagram that may be STUN, or None. Never raises.

        An answer to who has not proven to know the password is never larger than what it sent.
        """
        message = stun.parse(data)
        if message is None or message.kind != stun.BINDING_REQUEST:
            return None
        name = message.attributes.get(stun.USERNAME)
        if name is None or not message.has(stun.MESSAGE_INTEGRITY):
            return _small(stun.error(message, 400, b""), data)
        known = self._credentials(name)
        if known is None or not message.authentic(known.password):
            return _small(stun.error(message, 401, b""), data)
        if message.unknown:
            return stun.error(message, 420, b"Unknown Attribute", known.password)
        if message.has(stun.ICE_CONTROLLED):
            return stun.error(message, 487, b"Role Conflict", known.password)
        self._validate(source, message.has(stun.USE_CANDIDATE), known is self.local, now)
        return stun.success(message, source[0], source[1], known.password)

    def _credentials(self, name: bytes) -> Credentials | None:
        """Ours that a username `ours:theirs` means."""
        ours, _, theirs = name.partition(b":")
        if ours == self.local.ufrag:
            return self.local if self.remote_ufrag in (None, theirs) else None
        if self._before is not None and ours == self._before.ufrag:
            return self._before
        return None

    def _validate(self, source: Source, nominated: bool, current: bool, now: float) -> None:
        self.valid_at = now
        self._valid.pop(source, None)
        self._valid[source] = None
        if len(self._valid) > MAX_VALID:
            del self._valid[next(iter(self._valid))]
        if current:
            self._before = None
        if (nominated and current) or self.selected is None:
            self.selected = source


def _written(credentials: Credentials) -> list[str]:
    return [credentials.ufrag.decode("latin-1"), credentials.password.decode("latin-1")]


def _read(words: list[str]) -> Credentials:
    return Credentials(*(word.encode("latin-1") for word in words))


def _small(answer: bytes, question: bytes) -> bytes | None:
    return answer if len(answer) <= len(question) else None
