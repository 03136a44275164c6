"""Keeps the dialogs that last in the store, and brings them back after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
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
"""Seconds between two looks at dialogs that changed: what the first packets teach the relay is known by then."""

READ_WITHIN = 5.0
"""Seconds after a start in which requests inside dialogs wait until the dialogs are read back: less than the shortest
wait of a client for a final answer (32 s) leaves to bring it."""

MAX_READERS = 10_000
"""Requests that wait so: two seconds of more than this node can carry."""

SLICE = 200
"""Dialogs brought back in one turn of the reactor: about 20 ms."""


class Lasting:
    """The dialogs of this node in the store. `flow` finds a flow again by its token; `call_later` is the reactor's."""

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
        call_later: Callable[..., Any],
    ) -> None:
        self._dialogs = dialogs
        self._store = store
        self._log = log
        self._node = node
        self._clock = clock
        self._clock_at = clock_at
        self._flow = flow
        self._media = media
        self._call_later = call_later
        self._young: dict[Dialog, None] = {}
        self._changed: dict[Dialog, None] = {}
        self._reading = False
        self._readers: list[Callable[[bool], None]] = []

    def confirmed(self, dialog: Dialog) -> None:
        """This dialog stands: it is written at once, with the next commit, and again when its media has settled."""
        self._changed[dialog] = None
        if not dialog.ended:
            self._save(dialog)

    def changed(self, dialog: Dialog) -> None:
        """This dialog may have a new target, flow, session timer or media."""
        self._changed[dialog] = None

    def ended(self, dialog: Dialog) -> None:
        """This dialog is over."""
        dialog.ended = True
        if dialog.kept:
            self.write(RemoveDialog(_key(dialog)))

    def settle(self) -> None:
        """Write the dialogs that changed before the last call; call it every `SETTLE` seconds."""
        due, self._young, self._changed = self._young, self._changed, {}
        for dialog in due:
            if dialog.confirmed and not dialog.ended:
                self._save(dialog)

    # After a restart

    def restore(self, resume: Callable[[Dialog], None]) -> Deferred[int]:
        """Bring back what this node kept before it was restarted, each told to `resume`; how many dialogs."""
        self._reading = True
        patience = self._call_later(READ_WITHIN, self._read, False)
        rows = self._store.report(lambda connection: queries.dialogs(connection, self._node))
        back = rows.addCallback(lambda found: self._bring_back(iter(found), resume, 0, Deferred()))
        return back.addBoth(self._read_back, patience)

    def when_read(self, then: Callable[[bool], None]) -> bool:
        """Call `then` when the dialogs of before a restart are there, True, or cannot be waited for any longer, False.

        False: there is nothing to wait for, or too much that waits already.
        """
        if not self._reading or len(self._readers) >= MAX_READERS:
            return False
        self._readers.append(then)
        return True

    def _read_back(self, result: Any, patience: Any) -> Any:
        if patience.active():
            patience.cancel()
        self._read(True)
        return result

    def _read(self, there: bool) -> None:
        readers, self._readers, self._reading = self._readers, [], False
        for then in readers:
            then(there)

    def _bring_back(
        self, rows: Iterator[Row], resume: Callable[[Dialog], None], done: int, finished: Deferred[int]
    ) -> Deferred[int]:
        some = list(islice(rows, SLICE))
        done += sum(self._restored(row, resume) for row in some)
        if len(some) < SLICE:
            finished.callback(done)
        else:
            self._call_later(0, self._bring_back, rows, resume, done, finished)
        return finished

    def _restored(self, row: Row, resume: Callable[[Dialog], None]) -> bool:
        call = Call(row.call_id, row.caller, row.callee, row.upper, row.started_at, answered_at=row.started_at)
        try:
            story = Story(self._log, self._clock_at, call)
            dialog, media = restored(row.body, self._flow, story, self._clock(), self._clock_at())
        except ValueError as problem:
            log.warn("the dialog {id} is lost: {problem}", id=row.id, problem=problem)
            self.write(RemoveDialog(row.id))
            return False
        leg = dialog.leg
        known = self._dialogs.leg(leg.token)
        if known is not None:  # another dialog of one forked request
            dialog.leg = known
            known.dialogs[dialog.tag] = dialog
        else:
            if leg.until is not None:
                leg.story = Story(self._log, self._clock_at, None)
            if not self._dialogs.open(leg):
                return False
            if leg.story.invite:
                self._log.resume(call)
            if media is not None:
                relaying = self._media.restore(leg.token.decode(), media)
                relaying.addErrback(lambda failure: log.failure("the media of a call is lost", failure))
        dialog.kept = hash(row.body)
        resume(dialog)
        return True

    def _save(self, dialog: Dialog) -> None:
        leg = dialog.leg
        body = written(dialog, self._media.snapshot(leg.token.decode()), self._clock(), self._clock_at())
        if dialog.kept == hash(body):
            return
        dialog.kept = hash(body)
        call = leg.story.call
        row = Row(
            id=_key(dialog),
            call_id=leg.a.call_id.decode("utf-8", "replace"),
            node=self._node,
            body=body,
            caller=call.caller if call is not None else "",
            callee=call.callee if call is not None else "",
            upper=call.upper if call is not None else "",
            started_at=call.started_at if call is not None else self._clock_at(),
            changed_at=self._clock_at(),
        )
        self.write(SaveDialog(row))

    def write(self, operation: Operation[Any]) -> None:
        """Write what nobody waits for."""
        self._store.write(operation).addErrback(lambda failure: log.failure("a call could not be noted", failure))


def _key(dialog: Dialog) -> str:
    return f"{dialog.leg.token.decode()}/{dialog.tag.decode('utf-8', 'replace')}"
