"""Which user is awake on which flow: RAM for what is awake only."""

from __future__ import annotations

from dataclasses import dataclass

from sbc.push.tokens import PushToken
from sbc.transport.flow import Flow

MAX_FLOWS = 500_000
"""Flows remembered at once of either kind, about 400 bytes each; beyond it connections are not remembered, and the
datagram flow that was looked at the longest ago is forgotten."""

SILENCE = 120.0
"""Seconds without any datagram, keep-alives included, after which the address may be somebody else's behind a NAT."""

ROUND = 60
"""Calls of `age`, one a second, in which every datagram flow is looked at."""


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


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The news that the upper server will not register a device: its user, its push tokens and the refusal."""

    username: str
    domain: str
    prids: frozenset[str]
    status: int


class LiveFlows:
    """The residents of flows, by flow token. Connections are forgotten when they end; datagram flows when nothing was
    heard of them for a while, keep-alives included, and at the latest with their registration."""

    def __init__(self) -> None:
        self._streams: dict[str, Resident] = {}
        self._datagrams: dict[str, _Lodging] = {}
        """The one that was looked at the longest ago comes first."""

    def __len__(self) -> int:
        return len(self._streams) + len(self._datagrams)

    def settle(self, flow: Flow, resident: Resident, now: float, seconds: float) -> None:
        """A device of this user registered on the flow for so many seconds. Nobody lives on a connection that ended."""
        if not flow.open:
            return
        token = flow.token
        if flow.reliable:
            if len(self._streams) < MAX_FLOWS:
                self._streams[token] = resident
            return
        self._datagrams.pop(token, None)
        if len(self._datagrams) >= MAX_FLOWS:
            del self._datagrams[next(iter(self._datagrams))]
        self._datagrams[token] = _Lodging(flow, resident, now + seconds)

    def resident(self, token: str, now: float) -> Resident | None:
        """Who is on this flow, if anybody registered there."""
        found = self._streams.get(token)
        if found is not None:
            return found
        lodging = self._datagrams.get(token)
        return lodging.resident if lodging is not None and lodging.until > now else None

    def leave(self, token: str) -> None:
        """The flow ended, or its device unregistered."""
        self._streams.pop(token, None)
        self._datagrams.pop(token, None)

    def age(self, now: float) -> None:
        """Forget datagram flows that are silent or whose registration is over.

        To be called every second: it looks at a part of them, so that each has its turn within a `ROUND`.
        """
        for _ in range(-(-len(self._datagrams) // ROUND)):
            token = next(iter(self._datagrams))
            lodging = self._datagrams.pop(token)
            if lodging.until > now and now - lodging.flow.heard_at <= SILENCE:
                self._datagrams[token] = lodging


class _Lodging:
    """Who lives on a datagram flow, and until when at the longest (monotonic seconds)."""

    __slots__ = ("flow", "resident", "until")

    def __init__(self, flow: Flow, resident: Resident, until: float) -> None:
        self.flow = flow
        self.resident = resident
        self.until = until
