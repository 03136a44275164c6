"""How long dialogs last when nobody ends them: session timers, subscriptions, days of silence."""

from __future__ import annotations

from collections.abc import Callable

from sbc.observe import kinds
from sbc.proxy.dialog import Dialog, Dialogs, Leg
from sbc.proxy.ending import Endings
from sbc.proxy.lasting import Lasting
from sbc.proxy.session_timer import dead_at
from sbc.proxy.subscription import MAX_SUBSCRIPTIONS, subscribed_until
from sbc.sip.message import Request, Response

WATCH = 5.0
"""Seconds between two looks at session timers, whose shortest interval is 90 s."""


class Terms:
    """The dialogs and legs that end at some time. `clock` is monotonic seconds."""

    def __init__(self, dialogs: Dialogs, endings: Endings, lasting: Lasting, clock: Callable[[], float]) -> None:
        self._dialogs = dialogs
        self._endings = endings
        self._lasting = lasting
        self._clock = clock
        self.timers: dict[Dialog, None] = {}
        """Dialogs with a session timer."""
        self.subscriptions: dict[Leg, None] = {}
        """Legs that are no calls; each ends with its subscription."""

    @property
    def full(self) -> bool:
        """Whether no more subscriptions are taken."""
        return len(self.subscriptions) >= MAX_SUBSCRIPTIONS

    def timed(self, dialog: Dialog, request: Request, response: Response) -> None:
        """A 2xx inside this dialog, or the one that made it, may start or stop its session timer."""
        dialog.dead_at = dead_at(request, response, dialog.dead_at, self._clock())
        self._watched(dialog)

    def resume(self, dialog: Dialog) -> None:
        """A dialog was brought back after a restart."""
        self._watched(dialog)
        if not dialog.leg.story.invite:
            self.subscriptions[dialog.leg] = None

    def _watched(self, dialog: Dialog) -> None:
        if dialog.dead_at is None:
            self.timers.pop(dialog, None)
        else:
            self.timers[dialog] = None

    def subscribed(self, leg: Leg, request: Request, response: Response) -> None:
        """A response to a SUBSCRIBE or REFER, or to a NOTIFY, says how long its leg is needed."""
        if leg.story.invite:
            return
        leg.until = subscribed_until(request, response, leg.until, self._clock())
        self.subscriptions[leg] = None
        for dialog in leg.dialogs.values():
            self._lasting.changed(dialog)

    def watch(self) -> None:
        """End calls whose session timer ran out, forget legs silent for days; call it every `WATCH` s."""
        now = self._clock()
        for dialog in [dialog for dialog in self.timers if dialog.ended or (dialog.dead_at or 0.0) <= now]:
            del self.timers[dialog]
            if not dialog.ended:
                dialog.leg.story.note(kinds.TIMEOUT, "the session timer ran out")
                self._endings.end_both(dialog, b'SIP;cause=200;text="Session timer"', "sbc", "session timer")
        for leg in [leg for leg in self.subscriptions if leg.until is not None and leg.until <= now]:
            self._endings.close(leg, None)
        for leg in [leg for leg in self.subscriptions if self._dialogs.leg(leg.token) is not leg]:
            del self.subscriptions[leg]
        for leg in self._dialogs.idle(now):
            self._endings.end_leg(leg, b'SIP;cause=200;text="Silent too long"', "sbc", "silent too long")
            self._endings.close(leg, leg.story.call)
