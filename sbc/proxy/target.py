"""Where a request can go: the devices of a user, or an upper server. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sbc.proxy.branch import Candidate
from sbc.push.orders import PushType
from sbc.push.tokens import PushToken
from sbc.registrar.flows import Awake
from sbc.sip.uri import Uri
from sbc.sip.values import NameAddr, split_commas
from sbc.store.records import Binding, Subscriber
from sbc.store.records import Target as Device
from sbc.upper.servers import UpperServer


@dataclass(slots=True)
class Target:
    """One place to send a request to.

    `uri` is the Request-URI there, `flow` where it goes now (None: an upper server or a proxy that is to be reached
    first, or a device that sleeps), `quiet` a flow where it may be all the same, `tokens` wake it, `woken` that it
    registered after the request came, `wakes` how long it took on earlier pushes (`push.habits`). `path` are the Route
    values toward a device behind a proxy, whose IP address is `edge` (RFC 3327). Of an upper server: the name `called`
    there, and after how many seconds it rang.
    """

    uri: bytes
    name: str
    flow: Any = None
    server: UpperServer | None = None
    tokens: tuple[PushToken, ...] = ()
    quiet: Any = None
    woken: bool = False
    wakes: str = ""
    path: tuple[bytes, ...] = ()
    edge: str = ""
    called: str = ""
    rang_after: float | None = None

    @property
    def way(self) -> tuple[object, ...]:
        """What differs where a request must be sent again to reach the device: behind a proxy more than the flow."""
        token = self.flow.token if self.flow is not None else ""
        return (token, self.uri, self.path) if self.path else (token,)

    def routed(self) -> tuple[bytes, tuple[bytes, ...]]:
        """Request-URI and Route values (RFC 3261 §16.6 steps 6 and 7)."""
        return through(self.path, self.uri)


def through(path: tuple[bytes, ...], uri: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Request-URI and Route values of a request for `uri` by this route set; a strict router in first place (no `lr`)
    gets the Request-URI, and the target goes last."""
    if not path:
        return uri, ()
    first = NameAddr.parse(path[0]).uri
    return (uri, path) if b"lr" in first.params else (first.render(), (*path[1:], b"<%s>" % uri))


def newcomer(news: Awake) -> Target:
    """A device that has just registered, as a target."""
    flow = news.flow
    return Target(
        news.contact.encode(),
        f"{flow.transport.decode()} {flow.peer[0]}:{flow.peer[1]}",
        flow,
        None,
        news.tokens,
        woken=True,
        path=news.path,
        edge=flow.peer[0],
    )


PUSH_TYPES = {b"INVITE": PushType.CALL, b"MESSAGE": PushType.CHAT}
"""The methods that wake a phone (RFC 8599 §5.6.2 has requests that start something), and by what kind of push."""


def push_tokens(device: Device) -> tuple[PushToken, ...]:
    """The tokens of a stored device that may be used: a dead one is never tried."""
    return tuple(
        PushToken(
            token.provider, token.param, token.prid, token.environment, token.kind, registered_at=token.registered_at
        )
        for token in device.tokens
        if token.state != "dead"
    )


def party(uri: Uri) -> str:
    """A caller or callee for people: `alice@example.test`, or the host alone."""
    return f"{uri.username}@{uri.address}" if uri.user is not None else uri.address


@dataclass(frozen=True, slots=True)
class Reach:
    """What is known of a device's flow right now: the flow if there is one, and whether it is believed to be alive.

    `quiet`: it counts as asleep, but was heard not so long ago. `behind`: a proxy stands between, that can be connected
    to where there is no flow.
    """

    flow: Any
    awake: bool
    quiet: bool = False
    behind: bool = False

    @property
    def there(self) -> bool:
        """Whether a request can be sent at all."""
        return self.flow is not None or self.behind


def candidates(
    subscriber: Subscriber,
    *,
    reach: Callable[[Device], Reach],
    pushes: Callable[[Device, bool], bool],
    now_at: float,
    by_q: bool = False,
) -> list[Candidate[Target]]:
    """The user's devices as targets, those of a higher q before the others if `by_q`.

    `reach` finds a device's flow; `pushes(device, awake)` says whether the settings let a push go out to it. A device
    without push whose binding has expired is no target. One that registered over several flows is one target, by the
    flow that is alive and was registered last; the others are its further `ways` (RFC 5626 §7).
    """
    devices: dict[str, list[Device]] = {}
    for each in subscriber.targets:
        devices.setdefault(each.binding.device, []).append(each)
    found = (_candidate(key, flows, reach, pushes, now_at) for key, flows in devices.items())
    return [each if by_q or each.q == 1.0 else replace(each, q=1.0) for each in found if each is not None]


def _candidate(
    key: str,
    flows: list[Device],
    reach: Callable[[Device], Reach],
    pushes: Callable[[Device, bool], bool],
    now_at: float,
) -> Candidate[Target] | None:
    known = [(each, reach(each), each.binding.expires_at <= now_at) for each in flows]
    known.sort(key=lambda way: (way[2] or not way[1].there, not way[1].awake, -way[0].binding.seen_at))
    best, here, expired = known[0]
    device = Device(best.binding, tuple(token for each in flows for token in each.tokens))
    tokens = push_tokens(device)
    if not tokens and (expired or not here.there):
        return None
    awake = here.there and (here.awake or not tokens) and not expired
    wants_push = bool(tokens) and pushes(device, awake)
    if tokens and not wants_push and not awake and here.there and not expired:
        awake = True
    wakes = max((token.wakes for token in device.tokens), key=len, default="")
    targets = [
        _target(each.binding, way.flow if awake else None, tokens, wakes)
        for each, way, gone in known
        if each is best or (awake and way.there and not gone)
    ]
    if here.quiet and not awake and not expired:
        targets[0].quiet = here.flow
    return Candidate(
        key,
        targets[0],
        awake,
        bool(tokens) and (wants_push or pushes(device, False)),
        awake and wants_push,
        q=best.binding.q,
        ways=tuple(targets[1:]),
        behind=here.behind,
    )


def _target(binding: Binding, flow: Any, tokens: tuple[PushToken, ...], wakes: str) -> Target:
    return Target(
        binding.contact.encode(),
        f"{binding.transport} {binding.source}",
        flow,
        None,
        tokens,
        wakes=wakes,
        path=tuple(split_commas(binding.path.encode())),
        edge=binding.source.rpartition(":")[0],
    )
