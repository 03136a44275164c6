"""Makes the engine that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sbc.media.engine import Engine
from sbc.media.inline import InlineEngine
from sbc.media.process import ProcessEngine
from sbc.media.rtpengine.engine import RtpengineEngine
from sbc.media.settings import MediaSettings
from sbc.media.spread import Spread


def make_engine(settings: MediaSettings, reactor: Any, state: Path) -> Engine:
    """The engine of a node whose state directory is `state`; nothing is started yet.

    A node that relays nothing needs no other process; should a reload change that, its relay is in this one.
    """
    if settings.engine == "inline" or settings.relay == "never":
        return InlineEngine(settings, reactor)
    if settings.engine == "rtpengine":
        return RtpengineEngine(settings, reactor)
    if settings.workers > 1:
        return Spread(settings, reactor, state.absolute(), settings.engine)
    return ProcessEngine(settings, reactor, state, settings.engine)
