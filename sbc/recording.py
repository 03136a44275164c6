"""What the push room reports, as rows of the database and as metrics."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.observe.metrics import Metrics
from sbc.push.orders import Outcome, PushOrder, PushResult, PushType
from sbc.push.ports import DEAD, LIVE, PushConfiguration
from sbc.push.settings import ApnsSettings, AppSettings, FcmSettings, PushSettings, RemoveOnSettings, WebPushSettings
from sbc.push.tokens import PushToken
from sbc.settings import Configuration
from sbc.sip.errors import RemoteError
from sbc.store.dead import RemoveDeadDevice
from sbc.store.journal import SavePush
from sbc.store.operation import Operation
from sbc.store.operations import MarkToken
from sbc.store.records import Push
from sbc.store.service import Store

log = Logger()


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


class PushRecords:
    """A recorder and a meter for `PushService`."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def push_finished(self, order: PushOrder, result: PushResult, *, provider: str, app: str, sent_at: float) -> None:
        """One push is over: a row in `pushes`."""
        self._write(
            SavePush(
                Push(
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
            )
        )

    def token_changed(self, token: PushToken, state: str, reason: str, at: float) -> None:
        """A token proved good, doubtful or dead."""
        self._write(
            MarkToken(
                provider=token.provider,
                param=token.param,
                prid=token.prid,
                at=at,
                accepted=state == LIVE,
                dead=state == DEAD,
                error=reason,
                environment=token.environment,
            )
        )
        if state == DEAD:
            self._write(RemoveDeadDevice(token.provider, token.param, token.prid))

    def pushed(self, provider: str, type: PushType, outcome: Outcome, seconds: float) -> None:  # noqa: A002 - the port's
        """Count it."""
        self._metrics.pushes.add(provider, type.word, outcome.value)
        self._metrics.push_seconds.observe(seconds)

    def _write(self, operation: Operation[Any]) -> None:
        self._store.write(operation).addErrback(self._lost)

    def _lost(self, failure: Failure) -> None:
        """A push that ends when the database has stopped, or is away, leaves no row: nobody's mistake."""
        if isinstance(failure.value, RemoteError):
            log.warn("a push could not be noted: {why}", why=failure.getErrorMessage())
        else:
            log.failure("a push could not be noted", failure)
