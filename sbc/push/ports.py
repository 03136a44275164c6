"""What the push room is given, and whom it tells, in its own words.  [pure]"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sbc.push.orders import PushOrder, PushResult, PushType
from sbc.push.settings import ApnsSettings, AppSettings, FcmSettings, PushSettings, RemoveOnSettings, WebPushSettings

# States of a token, as in the table `push_tokens`.
LIVE = "live"
SUSPECT = "suspect"  # the last push failed for a reason that lies in the token; still tried
DEAD = "dead"  # never tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class PushConfiguration:
    """All sections of this room."""

    push: PushSettings = field(default_factory=PushSettings)
    remove_on: RemoveOnSettings = field(default_factory=RemoveOnSettings)
    apps: tuple[AppSettings, ...] = ()
    apns: ApnsSettings = field(default_factory=ApnsSettings)
    fcm: FcmSettings = field(default_factory=FcmSettings)
    webpush: WebPushSettings = field(default_factory=WebPushSettings)


class Recorder(Protocol):
    """Who keeps the rows of ``pushes`` and the states of ``push_tokens``. Must return at once and not raise."""

    def push_finished(
        self, order: PushOrder, result: PushResult, *, provider: str, app: str, sent_at: float, state: str
    ) -> None:
        """One push is over, however it went. *sent_at*: UTC epoch seconds of ``send``. *state*: what the result's token
        (with the environment and kind that proved right) is now, ``""`` where nothing was learned of it.
        """


class Meter(Protocol):
    """Counters; called once for each push."""

    def pushed(self, provider: str, app: str, type: PushType, result: PushResult) -> None: ...  # noqa: A002


class Silent:
    """A recorder and a meter that keep nothing, for those who use this room alone."""

    def push_finished(
        self, order: PushOrder, result: PushResult, *, provider: str, app: str, sent_at: float, state: str
    ) -> None:
        return

    def pushed(self, provider: str, app: str, type: PushType, result: PushResult) -> None:  # noqa: A002
        return


Status = Mapping[str, object]
