"""What the admin room is given by whoever builds the node; nothing else of the node is known here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from sqlalchemy import Connection
from twisted.internet.defer import Deferred

from sbc.admin.keys import ApiKey
from sbc.observe.calllog import CallLog
from sbc.observe.metrics import Reading
from sbc.observe.trace import TraceRing
from sbc.settings import Configuration

T = TypeVar("T")


class Reports(Protocol):
    """The store's side for people: `query` runs with a connection in a thread that no call waits for."""

    def report(self, query: Callable[[Connection], T]) -> Deferred[T]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """A push that an operator asks for: to a user (``name`` or ``name@domain``), or to one token of one app."""

    type: str
    to_user: str = ""
    from_user: str = ""
    title: str = ""
    message: str = ""
    provider: str = ""
    app: str = ""
    token: str = ""
    kind: str = ""
    """What the token is for, as far as the operator says it: ``android``, ``ios``, ``browser``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushAnswer:
    """What became of it at one device. `outcome` is the push room's word, `accepted` when the provider took it."""

    outcome: str
    status: int = 0
    reason: str = ""
    provider: str = ""
    app: str = ""
    push_id: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the push doctor: `level` is ``good``, ``warning`` or ``bad``; `advice` what to do, or empty."""

    level: str
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose HA1s are given by hand. `ha1` (`sbc.sip.digest.gathered`) was made with `auth_username` and `realm`."""

    username: str
    domain: str
    realm: str
    auth_username: str
    ha1: str = field(repr=False)


class Actions(Protocol):
    """What an operator can make the node do. `by` is the caller's name, for the audit trail.

    A failure that the operator should read is a `Refused` from the Deferred; anything else becomes a 500.
    """

    def reload(self, by: str) -> Deferred[Sequence[str]]:
        """Read configuration, credentials, templates and certificates again: a line per change or mistake."""

    def send_push(self, request: PushRequest, by: str) -> Deferred[Sequence[PushAnswer]]:
        """Send a push to each device meant; an empty answer: there is none."""

    def reload_push(self, by: str, anew: Sequence[str] = ()) -> Deferred[Sequence[str]]:
        """Read credentials and templates of push again: a line per mistake. Connections whose credentials have changed,
        and all of the providers in `anew`, are made anew."""

    def push_status(self) -> Mapping[str, object]:
        """The connections to the providers, apps, what is suspended, problems. No secrets."""

    def examine(self, subject: str, by: str) -> Deferred[Sequence[Finding]]:
        """What keeps a user (name, or name@domain) or an app from being woken."""

    def unregister_upper(self, user: str, by: str) -> Deferred[int]:
        """End a user's registrations at the upper servers; how many there were."""

    def load(self) -> int:
        """How busy the node is: 0 (low) to 4 (extreme)."""

    def end_call(self, call_id: str, by: str) -> Deferred[int]:
        """Hang up the calls with this Call-ID; how many there were."""

    def lift_ban(self, source: str, by: str) -> Deferred[bool]:
        """Let an address in again; whether it was banned."""

    def save_ha1s(self, accounts: Sequence[Account], by: str) -> Deferred[int]:
        """Store HA1s in place of those that are stored, all or none; how many users. Refused 400 for the domain of no
        upper server."""

    def add_key(self, key: ApiKey, by: str) -> Deferred[None]:
        """Store a new API key. Refused 409 when there is one of that name."""

    def revoke_key(self, name: str, by: str) -> Deferred[bool]:
        """Make a stored API key useless from now on; whether there was one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A made-up request that is to be routed without being sent. `domain` empty: that of the first upper server;
    `direction` is ``out`` or ``in``; `when` a local time like ``fri 23:15``, empty: now."""

    called: str
    caller: str = ""
    method: str = "INVITE"
    domain: str = ""
    source: str = ""
    direction: str = "out"
    when: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpperView:
    """One upper server as the node sees it now. `state` is a word such as ``up``, ``down``, ``unknown``."""

    name: str
    uri: str
    domain: str
    priority: int
    weight: int
    state: str
    reason: str = ""
    since_at: float | None = None
    round_trip: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node, as far as operators see it."""

    name: str
    missing: Callable[[], Sequence[str]]
    """What keeps the node from serving, in words; empty: it is ready."""
    metrics_text: Callable[[], bytes]
    """The Prometheus exposition (`sbc.observe.exposition.Exposition.text`)."""
    store: Reports
    call_log: CallLog
    trace: TraceRing
    actions: Actions
    configuration: Callable[[], Configuration]
    uppers: Callable[[], Sequence[UpperView]]
    dry_run: Callable[[Question], Mapping[str, object]]
    """What would become of a request: ``rules``, ``outcome`` and ``servers``. Refused 400 for what cannot be asked."""
    started_at: float
    """UTC epoch seconds."""
    bindings: Callable[[], Reading] = dict
    """Devices by (state,): the source of ``sbc_bindings``."""
    registrations: Callable[[], Reading] = dict
    """Upper registrations by (upper server, state): the source of ``sbc_upper_registrations``."""
