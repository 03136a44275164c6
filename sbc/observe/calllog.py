"""One call, one timeline, one CDR: collected in RAM, handed to a writer in batches. Pure.

`start` opens a `Call` (the columns of `cdrs`), `event` adds a line to a timeline, `end` closes the call. `flush`,
called about once a second, hands everything that is due to the writer as one `Batch`: so many calls cost one
executemany per table, not a commit each. Lines of a running call are written after `SETTLE` seconds at the latest; a
crash loses no more than those.

A call's marks (`ringing_at`, `answered_at`, `pushed`, `woke_after`) follow from its events by the table `_MARKS`, last
in this file: nobody sets them by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from sbc.observe import kinds
from sbc.observe.masking import printable

SETTLE: Final = 5.0
"""Seconds a timeline line may wait for company before it is written."""

DETAIL_LIMIT: Final = 500
"""Characters of one event's detail; what peers send may be long, a timeline is read by humans."""

PARTY_LIMIT: Final = 255
"""Characters of Call-ID, caller, callee and reason in the CDR, which its columns hold in any database."""

EVENTS_PER_CALL: Final = 300
"""Lines of one call, besides those that say how it ended; a looping peer must not fill memory or database."""

BUFFERED_LIMIT: Final = 50_000
"""Lines waiting altogether, about 25 MB: some minutes of a busy node while the database is away."""

STRAY_LIMIT: Final = 200
"""Lines between two flushes that belong to no living call: what strangers send must not fill the database."""

LIVE_LIMIT: Final = 50_000
"""Calls open at the same time; beyond it calls go on but leave no CDR."""


class CallEvent(NamedTuple):
    """One line of a timeline: a row of `call_events`. `at` is UTC epoch seconds, `kind` one of `kinds.KINDS`."""

    call_id: str
    at: float
    kind: str
    detail: str


@dataclass(slots=True, eq=False)
class Call:
    """What is known of one call, field by field a row of `cdrs`. Times are UTC epoch seconds, None: did not happen."""

    call_id: str
    caller: str
    callee: str
    upper: str
    started_at: float
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    code: int | None = None
    reason: str = ""
    ended_by: str = ""
    """``caller``, ``callee``, ``upper``, ``sbc``, ``operator``, or empty while it lasts."""
    pushed: bool = False
    """A push was sent for this call."""
    woke_after: float | None = None
    """Seconds from the first push until a phone registered."""
    caller_packets: int | None = None
    """Packets received from the caller; None, as with the next ones: its media was not relayed."""
    caller_lost: int | None = None
    """Packets of the caller that did not arrive."""
    caller_jitter: float | None = None
    """Seconds; of several streams the worst."""
    callee_packets: int | None = None
    callee_lost: int | None = None
    callee_jitter: float | None = None
    pushed_at: float | None = None
    """When the first push was sent; not a column."""
    lines: int = 0
    """Lines its timeline has; not a column."""

    def heard(self, party: str, packets: int, lost: int, jitter: float) -> None:
        """Count what was received of ``caller`` or ``callee`` on one stream."""
        for name, count in (("packets", packets), ("lost", lost)):
            setattr(self, f"{party}_{name}", (getattr(self, f"{party}_{name}") or 0) + count)
        setattr(self, f"{party}_jitter", max(getattr(self, f"{party}_jitter") or 0.0, jitter))


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be written now: ended calls and timeline lines, oldest first."""

    calls: tuple[Call, ...]
    events: tuple[CallEvent, ...]


class CallLog:
    """All timelines and calls of a node that are not written yet, and all calls alive.

    `write` takes a `Batch` and must not raise; a batch that could not be stored comes back by `lost`.
    """

    def __init__(self, write: Callable[[Batch], None]) -> None:
        self._write = write
        self._live: dict[str, list[Call]] = {}
        self._live_count = 0
        self._events: dict[str, list[CallEvent]] = {}
        self._buffered = 0
        self._stray = 0
        self._ended: list[Call] = []
        self.dropped = 0
        """Lines and CDRs lost to a limit, plus what `lost` was told of."""

    def start(self, call_id: str, caller: str, callee: str, upper: str, at: float) -> Call:
        """A call begins: opens its CDR and notes ``invite``. The same Call-ID may be alive several times (a spiral)."""
        call = Call(
            printable(call_id, PARTY_LIMIT),
            printable(caller, PARTY_LIMIT),
            printable(callee, PARTY_LIMIT),
            printable(upper, PARTY_LIMIT),
            at,
        )
        self.resume(call)
        self.event(call, kinds.INVITE, f"{call.caller} calls {call.callee}", at)
        return call

    def resume(self, call: Call) -> None:
        """A call that outlived a restart is alive again; no line is written."""
        if self._live_count >= LIVE_LIMIT:
            self.dropped += 1
            return
        self._live.setdefault(call.call_id, []).append(call)
        self._live_count += 1

    def event(self, call: Call | str, kind: str, detail: str, at: float) -> None:
        """Add a line to the timeline of `call`, or of the youngest living call with this Call-ID, or of none.

        `detail` is masked and cut. Raises ValueError for a word that is not in `kinds.KINDS`.
        """
        if kind not in kinds.KINDS:
            raise ValueError(f"no such kind of call event: {kind}")
        if isinstance(call, str):
            call_id = printable(call, PARTY_LIMIT)
            alive = self._live.get(call_id)
            marked = alive[-1] if alive else None
        else:
            call_id, marked = call.call_id, call
        if marked is not None and kind in _MARKS:
            _MARKS[kind](marked, at)
        if marked is None:
            self._stray += 1
            full = self._stray > STRAY_LIMIT
        else:
            marked.lines += 1
            full = marked.lines > EVENTS_PER_CALL and kind not in _LAST
        if full or self._buffered >= BUFFERED_LIMIT:
            self.dropped += 1
            return
        self._events.setdefault(call_id, []).append(CallEvent(call_id, at, kind, printable(detail, DETAIL_LIMIT)))
        self._buffered += 1

    def end(self, call: Call, code: int, reason: str, ended_by: str, at: float) -> None:
        """The call is over: `code` is the final status (200 when it was answered). A second end changes nothing."""
        if call.ended_at is not None:
            return
        call.ended_at, call.code = at, code
        call.reason, call.ended_by = printable(reason, PARTY_LIMIT), ended_by
        alive = self._live.get(call.call_id, [])
        if call not in alive:
            return  # over LIVE_LIMIT: already counted as dropped
        self.event(call, kinds.ENDED, f"{code} {reason}, by {ended_by}", at)
        alive.remove(call)
        self._live_count -= 1
        if not alive:
            del self._live[call.call_id]
        self._ended.append(call)

    def live(self) -> list[Call]:
        """The calls alive, oldest first."""
        return sorted((call for calls in self._live.values() for call in calls), key=lambda call: call.started_at)

    def pending(self, call_id: str) -> list[CallEvent]:
        """The lines of this Call-ID that are not written yet: what the stored timeline lacks."""
        return list(self._events.get(call_id, ()))

    def __len__(self) -> int:
        """Calls alive."""
        return self._live_count

    def flush(self, at: float, *, everything: bool = False) -> None:
        """Hand what is due to the writer: ended calls with their lines, lines older than `SETTLE`; or all there is."""
        self._stray = 0
        closing = {call.call_id for call in self._ended}
        due = [
            call_id
            for call_id, lines in self._events.items()
            if everything or call_id in closing or (lines and lines[0].at <= at - SETTLE)
        ]
        if not due and not self._ended:
            return
        events = [line for call_id in due for line in self._events.pop(call_id)]
        events.sort(key=lambda line: line.at)
        self._buffered -= len(events)
        calls, self._ended = tuple(self._ended), []
        if calls or events:
            self._write(Batch(calls, tuple(events)))

    def lost(self, batch: Batch) -> None:
        """The writer could not store this batch: count it."""
        self.dropped += len(batch.calls) + len(batch.events)


_LAST: Final = frozenset(
    (kinds.ANSWERED, kinds.BYE, kinds.CANCEL, kinds.CANCELLED, kinds.REJECTED, kinds.TIMEOUT, kinds.MEDIA, kinds.ENDED)
)
"""Kinds that a call has once or twice and that no limit may take from its timeline."""


def _ringing(call: Call, at: float) -> None:
    if call.ringing_at is None:
        call.ringing_at = at


def _answered(call: Call, at: float) -> None:
    if call.answered_at is None:
        call.answered_at = at


def _pushed(call: Call, at: float) -> None:
    call.pushed = True
    if call.pushed_at is None:
        call.pushed_at = at


def _woken(call: Call, at: float) -> None:
    if call.pushed_at is not None and call.woke_after is None:
        call.woke_after = at - call.pushed_at


_MARKS: Final[Mapping[str, Callable[[Call, float], None]]] = {
    kinds.RINGING: _ringing,
    kinds.ANSWERED: _answered,
    kinds.PUSH_SENT: _pushed,
    kinds.WOKEN: _woken,
}
