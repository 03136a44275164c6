"""Changes to users, their devices, tokens and upper registrations. The first is what every REGISTER costs.

No statement depends on rows read before: natural keys (`users`: username, domain, upper; `bindings`: user, identity;
`push_tokens`: provider, param, hash; `upper_registrations`: user, contact) find the rows inside the statements.
"""
# ruff: noqa: S608 -- SQL is put together from constants of this package alone

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sbc.store.marks import MarkToken, RemoveToken, TouchToken
from sbc.store.operation import Execute, Operation, StoreError, nothing
from sbc.store.records import Binding, UpperRegistration
from sbc.store.secret import Secret, prid_hash
from sbc.store.session import Rows, Session, Statement

__all__ = [
    "Execute",
    "ForgetHa1",
    "GivenToken",
    "MarkToken",
    "Operation",
    "RemoveBinding",
    "RemoveToken",
    "RemoveUser",
    "SaveRegistration",
    "Saved",
    "StoreError",
    "TouchToken",
    "UpdateUpperRegistration",
]

HA1 = "users.ha1"
PRID = "push_tokens.prid"

_USER = "(SELECT id FROM users WHERE username = ? AND domain = ? AND upper = ?)"
_BINDING = (
    "(SELECT b.id FROM bindings b JOIN users u ON u.id = b.user_id"
    " WHERE u.username = ? AND u.domain = ? AND u.upper = ? AND b.identity = ?)"
)


class GivenToken(Protocol):
    """A push token as an app handed it over."""

    @property
    def provider(self) -> str: ...
    @property
    def param(self) -> str: ...
    @property
    def prid(self) -> str: ...
    @property
    def environment(self) -> str: ...
    @property
    def kind(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Saved:
    """The rows that a registration went to; None where none was asked for."""

    user_id: int
    binding_id: int | None
    registration_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveRegistration(Operation[Saved]):
    """Everything that a successful REGISTER changes.

    `realm`, `auth_username`, `ha1`: None keeps what is stored. `binding`: the device (ids are ignored; None leaves the
    devices alone, and then `tokens` are ignored). Its `push` is not taken from the record: it becomes true with
    `tokens`, false with `unbind_tokens`, and stays as it is with neither. `tokens` replace all others of this device;
    one that belonged to another user or device leaves it. `upper_contact`: our Contact at the upper server, after which
    earlier ones are not refreshed any more; None leaves all alone. `upper_call_id` is only kept when the row is new,
    since refreshes go on in one call. `mirror`: the upper Contact is this device's alone and goes with it. `at` is now.
    """

    Result = Saved

    username: str
    domain: str
    upper: str
    at: float
    realm: str | None = None
    auth_username: str | None = None
    ha1: str | None = None
    user_agent: str = ""
    binding: Binding | None = None
    tokens: Sequence[GivenToken] = ()
    purr: str = ""
    unbind_tokens: bool = False
    upper_contact: str | None = None
    upper_call_id: str = ""
    upper_expires_at: float | None = None
    next_at: float | None = None
    mirror: bool = False
    node: str = ""

    def run(self, session: Session, secret: Secret) -> Callable[[], Saved]:
        user = (self.username, self.domain.lower(), self.upper)
        ha1 = secret.seal(self.ha1, HA1) if self.ha1 else None
        at = self.at
        users = session.execute(
            _SAVE_USER, (*user, self.realm or "", self.auth_username or "", ha1, self.user_agent, at, at)
        )
        bindings = registrations = None
        binding = self.binding
        if binding is not None:
            bindings = self._save_binding(session, secret, user, binding)
        if self.upper_contact is not None:
            contact = self.upper_contact
            owner = (*user, binding.identity) if binding is not None and self.mirror else ("", "", "", "")
            registrations = session.execute(
                _SAVE_UPPER,
                (
                    *user, *owner, self.upper, contact, contact_user(contact), self.upper_call_id,
                    self.upper_expires_at, self.next_at, self.node,
                ),
            )  # fmt: skip
            if not self.mirror:
                session.run(_END_FORMER, (*user, contact))
        return lambda: Saved(_first(users), bindings and _first(bindings), registrations and _first(registrations))

    def _save_binding(self, session: Session, secret: Secret, user: tuple[str, str, str], binding: Binding) -> Rows:
        statement = _SAVE_BINDING if self.tokens or self.unbind_tokens else _KEEP_PUSH
        rows = session.execute(
            statement,
            (
                *user, binding.identity, binding.contact, binding.instance, binding.reg_id, binding.transport,
                binding.source, binding.flow, binding.node, binding.user_agent, binding.expires_at, binding.call_id,
                binding.cseq, bool(self.tokens), binding.path, binding.state, self.at,
            ),
        )  # fmt: skip
        device = (*user, binding.identity)
        for token in self.tokens:
            session.run(
                _SAVE_TOKEN,
                (
                    *user, *device, token.provider, token.param, secret.seal(token.prid, PRID), prid_hash(token.prid),
                    token.environment, token.kind, self.purr, self.at,
                ),
            )  # fmt: skip
        if self.tokens:
            session.run(_DROP_OLD_TOKENS, (*device, self.at))
        elif self.unbind_tokens:
            session.run(_DROP_TOKENS, device)
        return rows


def contact_user(contact: str) -> str:
    """The user part of one of our upper Contacts, by which requests from the upper server find their user."""
    return contact.partition(":")[2].partition("@")[0] if "@" in contact else contact


def _first(rows: Rows) -> int:
    return int(rows()[0][0])


_SAVE_USER = Statement(
    """
    INSERT INTO users (username, domain, upper, realm, auth_username, ha1, user_agent, created_at, last_seen_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (username, domain, upper) DO UPDATE SET
      realm = CASE WHEN excluded.realm = '' THEN users.realm ELSE excluded.realm END,
      auth_username = CASE WHEN excluded.auth_username = '' THEN users.auth_username ELSE excluded.auth_username END,
      ha1 = COALESCE(excluded.ha1, users.ha1),
      user_agent = CASE WHEN excluded.user_agent = '' THEN users.user_agent ELSE excluded.user_agent END,
      last_seen_at = excluded.last_seen_at
    RETURNING id
    """
)

_INSERT_BINDING = f"""
    INSERT INTO bindings (user_id, identity, contact, instance, reg_id, transport, source, flow, node, user_agent,
      expires_at, call_id, cseq, push, path, state, seen_at)
    VALUES ({_USER}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (user_id, identity) DO UPDATE SET
      contact = excluded.contact, instance = excluded.instance, reg_id = excluded.reg_id,
      transport = excluded.transport, source = excluded.source, flow = excluded.flow, node = excluded.node,
      user_agent = excluded.user_agent, expires_at = excluded.expires_at, call_id = excluded.call_id,
      cseq = excluded.cseq, path = excluded.path, state = excluded.state, seen_at = excluded.seen_at
    """

_KEEP_PUSH = Statement(_INSERT_BINDING + " RETURNING id")
_SAVE_BINDING = Statement(_INSERT_BINDING + ", push = excluded.push RETURNING id")

_SAVE_TOKEN = Statement(
    f"""
    INSERT INTO push_tokens (user_id, binding_id, provider, param, prid, prid_hash, environment, kind, purr,
      registered_at)
    VALUES ({_USER}, {_BINDING}, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (provider, param, prid_hash) DO UPDATE SET
      user_id = excluded.user_id, binding_id = excluded.binding_id,
      environment = CASE WHEN excluded.environment = '' THEN push_tokens.environment ELSE excluded.environment END,
      kind = excluded.kind, purr = excluded.purr, state = 'live', registered_at = excluded.registered_at,
      failures = 0, last_error = ''
    """
)
_DROP_OLD_TOKENS = Statement(f"DELETE FROM push_tokens WHERE binding_id = {_BINDING} AND registered_at < ?")
_DROP_TOKENS = Statement(f"DELETE FROM push_tokens WHERE binding_id = {_BINDING}")

_SAVE_UPPER = Statement(
    f"""
    INSERT INTO upper_registrations (user_id, binding_id, upper, contact, contact_user, state, call_id, cseq, last_code,
      last_reason, expires_at, next_at, failures, node)
    VALUES ({_USER}, {_BINDING}, ?, ?, ?, 'registered', ?, 1, 200, 'OK', ?, ?, 0, ?)
    ON CONFLICT (user_id, contact) DO UPDATE SET
      binding_id = excluded.binding_id, upper = excluded.upper, state = 'registered', last_code = 200,
      last_reason = 'OK', expires_at = excluded.expires_at, next_at = excluded.next_at, failures = 0,
      node = excluded.node
    RETURNING id
    """
)
# A Contact of before our address or the upper server changed: calls that still come to it find their user.
_END_FORMER = Statement(
    f"""
    UPDATE upper_registrations SET state = 'ended', next_at = NULL
    WHERE user_id = {_USER} AND contact <> ? AND binding_id IS NULL AND state <> 'ended'
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveBinding(Operation[int]):
    """End one device of a user, or with `identity` None every one; tokens and mirrored upper Contacts go with it.

    With the user's last device its upper registrations become `ended` (`rejected` ones stay so) and are not refreshed.
    Gives how many devices went.
    """

    username: str
    domain: str
    upper: str
    identity: str | None

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        user = (self.username, self.domain.lower(), self.upper)
        if self.identity is None:
            gone = session.execute(_REMOVE_BINDINGS, user)
        else:
            gone = session.execute(_REMOVE_BINDING, (*user, self.identity))
        session.run(_END_UPPER, (*user, *user))
        return lambda: len(gone())


_REMOVE_BINDINGS = Statement(f"DELETE FROM bindings WHERE user_id = {_USER} RETURNING id")
_REMOVE_BINDING = Statement(f"DELETE FROM bindings WHERE user_id = {_USER} AND identity = ? RETURNING id")
_END_UPPER = Statement(
    f"""
    UPDATE upper_registrations SET state = CASE WHEN state = 'rejected' THEN state ELSE 'ended' END,
      expires_at = NULL, next_at = NULL
    WHERE user_id = {_USER} AND NOT EXISTS (SELECT 1 FROM bindings WHERE user_id = {_USER})
    """
)


@dataclass(frozen=True, slots=True)
class RemoveUser(Operation[bool]):
    """Remove a user with everything that is its own. Gives whether there was one."""

    user_id: int

    def run(self, session: Session, secret: Secret) -> Callable[[], bool]:
        gone = session.execute(_REMOVE_USER, (self.user_id,))
        return lambda: bool(gone())


_REMOVE_USER = Statement("DELETE FROM users WHERE id = ? RETURNING id")


@dataclass(frozen=True, slots=True)
class ForgetHa1(Operation[None]):
    """The stored HA1 is wrong (the password changed): never use it again."""

    user_id: int

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        session.run(_FORGET_HA1, (self.user_id,))
        return nothing


_FORGET_HA1 = Statement("UPDATE users SET ha1 = NULL WHERE id = ?")


@dataclass(frozen=True, slots=True)
class UpdateUpperRegistration(Operation[None]):
    """Store how an upper registration stands now: everything of the record but whose it is."""

    registration: UpperRegistration

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        row = self.registration
        session.run(
            _UPDATE_UPPER,
            (
                row.upper, row.state, row.call_id, row.cseq, row.last_code, row.last_reason, row.expires_at,
                row.next_at, row.failures, row.node, row.id,
            ),
        )  # fmt: skip
        return nothing


_UPDATE_UPPER = Statement(
    """
    UPDATE upper_registrations SET upper = ?, state = ?, call_id = ?, cseq = ?, last_code = ?, last_reason = ?,
      expires_at = ?, next_at = ?, failures = ?, node = ?
    WHERE id = ?
    """
)
