"""Where a request can go: the devices of a user, or an upper server. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sbc.proxy.branch import Candidate
from sbc.push.orders import PushType
from sbc.push.tokens import PushToken
from sbc.sip.uri import Uri
from sbc.store.records import Subscriber
from sbc.store.records import Target as Device
from sbc.upper.servers import UpperServer


@dataclass(slots=True)
class Target:
    """One place to send a request to.

    `uri` is the Request-URI there, `flow` where it goes now (None: an upper server that is yet to be reached, or a
    device that sleeps), `quiet` a flow where it may be all the same, `tokens` wake it, `woken` that it registered after
    the request came, `wakes` how long it took on earlier pushes (`push.habits`). Of an upper server: the name `called`
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
    called: str = ""
    rang_after: float | None = None
    leg: Any = field(default=None, repr=False)
    txn: Any = field(default=None, repr=False)
    sent: Any = field(default=None, repr=False)


PUSH_TYPES = {b"INVITE": PushType.CALL, b"MESSAGE": PushType.CHAT}
"""The methods that wake a phone (RFC 8599 §5.2 has requests that start something), and by what kind of push."""


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

    `quiet`: it counts as asleep, but was heard not so long ago.
    """

    flow: Any
    awake: bool
    quiet: bool = False


def candidates(
    subscriber: Subscriber,
    *,
    reach: Callable[[Device], Reach],
    pushes: Callable[[Device, bool], bool],
    now_at: float,
) -> list[Candidate[Target]]:
    """The user's devices as targets.

    `reach` finds a device's flow; `pushes(device, awake)` says whether the settings let a push go out to it. A device
    without push whose binding has expired is no target.
    """
    found = []
    for device in subscriber.targets:
        binding = device.binding
        tokens = push_tokens(device)
        here = reach(device)
        expired = binding.expires_at <= now_at
        if not tokens and (expired or here.flow is None):
            continue
        awake = here.flow is not None and (here.awake or not tokens) and not expired
        wants_push = bool(tokens) and pushes(device, awake)
        if tokens and not wants_push and not awake and here.flow is not None and not expired:
            awake = True
        target = Target(
            binding.contact.encode(),
            f"{binding.transport} {binding.source}",
            here.flow if awake else None,
            None,
            tokens,
            quiet=here.flow if here.quiet and not awake and not expired else None,
            wakes=max((token.wakes for token in device.tokens), key=len, default=""),
        )
        may_push = bool(tokens) and (wants_push or pushes(device, False))
        found.append(Candidate(binding.identity, target, awake, may_push, awake and wants_push))
    return found
