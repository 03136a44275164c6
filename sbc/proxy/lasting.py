"""Keeps the dialogs of calls that last in the store, and brings them back after a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sbc.media.calls import MediaCalls
from sbc.observe.calllog import Call, CallLog
from sbc.proxy.dialog import Dialog, Dialogs
from sbc.proxy.keeping import restored, written
from sbc.proxy.story import Story
from sbc.store import queries
from sbc.store.journal import RemoveDialog, SaveDialog
from sbc.store.operation import Operation
from sbc.store.records import Dialog as Row
from sbc.store.service import Store
from sbc.transport.flow import Flow

log = Logger()

SETTLE = 1.0
"""Seconds between two writes: a call that is over sooner never gets to the store, a crash loses no older one."""


class Lasting:
    """The dialogs of this node in the store. `flow` finds a flow again by its token."""

    def __init__(
        self,
        *,
        dialogs: Dialogs,
        store: Store,
        log: CallLog,
        node: str,
        clock: Callable[[], float],
        clock_at: Callable[[], float],
        flow: Callable[[str], Flow | None],
        media: MediaCalls,
    ) -> None:
        self._dialogs = dialogs
        self._store = store
        self._log = log
        self._node = node
        self._clock = clock
        self._clock_at = clock_at
        self._flow = flow
        self._media = media
        self._young: list[Dialog] = []
        self._changed: list[Dialog] = []

    def changed(self, dialog: Dialog) -> None:
        """This dialog of a call is confirmed, or has new targets."""
        if dialog.leg.story.invite:
            self._changed.append(dialog)

    def ended(self, dialog: Dialog) -> None:
        """This dialog is over."""
        dialog.ended = True
        if dialog.kept:
            self.write(RemoveDialog(_key(dialog)))

    def settle(self) -> None:
        """Write the dialogs that changed before the last call; call it every `SETTLE` seconds."""
        due, self._young, self._changed = self._young, self._changed, []
        for dialog in due:
            if not dialog.ended:
                dialog.kept = True
                self.write(SaveDialog(self._row(dialog)))

    def restore(self) -> Deferred[int]:
        """Bring back what this node kept before it was restarted; how many dialogs."""
        return self._store.read(lambda connection: queries.dialogs(connection, self._node)).addCallback(self._restored)

    def _restored(self, rows: list[Row]) -> int:
        opened = 0
        for row in rows:
            call = Call(row.call_id, row.caller, row.callee, row.upper, row.started_at, answered_at=row.started_at)
            try:
                leg, media = restored(row.body, self._flow, Story(self._log, self._clock_at, call), self._clock())
            except ValueError as problem:
                log.warn("the dialog {id} is lost: {problem}", id=row.id, problem=problem)
                self.write(RemoveDialog(row.id))
                continue
            if media is not None:
                relaying = self._media.restore(leg.token.decode(), media)
                relaying.addErrback(lambda failure: log.failure("the media of a call is lost", failure))
            if self._dialogs.open(leg):
                self._log.resume(call)
                opened += 1
        return opened

    def _row(self, dialog: Dialog) -> Row:
        leg = dialog.leg
        call = leg.story.call
        assert call is not None
        return Row(
            id=_key(dialog),
            call_id=leg.a.call_id.decode("utf-8", "replace"),
            node=self._node,
            body=written(dialog, self._media.snapshot(leg.token.decode())),
            caller=call.caller,
            callee=call.callee,
            upper=call.upper,
            started_at=call.started_at,
            changed_at=self._clock_at(),
        )

    def write(self, operation: Operation[Any]) -> None:
        """Write what nobody waits for."""
        self._store.write(operation).addErrback(lambda failure: log.failure("a call could not be noted", failure))


def _key(dialog: Dialog) -> str:
    return f"{dialog.leg.token.decode()}/{dialog.tag.decode('utf-8', 'replace')}"
