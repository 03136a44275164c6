"""The words between the push room and those who ask it to wake a device.  [pure]"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from sbc.push.tokens import PushToken


class PushType(enum.IntEnum):
    """What the push is about; the number is the template's TYPE."""

    CALL = 0
    CHAT = 1
    CANCEL = 2
    CUSTOM = 3
    REFRESH = 4

    @property
    def word(self) -> str:
        """Lower-case name for metrics and rows."""
        return self.name.lower()


class Outcome(enum.Enum):
    """How one push ended. Only ``ACCEPTED`` means that the provider took it."""

    ACCEPTED = "accepted"
    RETRY = "retry"  # a passing failure, and the tries or the time ran out
    DEAD_TOKEN = "dead_token"  # noqa: S105 - the provider says that the token will never work again
    CONFIG_ERROR = "config_error"  # the operator must act: key, certificate, topic, project
    PAYLOAD_ERROR = "payload_error"  # the provider refuses what we say, not to whom
    BREAKER_OPEN = "breaker_open"  # too many failures just now: not tried
    DEADLINE = "deadline"  # the moment had passed before it could be sent
    REFUSED = "refused"  # not sent by our own choice: no token, no app, queue full, forbidden address
    LIMITED = "limited"  # not sent: this device, caller or app has had its pushes for this minute


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOrder:
    """A wish to wake one device.

    ``tokens``: the tokens of *one* device, one of which is used. ``deadline``: UTC epoch seconds after which the push
    is pointless (the caller is gone); 0 = the default of the type. ``wanted`` is asked before each try (``None``:
    always): a push after the caller has gone, or the device woke by itself, would ring for nobody. ``call_id`` becomes
    the collapse id: two pushes about one call are shown once. ``once`` names the request that the push is about: while
    one push about it is under way to a device, or was accepted a moment ago, no second one goes there (until a
    cancel has named it, too); ``""``: send it in any case. ``urgent``: somebody waits for the device, so a push that is
    no call is as quick and as loud to the provider as one. All texts are plain Unicode of any length; they are escaped
    and cut to the provider's limits.
    """

    type: PushType
    tokens: tuple[PushToken, ...]
    call_id: str = ""
    from_uri: str = ""
    from_user: str = ""
    from_display: str = ""
    to_uri: str = ""
    to_user: str = ""
    title: str = ""
    body: str = ""
    message: str = ""
    sound: str = ""
    deadline: float = 0.0
    user_id: int | None = None
    wanted: Callable[[], bool] | None = None
    once: str = ""
    urgent: bool = False

    @property
    def pressing(self) -> bool:
        """Whether somebody hears nothing until the device comes."""
        return self.urgent or self.type is PushType.CALL


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """How it went. ``status``: the provider's HTTP status, 0 when none came. ``latency``: seconds from ``send`` to now.

    ``token``: the token used, with its environment as it proved right (``None`` when none fitted). ``unsure``: the
    provider got the push and kept silent, so that it may have reached the device all the same.
    """

    outcome: Outcome
    status: int = 0
    reason: str = ""
    push_id: str = ""
    latency: float = 0.0
    token: PushToken | None = None
    tries: int = 0
    unsure: bool = False

    @property
    def accepted(self) -> bool:
        return self.outcome is Outcome.ACCEPTED
