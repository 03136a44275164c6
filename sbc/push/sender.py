"""One push from order to result: tries, deadline, authorization, environments, breaker. The same for all providers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import NamedTuple
from uuid import UUID

from twisted.internet.defer import Deferred

from sbc.push.breaker import Breaker
from sbc.push.credentials import App
from sbc.push.exchange import Exchange, LostError
from sbc.push.orders import Outcome, PushOrder, PushResult, PushType
from sbc.push.origins import Origin
from sbc.push.ports import DEAD, LIVE, SUSPECT, Meter, Recorder
from sbc.push.providers import Provider, RefusedError
from sbc.push.reactors import Clock
from sbc.push.templates import MessageTooLongError
from sbc.push.tokens import PRODUCTION, REMOTE, SANDBOX, PushToken
from sbc.push.waiting import CALL, MESSAGE, OTHER
from sbc.push.wire import Answer, Verdict

# Tries in all; a request that the provider surely did not look at (GOAWAY, refused stream) may go once more for free.
TRIES = 3
FREE_TRIES = 3
# Seconds for which a push is of use when the order names no deadline.
PATIENCE = {PushType.CALL: 30.0, PushType.CANCEL: 10.0}
PATIENCE_ELSE = 60.0

RANKS = {PushType.CHAT: MESSAGE, PushType.CUSTOM: MESSAGE}


class Pace(NamedTuple):
    """Seconds of patience with one try, and with all of them; seconds before the second try, doubled for the next, both
    with jitter.
    """

    one: float
    all: float
    pause: float


PRESSING = Pace(2.0, 6.0, 0.3)
"""Of a push that somebody waits for: a caller hears nothing meanwhile."""
UNHURRIED = Pace(5.0, 20.0, 1.0)
"""Of all others."""


class Surroundings:
    """What every push needs: clocks, chance, and who is told."""

    __slots__ = ("clock", "meter", "now_at", "random", "recorder", "remove_dead", "suspended", "ttl")

    def __init__(
        self,
        clock: Clock,
        now_at: Callable[[], float],
        random: Random,
        recorder: Recorder,
        meter: Meter,
        suspended: Callable[[App, str], None],
    ) -> None:
        self.clock, self.now_at, self.random = clock, now_at, random
        self.recorder, self.meter, self.suspended = recorder, meter, suspended
        self.ttl = 0.0
        self.remove_dead = True


class Sending:
    """One push on its way; ``start`` returns the Deferred of its result, which never fails."""

    __slots__ = (
        *("_app", "_around", "_began", "_breaker", "_deadline", "_done", "_exchange", "_flipped", "_free", "_order"),
        *(
            "_origin",
            "_pace",
            "_provider",
            "_push_id",
            "_recast",
            "_renewed",
            "_sent_at",
            "_token",
            "_tries",
            "_unsure",
        ),
    )

    def __init__(
        self, around: Surroundings, provider: Provider, app: App, breaker: Breaker, order: PushOrder, token: PushToken
    ) -> None:
        self._around, self._provider, self._app, self._breaker = around, provider, app, breaker
        self._order, self._token = order, token
        self._done: Deferred[PushResult] | None = Deferred()
        self._began = around.clock.seconds()
        self._sent_at = around.now_at()
        self._pace = PRESSING if order.pressing else UNHURRIED
        patience = order.deadline - self._sent_at if order.deadline else PATIENCE.get(order.type, PATIENCE_ELSE)
        self._deadline = self._began + min(patience, self._pace.all)
        self._push_id = str(UUID(int=around.random.getrandbits(128), version=4))
        self._tries = self._free = 0
        self._flipped = self._renewed = self._recast = self._unsure = False
        self._origin: Origin | None = None
        self._exchange: Exchange | None = None

    def start(self) -> Deferred[PushResult]:
        done = self._done
        assert done is not None
        if not self._breaker.allows(self._began):
            self._finish(Outcome.BREAKER_OPEN, reason=self._breaker.reason)
        else:
            self._try()
        return done

    def _try(self) -> None:
        now_at = self._around.now_at()
        if self._around.clock.seconds() >= self._deadline:
            self._breaker.spared()
            self._finish(Outcome.DEADLINE, reason="the moment has passed")
            return
        wanted = self._order.wanted
        if wanted is not None and not wanted():
            self._breaker.spared()
            self._finish(Outcome.DEADLINE, reason="not wanted any more")
            return
        try:
            authorization = self._provider.authorization(self._app, self._token, now_at)
        except RefusedError as error:
            self._refuse(str(error))
            return
        if authorization == b"":
            self._provider.wait(self._app, now_at, self._authorized)
        else:
            self._post(authorization or b"")

    def _authorized(self, authorization: bytes, trouble: Verdict | None) -> None:
        if trouble is not None:
            self._tries += 1
            self._failed(trouble, 0)
        else:
            self._post(authorization)

    def _post(self, authorization: bytes) -> None:
        around, order, token = self._around, self._order, self._token
        now_at = around.now_at()
        left = self._deadline - around.clock.seconds()
        ttl = around.ttl
        if ttl and order.deadline and (order.pressing or order.type is PushType.CANCEL):
            # A phone that comes back later must not ring for a caller who has gone.
            ttl = min(ttl, max(0.0, order.deadline - now_at))
        try:
            self._origin = self._provider.origin(self._app, token)
            post = self._provider.build(order, token, self._app, self._push_id, authorization, int(ttl), now_at)
        except RefusedError as error:
            self._refuse(str(error))
            return
        except MessageTooLongError as error:
            self._breaker.spared()
            self._finish(Outcome.PAYLOAD_ERROR, reason=str(error))
            return
        self._tries += 1
        within = max(0.0, min(left, self._pace.one))
        rank = CALL if order.pressing else RANKS.get(order.type, OTHER)
        self._exchange = self._origin.post(post, rank, within, self._answered)

    def _answered(self, answer: Answer | LostError) -> None:
        if isinstance(answer, Answer):
            self._judge(self._provider.classify(answer, self._around.now_at()), answer.status)
        elif answer.final:
            self._refuse(answer.reason)
        elif not answer.processed and self._free < FREE_TRIES and self._was_sent():
            self._free += 1
            self._tries -= 1
            self._try()
        else:
            self._unsure = self._unsure or (answer.processed and self._was_sent())
            self._failed(Verdict(Outcome.RETRY, answer.reason, again=True), 0)

    def _was_sent(self) -> bool:
        """Whether it got as far as a connection: then there is no reason to wait before the next one."""
        return self._exchange is not None and self._exchange.connection is not None

    def _judge(self, verdict: Verdict, status: int) -> None:
        outcome = verdict.outcome
        if outcome is Outcome.ACCEPTED:
            self._breaker.succeeded()
            self._finish(outcome, status, state=LIVE)
        elif verdict.other_environment and not self._flipped:
            # The token may be of the other environment; what the first answer said is not held against anyone.
            self._flipped = True
            current = self._token.environment or self._app.environment
            self._token = replace(self._token, environment=PRODUCTION if current == SANDBOX else SANDBOX)
            self._tries -= 1
            self._try()
        elif verdict.other_kind and self._may_recast():
            self._try()
        elif outcome is Outcome.DEAD_TOKEN:
            self._dead(verdict, status)
        elif outcome is Outcome.PAYLOAD_ERROR:
            self._breaker.succeeded()
            self._finish(outcome, status, verdict.reason)
        else:
            self._failed(verdict, status)

    def _may_recast(self) -> bool:
        """An app that does not say what its Apple token is for: a call that it does not take as a VoIP push goes once
        more as an alert. What proves right is remembered.
        """
        if self._recast or self._token.kind or self._order.type is not PushType.CALL:
            return False
        self._recast = True
        self._token = replace(self._token, kind=REMOTE)
        self._tries -= 1
        return True

    def _dead(self, verdict: Verdict, status: int) -> None:
        self._breaker.succeeded()
        token, order = self._token, self._order
        if verdict.other_environment and not token.kind and order.type is not PushType.CALL:
            # A VoIP token takes nothing but VoIP pushes: the provider's word is about this message, not about the
            # token.
            self._finish(Outcome.CONFIG_ERROR, status, f"{verdict.reason}: the app gave only a VoIP token")
        elif verdict.gone_at and token.registered_at > verdict.gone_at:
            self._finish(Outcome.RETRY, status, f"{verdict.reason}, but registered again since", state=SUSPECT)
        else:
            state = DEAD if self._around.remove_dead else SUSPECT
            self._finish(Outcome.DEAD_TOKEN, status, verdict.reason, state=state)

    def _failed(self, verdict: Verdict, status: int) -> None:
        """A failure of the provider, of the way there, or of our configuration: try again if that can help in time."""
        connection = self._exchange.connection if self._exchange is not None else None
        if verdict.reconnect and self._origin is not None:
            self._origin.retire(connection, verdict.reason)
        if verdict.again and (not verdict.renew or self._may_renew()) and self._tries < TRIES:
            pause = self._pace.pause * 2 ** (self._tries - 1)
            pause *= self._around.random.uniform(0.75, 1.25)
            if verdict.renew:
                pause = 0.0
            if verdict.retry_after is not None:
                pause = max(pause, verdict.retry_after)
            if self._around.clock.seconds() + pause < self._deadline:
                self._around.clock.callLater(pause, self._try)
                return
        if verdict.token_only:
            self._breaker.succeeded()
            # A token that may be for calls alone, for nobody said, is not to blame for refusing anything else.
            blamed = self._order.type is PushType.CALL or not verdict.other_kind or self._token.kind != ""
            self._finish(verdict.outcome, status, verdict.reason, state=SUSPECT if blamed else "")
            return
        now = self._around.clock.seconds()
        if self._breaker.failed(now, verdict.reason, config=verdict.blame_app):
            self._around.suspended(self._app, verdict.reason)
        self._finish(verdict.outcome, status, verdict.reason)

    def _may_renew(self) -> bool:
        """A new bearer token once for each push."""
        if self._renewed:
            return False
        self._renewed = True
        return self._provider.renew(self._app, self._token, self._around.now_at())

    def _refuse(self, reason: str) -> None:
        self._breaker.spared()
        self._finish(Outcome.REFUSED, reason=reason)

    def _finish(self, outcome: Outcome, status: int = 0, reason: str = "", *, state: str = "") -> None:
        done, self._done = self._done, None
        if done is None:
            return
        around = self._around
        latency = around.clock.seconds() - self._began
        token = self._token
        result = PushResult(
            outcome=outcome,
            status=status,
            reason=reason,
            push_id=self._push_id,
            latency=latency,
            token=token,
            tries=self._tries,
            unsure=self._unsure and outcome in (Outcome.RETRY, Outcome.DEADLINE),
        )
        around.meter.pushed(self._app.provider, token.param, self._order.type, result)
        around.recorder.push_finished(
            self._order, result, provider=self._app.provider, app=token.param, sent_at=self._sent_at, state=state
        )
        done.callback(result)
