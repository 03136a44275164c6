"""Requests inside dialogs whose receiver sleeps: who that is, its push, and the wait (RFC 8599 section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.observe import kinds
from sbc.proxy.dialog import Side
from sbc.proxy.story import Story
from sbc.proxy.target import push_tokens
from sbc.proxy.waiting import Waiting
from sbc.push.orders import Outcome, PushOrder, PushResult, PushType
from sbc.push.purr import said_purr
from sbc.push.service import PushService
from sbc.registrar.flows import Awake, TurnedAway
from sbc.sip.errors import ParseError
from sbc.sip.message import Request
from sbc.sip.uri import Uri
from sbc.sip.values import NameAddr
from sbc.store import queries
from sbc.store.records import Binding, Subscriber
from sbc.store.records import Target as Device
from sbc.store.service import Store

if TYPE_CHECKING:
    from sbc.proxy.attempt import Attempt

log = Logger()

DOUBT = 2.0
"""Seconds of silence after which a phone on a datagram flow is pushed: it may have lost that flow long ago."""

MAX_REASON = 100
"""Characters of a reason phrase."""

FRESH = 10.0
"""Seconds since a datagram flow was heard within which nobody doubts it."""


@dataclass(frozen=True, slots=True)
class Sleeper:
    """A device that a push can wake."""

    user: Subscriber
    device: Device

    @property
    def identity(self) -> str:
        """Its name among the user's devices."""
        return self.device.binding.device

    def is_(self, news: Awake) -> bool:
        """Whether this is the device that has registered: by its name, or by its token under another one."""
        prids = {token.prid for token in news.tokens}
        return news.device == self.identity or any(token.prid in prids for token in self.device.tokens)


class Held(Protocol):
    """A request that waits."""

    def woken(self, news: Awake) -> None:
        """Its receiver has registered."""

    def given_up(self, reason: str) -> None:
        """It will not come."""


class Sleepers:
    """Finds and wakes the devices at the ends of dialogs.

    `pushes(kind, device, awake, subscriber)`: whether the settings let a push go out.
    """

    def __init__(
        self,
        *,
        store: Store,
        push: PushService,
        waiting: Waiting,
        pushes: Callable[[PushType, Device, bool, Subscriber], bool],
        clock: Callable[[], float],
        clock_at: Callable[[], float],
        call_later: Callable[..., Any],
    ) -> None:
        self._store = store
        self._push = push
        self._waiting = waiting
        self._pushes = pushes
        self._clock = clock
        self._clock_at = clock_at
        self._call_later = call_later
        self._held: dict[tuple[int, str], int] = {}

    def hold(self, side: Side, request: Request, story: Story, wait: float, held: Held, since: float) -> Hold:
        """Wake the device at this side for a request; `held` hears what becomes of it within `wait` seconds.

        `since`: when it was last looked for; a registration from then on is news.
        """
        hold = Hold(self, request, story, wait, held, since)
        self._find(side).addCallbacks(hold.found, hold.broken)
        return hold

    def _find(self, side: Side) -> Deferred[Sleeper | None]:
        username, _, domain = side.user.rpartition("@")
        if not username:
            return succeed(None)
        found = self._store.read(lambda connection: queries.subscriber(connection, username, domain))
        return found.addCallback(self._choose, side)

    def registrations(self, side: Side) -> Deferred[list[Binding]]:
        """What the device at this side has registered, the latest first."""
        username, _, domain = side.user.rpartition("@")
        if not username:
            return succeed([])
        now_at = self._clock_at()

        def latest(user: Subscriber | None) -> list[Binding]:
            bindings = [device.binding for device in _devices(user, side)]
            valid = {each.id: each for each in bindings if each.expires_at > now_at}
            return sorted(valid.values(), key=lambda each: -each.seen_at)

        return self._store.read(lambda connection: queries.subscriber(connection, username, domain)).addCallback(latest)

    def _choose(self, user: Subscriber | None, side: Side) -> Sleeper | None:
        devices = _devices(user, side)
        if user is None or not devices or not self._pushes(PushType.REFRESH, devices[0], False, user):
            return None
        return Sleeper(user, devices[0])

    def wake(self, hold: Hold, sleeper: Sleeper) -> Deferred[PushResult] | None:
        """Push the device, unless another request has just done so. The push asks it to register, and rings nothing.

        It is as urgent as a call: somebody talks or wants to. The end of a call can wait a little.
        """
        key = (sleeper.user.user.id, sleeper.identity)
        self._waiting.enter(key[0], hold)
        first = not self._held.get(key)
        self._held[key] = self._held.get(key, 0) + 1
        if not first:
            return None
        request = hold.request
        order = PushOrder(
            type=PushType.REFRESH,
            tokens=push_tokens(sleeper.device),
            call_id=request.call_id.decode("utf-8", "replace"),
            from_user=request.from_.uri.username,
            to_user=sleeper.user.user.username,
            to_uri=f"sip:{sleeper.user.user.username}@{sleeper.user.user.domain}",
            deadline=self._clock_at() + hold.wait,
            user_id=key[0],
            wanted=lambda: not hold.over,
            urgent=request.method != b"BYE",
        )
        return self._push.send(order)

    def missed(self, hold: Hold, sleeper: Sleeper) -> list[Awake]:
        """Registrations of the user while it was being looked up."""
        return self._waiting.since(sleeper.user.user.id, hold.started, self._clock())

    def leave(self, hold: Hold, sleeper: Sleeper) -> None:
        """The request waits no more."""
        key = (sleeper.user.user.id, sleeper.identity)
        self._waiting.leave(key[0], hold)
        left = self._held.pop(key) - 1
        if left:
            self._held[key] = left

    def after(self, seconds: float, what: Callable[[], None]) -> Any:
        """Call `what` later."""
        return self._call_later(seconds, what)


class Hold:
    """One request that waits for one device."""

    __slots__ = ("_alarm", "_held", "_sleeper", "_sleepers", "_story", "over", "request", "started", "wait")

    def __init__(
        self, sleepers: Sleepers, request: Request, story: Story, wait: float, held: Held, started: float
    ) -> None:
        self._sleepers = sleepers
        self._story = story
        self._held = held
        self._sleeper: Sleeper | None = None
        self.request = request
        self.wait = wait
        self.started = started
        self.over = False
        self._alarm = sleepers.after(wait, partial(self._end, "the phone did not wake"))

    def found(self, sleeper: Sleeper | None) -> None:
        """The device is known, or cannot be woken."""
        if self.over:
            return
        if sleeper is None:
            self._end("its flow is gone and no push can wake it")
            return
        self._sleeper = sleeper
        method = self.request.method.decode("utf-8", "replace")
        self._story.note(kinds.WAITING, f"a {method} inside the dialog is held for {self.wait:g} s at most")
        sent = self._sleepers.wake(self, sleeper)
        for news in self._sleepers.missed(self, sleeper):
            self.woken(news, self.started)
        if sent is not None:
            self._story.note(kinds.PUSH_SENT, f"for a {method} inside the dialog")
            sent.addCallbacks(self._pushed, self.broken)

    def woken(self, news: Awake, now: float) -> None:
        """A device of the user registered."""
        if self.over or self._sleeper is None or not self._sleeper.is_(news):
            return
        self._story.note(kinds.WOKEN, f"{news.flow.transport.decode()} {news.flow.peer[0]}:{news.flow.peer[1]}")
        self.stop()
        self._held.woken(news)

    def turned_away(self, news: TurnedAway, now: float) -> None:
        """A device was refused by the upper server."""
        sleeper = self._sleeper
        if self.over or sleeper is None:
            return
        user, tokens = sleeper.user.user, sleeper.device.tokens
        if (user.username, user.domain) == (news.username, news.domain) and any(t.prid in news.prids for t in tokens):
            self._end(f"its REGISTER was answered {news.status}")

    def stop(self) -> None:
        """Nobody waits for it any more."""
        if self.over:
            return
        self.over = True
        if self._alarm.active():
            self._alarm.cancel()
        if self._sleeper is not None:
            self._sleepers.leave(self, self._sleeper)

    def broken(self, failure: Failure) -> None:
        """Our own trouble."""
        log.failure("a sleeping device could not be woken", failure)
        self._end("it could not be woken")

    def _pushed(self, result: PushResult) -> None:
        accepted = result.outcome is Outcome.ACCEPTED
        kind = kinds.PUSH_ACCEPTED if accepted else kinds.PUSH_FAILED
        self._story.note(kind, f"{result.outcome.value}: {result.status} {result.reason}".rstrip())
        if not accepted and not result.unsure:
            self._end(f"no push: {result.reason}"[:MAX_REASON])

    def _end(self, reason: str) -> None:
        if not self.over:
            self.stop()
            self._held.given_up(reason)


def _devices(user: Subscriber | None, side: Side) -> list[Device]:
    """The registrations of the device that this side is: by the PURR of its Contact, then by what it registered as."""
    if user is None:
        return []
    purr = purr_of(side.target)
    devices = [device for device in user.targets if any(token.purr == purr for token in device.tokens if purr)]
    flows = [device for device in user.targets if device.binding.device == side.device]
    return devices + sorted(flows, key=lambda device: not device.tokens)


def by_purr(request: Request, user: Subscriber) -> Device | None:
    """The device of the user whose PURR stands in the Request-URI or a Route of a request (RFC 8599 section 6.2)."""
    purrs = {purr_of(request.uri)}
    for value in request.each(b"route"):
        if value.find(b"pn-purr") >= 0:
            purrs.add(purr_of(NameAddr.parse(value).uri.render()))
    purrs.discard("")
    found = (device for device in user.targets if purrs and any(token.purr in purrs for token in device.tokens))
    return next(found, None)


def alone(attempt: Attempt, user: Subscriber, devices: tuple[Device, ...]) -> Subscriber:
    """The user with these devices alone, for a request that means them and no others. It wakes them whatever it is, as
    one inside a dialog would: who sends it has been told of the very device."""
    attempt.grows = False
    if attempt.kind is None:
        attempt.kind = PushType.REFRESH
    return replace(user, targets=devices)


def purr_of(target: bytes) -> str:
    """The PURR in a Contact URI (RFC 8599 §6.1.1), or ``""``."""
    if target.find(b"pn-purr") < 0:
        return ""
    try:
        return said_purr(Uri.parse(target).params.get(b"pn-purr"))
    except ParseError:
        return ""
