"""What is learned about push tokens: accepted, failed, dead, woke."""
# ruff: noqa: S608 -- SQL is put together from constants of this package alone

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sbc.store.operation import Operation, nothing
from sbc.store.secret import Secret, prid_hash
from sbc.store.session import Session, Statement

ERROR_LIMIT = 500
"""Characters kept of what a provider said; its pages of HTML are not for the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkToken(Operation[None]):
    """How a push to this token ended at `at`: `accepted`, `dead`, or neither (a failure that makes it `suspect`).

    A token that was registered again after `at` is left alone. `environment`: where it proved to belong, `kind`: what
    it proved to be for, both if not empty. A device whose last usable token died is no push device any more.
    """

    provider: str
    param: str
    prid: str
    at: float
    accepted: bool = False
    dead: bool = False
    error: str = ""
    environment: str = ""
    kind: str = ""

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        token = (self.provider, self.param, prid_hash(self.prid), self.at)
        if self.accepted:
            session.run(_ACCEPTED, (self.at, self.environment, self.environment, self.kind, self.kind, *token))
        else:
            session.run(_FAILED, ("dead" if self.dead else "suspect", self.error[:ERROR_LIMIT], self.at, *token))
        if self.dead:
            session.run(_NO_PUSH, token[:3])
        return nothing


_TOKEN = "provider = ? AND param = ? AND prid_hash = ?"  # noqa: S105 -- a condition, not a secret
_ACCEPTED = Statement(
    f"""
    UPDATE push_tokens SET state = 'live', failures = 0, last_error = '', pushed_at = ?,
      environment = CASE WHEN ? = '' THEN environment ELSE ? END, kind = CASE WHEN ? = '' THEN kind ELSE ? END
    WHERE {_TOKEN} AND registered_at <= ?
    """
)
_FAILED = Statement(
    f"""
    UPDATE push_tokens SET state = ?, failures = failures + 1, last_error = ?, pushed_at = ?
    WHERE {_TOKEN} AND registered_at <= ?
    """
)
_NO_PUSH = Statement(
    f"""
    UPDATE bindings SET push = FALSE WHERE id = (SELECT binding_id FROM push_tokens WHERE {_TOKEN})
      AND NOT EXISTS (SELECT 1 FROM push_tokens t WHERE t.binding_id = bindings.id AND t.state <> 'dead')
    """
)


@dataclass(frozen=True, slots=True)
class RemoveToken(Operation[None]):
    """Remove a token. A device without any other usable one is no push device any more."""

    provider: str
    param: str
    prid: str

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        token = (self.provider, self.param, prid_hash(self.prid))
        session.run(_DIE, token)
        session.run(_NO_PUSH, token)
        session.run(_REMOVE_TOKEN, token)
        return nothing


_DIE = Statement(f"UPDATE push_tokens SET state = 'dead' WHERE {_TOKEN}")
_REMOVE_TOKEN = Statement(f"DELETE FROM push_tokens WHERE {_TOKEN}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchToken(Operation[None]):
    """A device woke up `after` seconds: its tokens work, and the last 16 such times are kept with them.

    `call_id` notes it at the pushes of that call.
    """

    binding_id: int
    at: float
    call_id: str = ""
    after: float | None = None

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        wake = "" if self.after is None else f"{min(max(int(self.after * 1000), 0), 99_999):05d}"
        session.run(_WOKE, (self.at, wake, wake, self.binding_id))
        if self.call_id and self.after is not None:
            session.run(_WOKE_PUSH, (self.after, self.call_id, self.binding_id))
        return nothing


_WOKE = Statement(
    "UPDATE push_tokens SET woke_at = ?, failures = 0, state = 'live',"
    " wakes = CASE WHEN ? <> '' AND length(wakes) >= 80 THEN substr(wakes, 6) ELSE wakes END || ?"
    " WHERE binding_id = ? AND state <> 'dead'"
)
_WOKE_PUSH = Statement(
    "UPDATE pushes SET woke_after = ? WHERE call_id = ? AND woke_after IS NULL"
    " AND user_id = (SELECT user_id FROM bindings WHERE id = ?)"
)
