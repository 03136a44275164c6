"""Whether a push goes out at all.  [pure]"""

from __future__ import annotations

from typing import NamedTuple

from sbc.push.orders import PushType
from sbc.push.settings import PushSettings

# Load level (0 low … 4 extreme) from which settings `auto` and `on` send no more pushes: each wakes a phone that will
# register.
HIGH_LOAD = 3


class Decision(NamedTuple):
    """``push``: yes or no; ``reason``: why, in the operator's words."""

    push: bool
    reason: str


def decide(
    settings: PushSettings,
    kind: PushType,
    *,
    awake: bool,
    load: int = 0,
    ready: bool = True,
    offline_for: float = 0.0,
) -> Decision:
    """Should a push of *kind* go to a device?

    *awake*: its flow is known to be alive. *load*: 0 low … 4 extreme. *ready*: usable credentials for its app exist.
    *offline_for*: seconds since the user's last sign of life.
    """
    level = _level(settings, kind)
    if level == "off":
        return Decision(False, f"switched off for {kind.word}")
    if not ready:
        return Decision(False, "no credentials for the app")
    if settings.client_max_offline_days and offline_for > settings.client_max_offline_days:
        return Decision(False, "no sign of life for too long")
    if kind is PushType.CUSTOM:
        return Decision(True, "asked for by the operator")
    if awake and level != "all":
        return Decision(False, "awake")
    if load >= HIGH_LOAD and level not in ("always", "all"):
        return Decision(False, "suspended at high load")
    return Decision(True, "looks alive, pushed all the same" if awake else "asleep")


def _level(settings: PushSettings, kind: PushType) -> str:
    """The setting that rules this kind; a cancel push needs pushes to be on at all."""
    if settings.enabled == "off":
        return "off"
    if kind is PushType.CHAT:
        return settings.chat
    if kind is PushType.CANCEL:
        return settings.cancel
    return settings.enabled
