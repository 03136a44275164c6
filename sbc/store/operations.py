"""Changes to users, their devices, tokens and upper registrations.

No statement depends on rows read before: natural keys (`users`: username, domain, upper; `bindings`: user, identity;
`push_tokens`: provider, param, hash; `upper_registrations`: user, contact) find the rows inside the statements.
"""
# ruff: noqa: S608 -- SQL is put together from constants of this package alone

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sbc.store.marks import MarkToken, RemoveToken, TouchToken
from sbc.store.operation import Execute, Operation, StoreError, nothing
from sbc.store.records import UpperRegistration
from sbc.store.registration import GivenToken, Saved, SaveRegistration
from sbc.store.secret import Secret
from sbc.store.session import Session, Statement

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

_USER = "(SELECT id FROM users WHERE username = ? AND domain = ? AND upper = ?)"


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
