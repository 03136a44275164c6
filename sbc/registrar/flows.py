"""Which user is awake on which flow: RAM for what is awake only.

A flow is one phone's, most often. Over the connection of a proxy between come many phones, over a phone's own several
accounts: then the Contact or the From of a request tells whose it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sbc.push.tokens import PushToken
from sbc.store.records import device_of
from sbc.transport.flow import Flow

MAX_FLOWS = 500_000
"""Flows remembered at once of either kind, about 400 bytes each; beyond it connections are not remembered, and the
datagram flow that was looked at the longest ago is forgotten."""

MAX_CROWD = 200_000
"""Devices remembered on one flow, about 1 kB each: more phones than a proxy before us serves over one connection."""

MAX_REROUTED = 100_000
"""Users whose newest Service-Route is remembered until they register again, about 300 bytes each."""

SILENCE = 120.0
"""Seconds without any datagram, keep-alives included, after which the address may be somebody else's behind a NAT."""

ROUND = 60
"""Calls of `age`, one a second, in which every datagram flow is looked at."""


@dataclass(frozen=True, slots=True)
class Resident:
    """The user whose device registered on a flow, as text; `identity` and `contact` are the device's.

    `service_route` are the Route values that the server `held_by` wants in its requests (RFC 3608).
    """

    username: str
    domain: str
    upper: str
    identity: str = ""
    contact: str = ""
    service_route: tuple[bytes, ...] = ()
    held_by: str = ""

    @property
    def device(self) -> str:
        """The device, whichever of its flows this is."""
        return device_of(self.identity)


@dataclass(frozen=True, slots=True)
class Awake:
    """The news that a device has registered: its user, its identity and where it is now.

    `path` are the Route values toward it (RFC 3327), `q` its preference.
    """

    user_id: int
    binding_id: int | None
    username: str
    domain: str
    upper: str
    identity: str
    contact: str
    flow: Flow
    tokens: tuple[PushToken, ...]
    path: tuple[bytes, ...] = ()
    q: float = 1.0

    @property
    def device(self) -> str:
        """The device, whichever of its flows this is."""
        return device_of(self.identity)


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
        self._streams: dict[str, Resident | Crowd] = {}
        self._datagrams: dict[str, _Lodging] = {}
        """The one that was looked at the longest ago comes first."""
        self._rerouted: dict[tuple[str, str], tuple[str, tuple[bytes, ...]]] = {}

    def __len__(self) -> int:
        return len(self._streams) + len(self._datagrams)

    def settle(self, flow: Flow, resident: Resident, now: float, seconds: float) -> None:
        """A device of this user registered on the flow for so many seconds. Nobody lives on a connection that ended."""
        if not flow.open:
            return
        self._rerouted.pop((resident.username, resident.domain), None)
        token = flow.token
        if flow.reliable:
            known = self._streams.get(token)
            if known is not None or len(self._streams) < MAX_FLOWS:
                self._streams[token] = _joined(known, resident, now, now + seconds)
            return
        lodging = self._datagrams.pop(token, None)
        if len(self._datagrams) >= MAX_FLOWS:
            del self._datagrams[next(iter(self._datagrams))]
        former = lodging.resident if lodging is not None and lodging.until > now else None
        until = max(now + seconds, lodging.until) if lodging is not None and former is not None else now + seconds
        joined = _joined(former, resident, now, now + seconds)
        self._datagrams[token] = _Lodging(flow, joined, until if isinstance(joined, Crowd) else now + seconds)

    def resident(self, token: str, now: float, username: str = "", contact: str = "") -> Resident | None:
        """Who is on this flow, if anybody registered there. Where several did: the one with this Contact URI, else the
        one of this name; nobody where neither is known."""
        found = self._streams.get(token)
        if found is None:
            lodging = self._datagrams.get(token)
            found = lodging.resident if lodging is not None and lodging.until > now else None
        if isinstance(found, Crowd):
            found = found.find(username, contact, now)
        newest = self._rerouted.get((found.username, found.domain)) if found is not None and self._rerouted else None
        if found is None or newest is None:
            return found
        return replace(found, held_by=newest[0], service_route=newest[1])

    def reroute(self, username: str, domain: str, held_by: str, service_route: tuple[bytes, ...]) -> None:
        """A refresh of ours brought this user another Service-Route, or another server that holds the registration."""
        self._rerouted.pop((username, domain), None)
        while len(self._rerouted) >= MAX_REROUTED:
            del self._rerouted[next(iter(self._rerouted))]
        self._rerouted[username, domain] = held_by, service_route

    def leave(self, token: str, username: str | None = None, identity: str | None = None) -> None:
        """The flow ended; or, with a name, this user is not on it any more, or only this device of it."""
        known: Resident | Crowd | None = self._streams.get(token)
        if known is None and token in self._datagrams:
            known = self._datagrams[token].resident
        if username is not None and isinstance(known, Crowd):
            known.leave(username, identity)
            if known:
                return
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


class Crowd:
    """Several devices on one flow, each until its registration ends (monotonic seconds)."""

    __slots__ = ("_by_name", "_by_place", "_looked_at", "_residents")

    def __init__(self) -> None:
        self._residents: dict[tuple[str, str], tuple[Resident, float]] = {}
        self._by_place: dict[str, tuple[str, str]] = {}
        self._by_name: dict[str, dict[str, None]] = {}
        """Identities by name; the one that came last is the last."""
        self._looked_at = 0

    def __len__(self) -> int:
        return len(self._residents)

    def settle(self, resident: Resident, now: float, until: float) -> None:
        """This device is here too."""
        if len(self._residents) > 2 * self._looked_at + 8:
            for (username, identity), (_, ends) in tuple(self._residents.items()):
                if ends <= now:
                    self.leave(username, identity)
            self._looked_at = len(self._residents)
        key = (resident.username, resident.identity)
        if key not in self._residents and len(self._residents) >= MAX_CROWD:
            return
        former, _ = self._residents.get(key, (None, 0.0))
        if former is not None and self._by_place.get(_place(former.contact)) == key:
            del self._by_place[_place(former.contact)]
        self._residents[key] = resident, until
        self._by_place[_place(resident.contact)] = key
        named = self._by_name.setdefault(resident.username, {})
        named.pop(resident.identity, None)
        named[resident.identity] = None

    def find(self, username: str, contact: str, now: float) -> Resident | None:
        """The device of this Contact URI, else the one of that name which came last."""
        key = self._by_place.get(_place(contact)) if contact else None
        if key is None and username in self._by_name:
            key = (username, next(reversed(self._by_name[username])))
        found, until = self._residents[key] if key is not None else (None, 0.0)
        return found if until > now else None

    def leave(self, username: str, identity: str | None) -> None:
        """This device is gone; with None all of the user."""
        named = self._by_name.get(username, {})
        for gone in tuple(named) if identity is None else (identity,):
            resident, _ = self._residents.pop((username, gone), (None, 0.0))
            if resident is None:
                continue
            if self._by_place.get(_place(resident.contact)) == (username, gone):
                del self._by_place[_place(resident.contact)]
            del named[gone]
        if not named:
            self._by_name.pop(username, None)


class _Lodging:
    """Who lives on a datagram flow, and until when at the longest (monotonic seconds)."""

    __slots__ = ("flow", "resident", "until")

    def __init__(self, flow: Flow, resident: Resident | Crowd, until: float) -> None:
        self.flow = flow
        self.resident = resident
        self.until = until


def _joined(known: Resident | Crowd | None, resident: Resident, now: float, until: float) -> Resident | Crowd:
    """Who is on a flow once this device has registered there. A phone that comes by another identity is no second one:
    it has the Contact that it had."""
    if known is None:
        return resident
    if isinstance(known, Resident):
        same = known.username == resident.username and known.domain == resident.domain
        if same and (known.identity == resident.identity or _place(known.contact) == _place(resident.contact)):
            return resident
        crowd = Crowd()
        crowd.settle(known, now, until)
        known = crowd
    known.settle(resident, now, until)
    return known


def _place(contact: str) -> str:
    """A Contact URI without its parameters."""
    return contact.partition(";")[0].partition(":")[2].lower()
