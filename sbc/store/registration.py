"""What a successful REGISTER changes, as cheaply as each engine can store it."""
# ruff: noqa: S608 -- SQL is put together from constants of this package alone

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from sbc.store.operation import Operation
from sbc.store.records import Binding
from sbc.store.rows import PRID, sealed_ha1s
from sbc.store.secret import Secret, prid_hash
from sbc.store.session import Session, Statement

Values = tuple[object, ...]


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
    """Everything that a successful REGISTER changes. `at` is now.

    `realm`, `auth_username`, `ha1`: None keeps what is stored, and an `ha1` that is the first of those stored keeps the
    others; another one takes the place of all. `binding`: the device (ids are ignored; None leaves the
    devices alone, and then `tokens` are ignored). Its `push` is not taken from the record: it becomes true with
    `tokens`, false with `unbind_tokens`, and stays as it is with neither. `tokens` replace all others of this device;
    one that belonged to another user or device leaves it, which is no push device any more if it has no other.

    `upper_contact`: our Contact at the upper server, after which earlier ones are not refreshed any more; None leaves
    all alone. `next_at` None leaves the refreshes of a row that is there as they are. `upper_call_id` is only kept when
    the row is new, since refreshes go on in one call. `mirror`: the upper Contact is this device's alone and goes with
    it. `held_by`: the server that holds the registration, where that is another than the `upper` of the user.
    `service_route`, `associated`, `gruus`, `contact_params`: see `records.UpperRegistration`.
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
    held_by: str = ""
    service_route: str = ""
    associated: str = ""
    gruus: str = ""
    contact_params: str = ""
    node: str = ""

    def run(self, session: Session, secret: Secret) -> Callable[[], Saved]:
        tokens = self._tokens(secret) if self.binding is not None else []
        return self._in_one(session, secret, tokens) if session.pipelined else self._in_steps(session, secret, tokens)

    def _in_steps(self, session: Session, secret: Secret, tokens: Sequence[Values]) -> Callable[[], Saved]:
        """Statement by statement, each with the ids that the one before gave: the cheapest where nothing travels."""
        execute, run = session.execute, session.run
        user_id: int = execute(_SAVE_USER, self._user(secret))()[0][0]
        binding_id: int | None = None
        if self.binding is not None:
            save = _SAVE_BINDING if tokens or self.unbind_tokens else _KEEP_PUSH
            binding_id = execute(save, (user_id, *self._device(self.binding, bool(tokens))))()[0][0]
            for token in tokens:
                known = execute(_TOKEN_OWNER, (token[0], token[1], token[3]))()
                if known and known[0][1] == binding_id:
                    run(_TOUCH_TOKEN, (token[2], token[4], token[4], token[5], token[5], *token[6:], known[0][0]))
                    continue
                run(_SAVE_TOKEN, (user_id, binding_id, *token))
                if known:
                    run(_LEFT, (known[0][1],))
            if tokens:
                run(_DROP_OLD_TOKENS, (binding_id, self.at))
            elif self.unbind_tokens:
                run(_DROP_TOKENS, (binding_id,))
        registration_id: int | None = None
        if self.upper_contact is not None:
            owner = binding_id if self.mirror else None
            upper = self._upper(self.upper_contact)
            registration_id = execute(_SAVE_UPPER, (user_id, owner, *upper))()[0][0]
            if not self.mirror:
                run(_END_FORMER, (user_id, self.upper_contact))
        saved = Saved(user_id, binding_id, registration_id)
        return lambda: saved

    def _in_one(self, session: Session, secret: Secret, tokens: Sequence[Values]) -> Callable[[], Saved]:
        """One statement for all of it: where each costs the client more than it costs the server."""
        values = list(self._user(secret))
        if self.binding is not None:
            values += self._device(self.binding, bool(tokens))
            for token in tokens:
                values += token
            keys = [value for token in tokens for value in (token[0], token[1], token[3])]
            if tokens:
                values += [self.at, *keys, *keys, *keys]
        if self.upper_contact is not None:
            values += self._upper(self.upper_contact)
            if not self.mirror:
                values.append(self.upper_contact)
        device, upper = self.binding is not None, self.upper_contact is not None
        rows = session.execute(_whole(device, len(tokens), self.unbind_tokens, upper, self.mirror), tuple(values))
        return lambda: Saved(*rows()[0])

    def _user(self, secret: Secret) -> Values:
        return (
            self.username, self.domain.lower(), self.upper, self.realm or "", self.auth_username or "",
            *sealed_ha1s(self.ha1 or "", secret),
            self.user_agent, self.at, self.at,
        )  # fmt: skip

    def _device(self, binding: Binding, push: bool) -> Values:
        return (
            binding.identity, binding.contact, binding.instance, binding.reg_id, binding.transport, binding.source,
            binding.flow, binding.node, binding.user_agent, binding.expires_at, binding.call_id, binding.cseq,
            push, binding.path, binding.state, self.at, binding.q,
        )  # fmt: skip

    def _tokens(self, secret: Secret) -> list[Values]:
        """The tokens, each once: one statement cannot change a row twice."""
        rows = {
            (token.provider, token.param, token.prid): (
                token.provider, token.param, secret.seal(token.prid, PRID), prid_hash(token.prid), token.environment,
                token.kind, self.purr, self.at,
            )
            for token in self.tokens
        }  # fmt: skip
        return list(rows.values())

    def _upper(self, contact: str) -> Values:
        return (
            self.held_by or self.upper, contact, contact_user(contact), self.upper_call_id, self.upper_expires_at,
            self.next_at, self.node, self.service_route, self.associated, self.gruus, self.contact_params,
        )  # fmt: skip


def contact_user(contact: str) -> str:
    """The user part of one of our upper Contacts, by which requests from the upper server find their user."""
    return contact.partition(":")[2].partition("@")[0] if "@" in contact else contact


# Columns in the order of the values above, and what PostgreSQL must be told of them behind a SELECT.

_DEVICE = {
    "identity": "text", "contact": "text", "instance": "text", "reg_id": "integer", "transport": "text",
    "source": "text", "flow": "text", "node": "text", "user_agent": "text", "expires_at": "double precision",
    "call_id": "text", "cseq": "bigint", "push": "boolean", "path": "text", "state": "text",
    "seen_at": "double precision", "q": "double precision",
}  # fmt: skip
_TOKEN = {
    "provider": "text", "param": "text", "prid": "bytea", "prid_hash": "text", "environment": "text", "kind": "text",
    "purr": "text", "registered_at": "double precision",
}  # fmt: skip
_UPPER = {
    "upper": "text", "contact": "text", "contact_user": "text", "call_id": "text", "expires_at": "double precision",
    "next_at": "double precision", "node": "text", "service_route": "text", "associated": "text",
    "gruus": "text", "contact_params": "text",
}  # fmt: skip

_USER_ROW = """
    INSERT INTO users
      (username, domain, upper, realm, auth_username, ha1, more_ha1, user_agent, created_at, last_seen_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (username, domain, upper) DO UPDATE SET
      realm = CASE WHEN excluded.realm = '' THEN users.realm ELSE excluded.realm END,
      auth_username = CASE WHEN excluded.auth_username = '' THEN users.auth_username ELSE excluded.auth_username END,
      ha1 = COALESCE(excluded.ha1, users.ha1),
      more_ha1 = CASE
        WHEN excluded.ha1 IS NULL OR (excluded.ha1 = users.ha1 AND excluded.more_ha1 IS NULL) THEN users.more_ha1
        ELSE excluded.more_ha1
      END,
      user_agent = CASE WHEN excluded.user_agent = '' THEN users.user_agent ELSE excluded.user_agent END,
      last_seen_at = excluded.last_seen_at
    RETURNING id
    """
_DEVICE_HEAD = f"INSERT INTO bindings (user_id, {', '.join(_DEVICE)})"
_DEVICE_KEPT = ", ".join(f"{name} = excluded.{name}" for name in _DEVICE if name not in ("identity", "push"))
_DEVICE_TAIL = f"ON CONFLICT (user_id, identity) DO UPDATE SET {_DEVICE_KEPT}"
_TOKENS_HEAD = f"INSERT INTO push_tokens (user_id, binding_id, {', '.join(_TOKEN)})"
_TOKENS_TAIL = """
    ON CONFLICT (provider, param, prid_hash) DO UPDATE SET
      user_id = excluded.user_id, binding_id = excluded.binding_id, prid = excluded.prid,
      environment = CASE WHEN excluded.environment = '' THEN push_tokens.environment ELSE excluded.environment END,
      kind = CASE WHEN excluded.kind = '' THEN push_tokens.kind ELSE excluded.kind END,
      purr = excluded.purr, state = 'live', registered_at = excluded.registered_at,
      failures = 0, last_error = ''
    """
_UPPER_HEAD = f"""
    INSERT INTO upper_registrations
      (state, cseq, last_code, last_reason, failures, user_id, binding_id, {", ".join(_UPPER)})
    """
_UPPER_FIRST = "'registered', 1, 200, 'OK', 0"
_UPPER_TAIL = """
    ON CONFLICT (user_id, contact) DO UPDATE SET
      binding_id = excluded.binding_id, upper = excluded.upper, state = 'registered', last_code = 200,
      last_reason = 'OK', expires_at = excluded.expires_at,
      next_at = COALESCE(excluded.next_at, upper_registrations.next_at), failures = 0, node = excluded.node,
      service_route = excluded.service_route, associated = excluded.associated, gruus = excluded.gruus,
      contact_params = excluded.contact_params
    RETURNING id
    """
# Contacts of before our address or the upper server changed: a call that still comes to one finds its user.
_FORMER = "UPDATE upper_registrations SET state = 'ended', next_at = NULL WHERE user_id = {}"
_FORMER_TAIL = "AND contact <> ? AND binding_id IS NULL AND state <> 'ended'"


def _marks(columns: dict[str, str]) -> str:
    return ", ".join("?" * len(columns))


_SAVE_USER = Statement(_USER_ROW)
_KEEP_PUSH = Statement(f"{_DEVICE_HEAD} VALUES (?, {_marks(_DEVICE)}) {_DEVICE_TAIL} RETURNING id")
_SAVE_BINDING = Statement(
    f"{_DEVICE_HEAD} VALUES (?, {_marks(_DEVICE)}) {_DEVICE_TAIL}, push = excluded.push RETURNING id"
)
_SAVE_TOKEN = Statement(f"{_TOKENS_HEAD} VALUES (?, ?, {_marks(_TOKEN)}) {_TOKENS_TAIL}")
_TOKEN_OWNER = Statement("SELECT id, binding_id FROM push_tokens WHERE provider = ? AND param = ? AND prid_hash = ?")
# Says nothing of the owner, whose indexes SQLite would write again even when nothing changes.
_TOUCH_TOKEN = Statement(
    """
    UPDATE push_tokens SET prid = ?, environment = CASE WHEN ? = '' THEN environment ELSE ? END,
      kind = CASE WHEN ? = '' THEN kind ELSE ? END, purr = ?, registered_at = ?, state = 'live', failures = 0,
      last_error = ''
    WHERE id = ?
    """
)
_LEFT = Statement(
    "UPDATE bindings SET push = FALSE WHERE id = ?"
    " AND NOT EXISTS (SELECT 1 FROM push_tokens t WHERE t.binding_id = bindings.id AND t.state <> 'dead')"
)
_DROP_OLD_TOKENS = Statement("DELETE FROM push_tokens WHERE binding_id = ? AND registered_at < ?")
_DROP_TOKENS = Statement("DELETE FROM push_tokens WHERE binding_id = ?")
_SAVE_UPPER = Statement(f"{_UPPER_HEAD} VALUES ({_UPPER_FIRST}, ?, ?, {_marks(_UPPER)}) {_UPPER_TAIL}")
_END_FORMER = Statement(f"{_FORMER.replace('{}', '?')} {_FORMER_TAIL}")


@lru_cache(maxsize=64)
def _whole(device: bool, tokens: int, unbind: bool, upper: bool, mirror: bool) -> Statement:
    """All of it in one statement of PostgreSQL.

    Its parts see the rows of before it, and of each other only what they return: hence the ids from `u` and `b`, and
    the new tokens named again where old ones are deleted.
    """

    def typed(columns: dict[str, str]) -> str:
        return ", ".join(f"?::{kind}" for kind in columns.values())

    parts = [f"u AS ({_USER_ROW})"]
    if device:
        push = ", push = excluded.push" if tokens or unbind else ""
        parts.append(f"b AS ({_DEVICE_HEAD} SELECT u.id, {typed(_DEVICE)} FROM u {_DEVICE_TAIL}{push} RETURNING id)")
        row = f"{_TOKENS_HEAD} SELECT u.id, b.id, {typed(_TOKEN)} FROM u, b {_TOKENS_TAIL}"
        parts += [f"t{number} AS ({row})" for number in range(tokens)]
        if tokens:
            new = ", ".join(["(?, ?, ?)"] * tokens)
            parts.append(
                "d AS (DELETE FROM push_tokens WHERE binding_id = (SELECT id FROM b) AND registered_at < ?"
                f" AND (provider, param, prid_hash) NOT IN ({new}))"
            )
            parts.append(
                "l AS (UPDATE bindings SET push = FALSE WHERE id <> (SELECT id FROM b) AND id IN"
                f" (SELECT binding_id FROM push_tokens WHERE (provider, param, prid_hash) IN ({new}))"
                " AND NOT EXISTS (SELECT 1 FROM push_tokens t WHERE t.binding_id = bindings.id AND t.state <> 'dead'"
                f" AND (t.provider, t.param, t.prid_hash) NOT IN ({new})))"
            )
        elif unbind:
            parts.append("d AS (DELETE FROM push_tokens WHERE binding_id = (SELECT id FROM b))")
    if upper:
        owner = "(SELECT id FROM b)" if device and mirror else "NULL::bigint"
        parts.append(f"r AS ({_UPPER_HEAD} SELECT {_UPPER_FIRST}, u.id, {owner}, {typed(_UPPER)} FROM u {_UPPER_TAIL})")
        if not mirror:
            parts.append(f"f AS ({_FORMER.replace('{}', '(SELECT id FROM u)')} {_FORMER_TAIL})")
    ids = ", ".join(f"(SELECT id FROM {name})" if there else "NULL" for name, there in (("b", device), ("r", upper)))
    return Statement(f"WITH {', '.join(parts)} SELECT u.id, {ids} FROM u")
