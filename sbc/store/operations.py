"""Changes to users, their devices, tokens and upper registrations.

No statement depends on rows read before: natural keys (`users`: username, domain, upper; `bindings`: user, identity;
`push_tokens`: provider, param, hash; `upper_registrations`: user, contact) find the rows inside the statements.
"""
# ruff: noqa: S608 -- SQL is put together from constants of this package alone

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from sbc.store.marks import MarkToken, RemoveToken, TouchToken
from sbc.store.operation import Execute, Operation, StoreError, nothing
from sbc.store.records import FLOW_NUMBER, UpperRegistration
from sbc.store.registration import GivenToken, Saved, SaveRegistration
from sbc.store.rows import sealed_ha1s
from sbc.store.secret import Secret
from sbc.store.session import Session, Statement

__all__ = [
    "Execute",
    "ForgetHa1",
    "GivenHa1s",
    "GivenToken",
    "MarkToken",
    "Operation",
    "RemoveBinding",
    "RemoveToken",
    "RemoveUser",
    "SaveHa1s",
    "SaveRegistration",
    "Saved",
    "StoreError",
    "TouchToken",
    "UpdateUpperRegistration",
]

_USER = "(SELECT id FROM users WHERE username = ? AND domain = ? AND upper = ? AND last_seen_at <= ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveBinding(Operation[int]):
    """End one device of a user, or with `identity` None every one; tokens and mirrored upper Contacts go with it.

    With the user's last device its upper registrations become `ended` (`rejected` ones stay so) and are not refreshed.
    `all_flows`: other flows of the device go too (RFC 5626). `unseen_since`: nothing happens to a user that has
    registered after that. Gives how many devices went.
    """

    username: str
    domain: str
    upper: str
    identity: str | None
    all_flows: bool = False
    unseen_since: float = math.inf

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        user = (self.username, self.domain.lower(), self.upper, self.unseen_since)
        if self.identity is None:
            gone = session.execute(_REMOVE_BINDINGS, user)
        else:
            flows = _escaped(self.identity + FLOW_NUMBER) + "%" if self.all_flows else ""
            gone = session.execute(_REMOVE_BINDING, (*user, self.identity, flows))
        session.run(_END_UPPER, (*user, *user))
        return lambda: len(gone())


_REMOVE_BINDINGS = Statement(f"DELETE FROM bindings WHERE user_id = {_USER} RETURNING id")
_REMOVE_BINDING = Statement(
    f"DELETE FROM bindings WHERE user_id = {_USER} AND (identity = ? OR identity LIKE ? ESCAPE '!') RETURNING id"
)
_END_UPPER = Statement(
    f"""
    UPDATE upper_registrations SET state = CASE WHEN state = 'rejected' THEN state ELSE 'ended' END,
      expires_at = NULL, next_at = NULL
    WHERE user_id = {_USER} AND NOT EXISTS (SELECT 1 FROM bindings WHERE user_id = {_USER})
    """
)


def _escaped(text: str) -> str:
    """As LIKE takes it literally."""
    for sign in "!%_":
        text = text.replace(sign, f"!{sign}")
    return text


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
    """These HA1s are wrong (the password changed): never use them again. Others that were stored meanwhile stay."""

    user_id: int
    ha1: str

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        session.run(_FORGET_HA1, (self.user_id, sealed_ha1s(self.ha1, secret)[0]))
        return nothing


_FORGET_HA1 = Statement("UPDATE users SET ha1 = NULL, more_ha1 = NULL WHERE id = ? AND ha1 = ?")


@dataclass(frozen=True, slots=True)
class GivenHa1s:
    """HA1s (`sbc.sip.digest.gathered`) of one user, made with this name and realm."""

    username: str
    domain: str
    upper: str
    realm: str
    auth_username: str
    ha1: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SaveHa1s(Operation[int]):
    """Store HA1s in place of those of these users, who need not have registered yet. Registrations that an upper server
    rejected, or that waited for an app, are due `at` once. Gives how many users."""

    given: tuple[GivenHa1s, ...]
    at: float

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        for each in self.given:
            key = (each.username, each.domain, each.upper)
            auth_username = "" if each.auth_username == each.username else each.auth_username
            sealed = sealed_ha1s(each.ha1, secret)
            session.run(_SAVE_HA1S, (*key, each.realm, auth_username, *sealed, self.at, self.at))
            session.run(_DUE_AGAIN, (self.at, *key))
        return lambda: len(self.given)


_SAVE_HA1S = Statement(
    """
    INSERT INTO users (username, domain, upper, realm, auth_username, ha1, more_ha1, created_at, last_seen_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (username, domain, upper) DO UPDATE SET realm = excluded.realm,
      auth_username = excluded.auth_username, ha1 = excluded.ha1, more_ha1 = excluded.more_ha1
    """
)
_DUE_AGAIN = Statement(
    """
    UPDATE upper_registrations SET state = 'failing', failures = 0, next_at = ?
    WHERE state IN ('rejected', 'needs_wake')
      AND user_id = (SELECT id FROM users WHERE username = ? AND domain = ? AND upper = ?)
      AND EXISTS (SELECT 1 FROM bindings WHERE bindings.user_id = upper_registrations.user_id)
    """
)


@dataclass(frozen=True, slots=True)
class UpdateUpperRegistration(Operation[bool]):
    """Store how an upper registration stands now: everything of the record but whose it is. Gives whether it was.

    `before`: the record that this follows from. Where a REGISTER or the end of the devices has changed the registration
    since, that stays; only the CSeq of our own REGISTERs never goes back.
    """

    registration: UpperRegistration
    before: UpperRegistration | None = None

    def run(self, session: Session, secret: Secret) -> Callable[[], bool]:
        row, before = self.registration, self.before
        values = (
            row.upper, row.state, row.call_id, row.cseq, row.last_code, row.last_reason, row.expires_at, row.next_at,
            row.failures, row.node, row.nonce, row.service_route, row.associated, row.gruus, row.id,
        )  # fmt: skip
        if before is None:
            changed = session.execute(_UPDATE_UPPER, values)
        else:
            expires_at = _NEVER if before.expires_at is None else before.expires_at
            changed = session.execute(_FOLLOW_UPPER, (*values, before.state, expires_at, before.next_at is None))
            session.run(_RAISE_CSEQ, (row.cseq, row.id, row.cseq))
        return lambda: bool(changed())


_NEVER = -1.0
_UPDATE = """
    UPDATE upper_registrations SET upper = ?, state = ?, call_id = ?, cseq = ?, last_code = ?, last_reason = ?,
      expires_at = ?, next_at = ?, failures = ?, node = ?, nonce = ?, service_route = ?, associated = ?, gruus = ?
    WHERE id = ?
    """
_UPDATE_UPPER = Statement(f"{_UPDATE} RETURNING id")
# A REGISTER gives another expires_at; what ends a registration clears next_at, or the state says so. A lease does none.
_FOLLOW_UPPER = Statement(
    f"{_UPDATE} AND state = ? AND COALESCE(expires_at, {_NEVER}) = ? AND (next_at IS NOT NULL OR ?) RETURNING id"
)
_RAISE_CSEQ = Statement("UPDATE upper_registrations SET cseq = ? WHERE id = ? AND cseq < ?")
