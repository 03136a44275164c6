"""What of the database operators may see: one `Resource` per kind of thing; `queries` reads them.

A resource names the columns that are shown, so a new column is hidden until somebody lists it here; encrypted columns
and token hashes never are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.sql.elements import ColumnElement

from sbc.admin.routes import Field
from sbc.store import tables

PAGE: Final = 100
"""Rows of a list unless asked otherwise."""

PAGE_LIMIT: Final = 1000
"""Rows of a list at most."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A query parameter that narrows a list: equal to a column; or a time that the column is not before, or before."""

    name: str
    column: str
    doc: str
    kind: str = "equal"  # equal, since, until
    number: bool = False

    @property
    def field(self) -> Field:
        """The parameter as routes check it."""
        if self.kind != "equal":
            return Field(self.name, "number", self.doc)
        return Field(self.name, "integer" if self.number else "text", self.doc)


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of row: its table, what of it is shown, how a list of it may be narrowed, newest or oldest first."""

    name: str
    doc: str
    table: Table
    columns: tuple[str, ...]
    filters: tuple[Filter, ...] = ()
    newest_first: bool = False
    owner: bool = False
    """Show whose it is: ``user`` is username@domain by `user_id`."""
    extra: Mapping[str, Callable[[Table], ColumnElement[Any]]] | None = None

    @property
    def query(self) -> tuple[Field, ...]:
        """The parameters of its list."""
        return (
            *(one.field for one in self.filters),
            Field("limit", "integer", f"rows at most, {PAGE} when not given", least=1, most=PAGE_LIMIT),
            Field("after", "integer", "`next` of the page before", least=0),
        )

    @property
    def schema(self) -> dict[str, object]:
        """The JSON schema of one row."""
        shown = {name: _json_type(self.table.c[name].type.python_type, name) for name in self.columns}
        shown |= {name: {"type": "boolean"} for name in self.extra or ()}
        if self.owner:
            shown["user"] = {"type": ["string", "null"]}
        return {"type": "object", "properties": shown}


def _words(names: str) -> tuple[str, ...]:
    return tuple(names.split())


USERS: Final = Resource(
    "users",
    "Accounts that registered through this SBC",
    tables.users,
    _words("id username domain upper realm state user_agent created_at last_seen_at"),
    (
        Filter("username", "username", "exactly this user name"),
        Filter("domain", "domain", "exactly this domain"),
        Filter("upper", "upper", "registered at this upper server"),
        Filter("state", "state", "in this state"),
    ),
    extra={"has_ha1": lambda table: table.c.ha1.is_not(None)},
)
BINDINGS: Final = Resource(
    "bindings",
    "Devices: where they registered from, until when, and whether a push can wake them",
    tables.bindings,
    _words("id user_id contact instance reg_id transport source flow node user_agent expires_at")
    + _words("call_id push path state seen_at"),
    (
        Filter("user_id", "user_id", "of this user", number=True),
        Filter("state", "state", "live, or push: kept for its token"),
        Filter("node", "node", "whose flow this node holds"),
    ),
    owner=True,
)
TOKENS: Final = Resource(
    "tokens",
    "Push tokens, without the tokens themselves",
    tables.push_tokens,
    _words("id user_id binding_id provider param environment kind state registered_at")
    + _words("pushed_at woke_at failures last_error"),
    (
        Filter("user_id", "user_id", "of this user", number=True),
        Filter("binding_id", "binding_id", "of this device", number=True),
        Filter("provider", "provider", "apns, fcm or webpush"),
        Filter("param", "param", "of this app"),
        Filter("state", "state", "live, suspect or dead"),
    ),
    owner=True,
)
REGISTRATIONS: Final = Resource(
    "registrations",
    "Registrations that the SBC holds at upper servers",
    tables.upper_registrations,
    _words("id user_id upper contact state last_code last_reason expires_at next_at failures node"),
    (
        Filter("user_id", "user_id", "of this user", number=True),
        Filter("upper", "upper", "at this upper server"),
        Filter("state", "state", "registered, failing, rejected, needs_wake or ended"),
    ),
    owner=True,
)
CDRS: Final = Resource(
    "cdrs",
    "Calls that ended, newest first",
    tables.cdrs,
    _words("id call_id caller callee upper started_at ringing_at answered_at ended_at")
    + _words("code reason ended_by pushed woke_after node")
    + _words("caller_packets caller_lost caller_jitter callee_packets callee_lost callee_jitter"),
    (
        Filter("call_id", "call_id", "with this Call-ID"),
        Filter("caller", "caller", "from exactly this party"),
        Filter("callee", "callee", "to exactly this party"),
        Filter("upper", "upper", "by this upper server"),
        Filter("code", "code", "with this final status", number=True),
        Filter("since", "started_at", "started at or after this time, UTC epoch seconds", "since"),
        Filter("until", "started_at", "started before this time, UTC epoch seconds", "until"),
    ),
    newest_first=True,
)
PUSHES: Final = Resource(
    "pushes",
    "Pushes that were sent or tried, newest first",
    tables.pushes,
    _words("id call_id type provider app user_id sent_at status reason outcome latency woke_after"),
    (
        Filter("call_id", "call_id", "for this call"),
        Filter("user_id", "user_id", "to this user", number=True),
        Filter("provider", "provider", "by apns, fcm or webpush"),
        Filter("app", "app", "to this app"),
        Filter("type", "type", "call, chat, cancel, custom or refresh"),
        Filter("outcome", "outcome", "with this outcome, such as accepted or dead_token"),
        Filter("since", "sent_at", "sent at or after this time, UTC epoch seconds", "since"),
        Filter("until", "sent_at", "sent before this time, UTC epoch seconds", "until"),
    ),
    newest_first=True,
    owner=True,
)
BANS: Final = Resource(
    "bans",
    "Sources that are not answered",
    tables.bans,
    _words("id source reason automatic created_at expires_at created_by"),
    (Filter("source", "source", "exactly this address or network"),),
    newest_first=True,
)
KEYS: Final = Resource(
    "keys",
    "API keys, without the keys themselves",
    tables.api_keys,
    _words("id name role created_at created_by expires_at last_used_at revoked_at"),
)
RESOURCES: Final = (USERS, BINDINGS, TOKENS, REGISTRATIONS, CDRS, PUSHES, BANS, KEYS)
"""Those that have a list of their own."""


def _json_type(python_type: type, name: str) -> dict[str, object]:
    if name.endswith("_at"):
        return {"type": ["string", "null"], "format": "date-time"}
    word = {int: "integer", float: "number", bool: "boolean"}.get(python_type, "string")
    return {"type": [word, "null"]}
