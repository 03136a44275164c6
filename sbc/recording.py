"""What the push room reports, as rows of the database and as metrics."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.observe.metrics import Metrics
from sbc.push.orders import Outcome, PushOrder, PushResult, PushType
from sbc.push.ports import DEAD, LIVE, PushConfiguration
from sbc.push.settings import ApnsSettings, AppSettings, FcmSettings, PushSettings, RemoveOnSettings, WebPushSettings
from sbc.settings import Configuration
from sbc.sip.errors import RemoteError
from sbc.store.operation import Operation
from sbc.store.operations import MarkToken
from sbc.store.pushes import NotePush
from sbc.store.records import Push
from sbc.store.service import Store
from sbc.transport.address import split_host_port
from sbc.transport.settings import ListenSettings

log = Logger()

REASON = 60
"""Characters of a provider's reason that make a time series: Apple's and Google's are words, others write sentences."""


def push_configuration(configuration: Configuration) -> PushConfiguration:
    """The sections that the push room reads."""
    return PushConfiguration(
        push=configuration[PushSettings],
        remove_on=configuration[RemoveOnSettings],
        apps=configuration.each(AppSettings),
        apns=configuration[ApnsSettings],
        fcm=configuration[FcmSettings],
        webpush=configuration[WebPushSettings],
    )


def own_addresses(configuration: Configuration) -> frozenset[str]:
    """What peers are told of this SBC: no Web Push subscription may lead there."""
    listens = configuration.each(ListenSettings)
    told = [value for listen in listens for value in (listen.advertise or listen.uri.partition(":")[2]).split(",")]
    return frozenset(split_host_port(value)[0] for value in told)


class PushRecords:
    """A recorder and a meter for `PushService`."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def push_finished(
        self, order: PushOrder, result: PushResult, *, provider: str, app: str, sent_at: float, state: str
    ) -> None:
        """One push is over: a row in `pushes`, and what its token proved to be."""
        row = Push(
            call_id=order.call_id,
            type=order.type.word,
            provider=provider,
            app=app,
            user_id=order.user_id,
            sent_at=sent_at,
            status=result.status,
            reason=result.reason,
            outcome=result.outcome.value,
            latency=result.latency,
        )
        self._write(NotePush(row, _mark(result, state, sent_at + result.latency)))

    def pushed(self, provider: str, app: str, type: PushType, result: PushResult) -> None:  # noqa: A002 - the port's
        """Count it."""
        metrics, outcome = self._metrics, result.outcome
        metrics.pushes.add(provider, type.word, outcome.value)
        metrics.push_seconds.observe(result.latency)
        if result.tries > 1:
            metrics.push_retries.add(provider, by=result.tries - 1)
        if outcome is not Outcome.ACCEPTED:
            metrics.push_failures.add(provider, app, result.reason[:REASON])
        if outcome is Outcome.DEAD_TOKEN:
            metrics.push_dead_tokens.add(provider)

    def _write(self, operation: Operation[Any]) -> None:
        self._store.write(operation).addErrback(self._lost)

    def _lost(self, failure: Failure) -> None:
        """A push that ends when the database has stopped, or is away, leaves no row: nobody's mistake."""
        if isinstance(failure.value, RemoteError):
            log.warn("a push could not be noted: {why}", why=failure.getErrorMessage())
        else:
            log.failure("a push could not be noted", failure)


def _mark(result: PushResult, state: str, at: float) -> MarkToken | None:
    token = result.token
    if not state or token is None:
        return None
    return MarkToken(
        provider=token.provider,
        param=token.param,
        prid=token.prid,
        at=at,
        accepted=state == LIVE,
        dead=state == DEAD,
        error=result.reason,
        environment=token.environment,
        kind=token.kind,
    )
