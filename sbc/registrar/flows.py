"""Which user is awake on which flow: RAM for what is awake only."""

from __future__ import annotations

from dataclasses import dataclass

from sbc.push.tokens import PushToken
from sbc.transport.flow import Flow

MAX_FLOWS = 500_000
"""Flows remembered at once, about 300 bytes each; beyond it the oldest generation goes first."""

GENERATION = 60.0
"""Seconds of one generation of datagram flows: one not heard for two generations is forgotten."""


@dataclass(frozen=True, slots=True)
class Resident:
    """The user whose device registered on a flow, as text; `identity` and `contact` are the device's."""

    username: str
    domain: str
    upper: str
    identity: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True)
class Awake:
    """The news that a device has registered: its user, its identity and where it is now."""

    user_id: int
    binding_id: int | None
    username: str
    domain: str
    upper: str
    identity: str
    contact: str
    flow: Flow
    tokens: tuple[PushToken, ...]


class LiveFlows:
    """The residents of flows, by flow token. Connections are forgotten when they end, datagram flows by age."""

    def __init__(self) -> None:
        self._streams: dict[str, Resident] = {}
        self._young: dict[str, Resident] = {}
        self._old: dict[str, Resident] = {}
        self._turned = 0.0

    def __len__(self) -> int:
        return len(self._streams) + len(self._young) + len(self._old)

    def settle(self, token: str, reliable: bool, resident: Resident, now: float) -> None:
        """A device of this user registered on the flow."""
        if reliable:
            if len(self._streams) < MAX_FLOWS:
                self._streams[token] = resident
            return
        self._turn(now)
        self._young[token] = resident

    def resident(self, token: str, now: float) -> Resident | None:
        """Who is on this flow, if anybody registered there."""
        found = self._streams.get(token) or self._young.get(token)
        if found is None:
            found = self._old.get(token)
            if found is not None:
                self._turn(now)
                self._young[token] = found
        return found

    def leave(self, token: str) -> None:
        """The flow ended, or its device unregistered."""
        self._streams.pop(token, None)
        self._young.pop(token, None)
        self._old.pop(token, None)

    def age(self, now: float) -> None:
        """Let datagram flows grow old; called now and then."""
        self._turn(now)

    def _turn(self, now: float) -> None:
        if now - self._turned >= GENERATION or len(self._young) >= MAX_FLOWS // 2:
            self._turned = now
            self._old = self._young
            self._young = {}
