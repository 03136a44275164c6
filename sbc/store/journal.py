"""Changes to everything but users: dialogs, calls, pushes, messages, bans, settings, nodes, audit."""
# ruff: noqa: S608 -- SQL is put together from constants of this package alone

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sbc.store.operation import Operation, nothing
from sbc.store.records import Ban, Dialog, Message, Push
from sbc.store.secret import Secret
from sbc.store.session import Session, Statement


def _insert(table: str, names: Sequence[str], tail: str = "") -> Statement:
    marks = ", ".join("?" * len(names))
    return Statement(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}) {tail}")


def _values(record: Any, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in names)


class CallRecord(Protocol):
    """What a CDR is made of: the columns of `cdrs`, times in UTC epoch seconds."""

    @property
    def call_id(self) -> str: ...
    @property
    def caller(self) -> str: ...
    @property
    def callee(self) -> str: ...
    @property
    def upper(self) -> str: ...
    @property
    def started_at(self) -> float: ...
    @property
    def ringing_at(self) -> float | None: ...
    @property
    def answered_at(self) -> float | None: ...
    @property
    def ended_at(self) -> float | None: ...
    @property
    def code(self) -> int | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def ended_by(self) -> str: ...
    @property
    def pushed(self) -> bool: ...
    @property
    def woke_after(self) -> float | None: ...
    @property
    def caller_packets(self) -> int | None: ...
    @property
    def caller_lost(self) -> int | None: ...
    @property
    def caller_jitter(self) -> float | None: ...
    @property
    def callee_packets(self) -> int | None: ...
    @property
    def callee_lost(self) -> int | None: ...
    @property
    def callee_jitter(self) -> float | None: ...


_CDR = (
    "call_id", "caller", "callee", "upper", "started_at", "ringing_at", "answered_at", "ended_at", "code", "reason",
    "ended_by", "pushed", "woke_after", "caller_packets", "caller_lost", "caller_jitter", "callee_packets",
    "callee_lost", "callee_jitter",
)  # fmt: skip
_SAVE_CDR = _insert("cdrs", (*_CDR, "node"))
_EVENT = ("call_id", "at", "kind", "detail")
_SAVE_EVENT = _insert("call_events", _EVENT)


class EventRecord(Protocol):
    """One line of a timeline."""

    @property
    def call_id(self) -> str: ...
    @property
    def at(self) -> float: ...
    @property
    def kind(self) -> str: ...
    @property
    def detail(self) -> str: ...


@dataclass(frozen=True, slots=True)
class SaveCalls(Operation[None]):
    """Store ended calls and lines of timelines: what the call log hands over about once a second."""

    calls: Sequence[CallRecord] = ()
    events: Sequence[EventRecord] = ()
    node: str = ""

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        if self.calls:
            session.run_all(_SAVE_CDR, [(*_values(call, _CDR), self.node) for call in self.calls])
        if self.events:
            session.run_all(_SAVE_EVENT, [(event.call_id, event.at, event.kind, event.detail) for event in self.events])
        return nothing


_PUSH = (
    "call_id", "type", "provider", "app", "user_id", "sent_at", "status", "reason", "outcome", "latency", "woke_after",
)  # fmt: skip
_SAVE_PUSH = _insert("pushes", _PUSH)


@dataclass(frozen=True, slots=True)
class SavePush(Operation[None]):
    """Store that a push was tried, and how it ended."""

    push: Push

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        session.run(_SAVE_PUSH, _values(self.push, _PUSH))
        return nothing


_MESSAGE = (
    "user_id", "call_id", "from_uri", "to_uri", "content_type", "body", "headers", "received_at", "expires_at",
    "delivered_at", "state", "tries",
)  # fmt: skip
_SAVE_MESSAGE = _insert("messages", _MESSAGE, "RETURNING id")
_MARK_MESSAGE = Statement(
    "UPDATE messages SET state = ?, tries = tries + 1, delivered_at = CASE WHEN ? = 'delivered' THEN ? ELSE NULL END"
    " WHERE id = ?"
)


@dataclass(frozen=True, slots=True)
class SaveMessage(Operation[int]):
    """Keep a message for a sleeping user. Gives its id."""

    message: Message

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        rows = session.execute(_SAVE_MESSAGE, _values(self.message, _MESSAGE))
        return lambda: int(rows()[0][0])


@dataclass(frozen=True, slots=True)
class MarkMessage(Operation[None]):
    """A kept message was tried: `state` is `waiting`, `delivered`, `failed` or `expired` from now on."""

    message_id: int
    state: str
    at: float

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        session.run(_MARK_MESSAGE, (self.state, self.state, self.at, self.message_id))
        return nothing


_DIALOG = ("id", "call_id", "node", "caller", "callee", "upper", "started_at", "changed_at", "body")
_SAVE_DIALOG = _insert(
    "dialogs",
    _DIALOG,
    "ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _DIALOG[1:]),
)
_REMOVE_DIALOG = Statement("DELETE FROM dialogs WHERE id = ?")


@dataclass(frozen=True, slots=True)
class SaveDialog(Operation[None]):
    """Store a dialog, new or changed."""

    dialog: Dialog

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        session.run(_SAVE_DIALOG, _values(self.dialog, _DIALOG))
        return nothing


@dataclass(frozen=True, slots=True)
class RemoveDialog(Operation[None]):
    """Forget a dialog that ended."""

    id: str

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        session.run(_REMOVE_DIALOG, (self.id,))
        return nothing


_BAN = ("source", "reason", "automatic", "created_at", "expires_at", "created_by")
_SAVE_BAN = _insert(
    "bans", _BAN, "ON CONFLICT (source) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _BAN[1:])
)
_REMOVE_BAN = Statement("DELETE FROM bans WHERE source = ? RETURNING id")


@dataclass(frozen=True, slots=True)
class SaveBan(Operation[None]):
    """Store a ban; a new one for the same source replaces it."""

    ban: Ban

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        session.run(_SAVE_BAN, _values(self.ban, _BAN))
        return nothing


@dataclass(frozen=True, slots=True)
class RemoveBan(Operation[bool]):
    """Lift a ban. Gives whether there was one."""

    source: str

    def run(self, session: Session, secret: Secret) -> Callable[[], bool]:
        rows = session.execute(_REMOVE_BAN, (self.source,))
        return lambda: bool(rows())


_SETTING = ("name", "value", "changed_at", "changed_by")
_SAVE_SETTING = _insert(
    "settings",
    _SETTING,
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at,"
    " changed_by = excluded.changed_by",
)
_REMOVE_SETTING = Statement("DELETE FROM settings WHERE name = ? RETURNING name")


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveSetting(Operation[None]):
    """Lay a setting over the configuration file. `name` is its dotted name and `value` its usual spelling."""

    name: str
    value: str
    changed_at: float
    changed_by: str

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        session.run(_SAVE_SETTING, _values(self, _SETTING))
        return nothing


@dataclass(frozen=True, slots=True)
class RemoveSetting(Operation[bool]):
    """Let the configuration file speak again. Gives whether anything stood over it."""

    name: str

    def run(self, session: Session, secret: Secret) -> Callable[[], bool]:
        rows = session.execute(_REMOVE_SETTING, (self.name,))
        return lambda: bool(rows())


_NODE = ("name", "address", "state", "started_at", "seen_at", "load")
_SAVE_NODE = _insert(
    "nodes", _NODE, "ON CONFLICT (name) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _NODE[1:])
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveNode(Operation[None]):
    """A node's sign of life: `state` is `running`, `draining` or `stopped`, `load` 0 (low) to 4 (treat as down)."""

    name: str
    address: str
    state: str
    started_at: float
    seen_at: float
    load: int = 0

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        session.run(_SAVE_NODE, _values(self, _NODE))
        return nothing


_AUDIT = ("at", "who", "source", "action", "subject", "detail")
_SAVE_AUDIT = _insert("audit", _AUDIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveAudit(Operation[None]):
    """Who changed what, from where."""

    at: float
    who: str
    source: str
    action: str
    subject: str = ""
    detail: str = ""

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        session.run(_SAVE_AUDIT, _values(self, _AUDIT))
        return nothing
