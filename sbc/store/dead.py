"""What the loss of a push token means: for its device, and for the refreshes of its user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sbc.store.operation import Operation
from sbc.store.secret import Secret, prid_hash
from sbc.store.session import Session, Statement


@dataclass(frozen=True, slots=True)
class RemoveDeadDevice(Operation[int]):
    """Remove the device of a token that is dead, unless another token can still wake it. Gives how many went.

    A user whose last device went has its upper registrations ended. To be given after the `MarkToken` that said so: a
    token that was registered again meanwhile is not dead, and its device stays.
    """

    provider: str
    param: str
    prid: str

    def run(self, session: Session, secret: Secret) -> Callable[[], int]:
        token = (self.provider, self.param, prid_hash(self.prid))
        session.run(_END, (*token, *token))
        gone = session.execute(_REMOVE, token)
        return lambda: len(gone())


_DEAD = "SELECT {} FROM push_tokens WHERE provider = ? AND param = ? AND prid_hash = ? AND state = 'dead'"
_END = Statement(
    f"""
    UPDATE upper_registrations SET state = 'ended', expires_at = NULL, next_at = NULL
    WHERE user_id = ({_DEAD.format("user_id")})
      AND NOT EXISTS (SELECT 1 FROM push_tokens t WHERE t.user_id = upper_registrations.user_id AND t.state <> 'dead')
      AND NOT EXISTS (SELECT 1 FROM bindings b WHERE b.user_id = upper_registrations.user_id
                      AND b.id <> ({_DEAD.format("binding_id")}))
    """  # noqa: S608 -- nothing but constants of this file
)
_REMOVE = Statement(
    f"""
    DELETE FROM bindings
    WHERE id = ({_DEAD.format("binding_id")})
      AND NOT EXISTS (SELECT 1 FROM push_tokens t WHERE t.binding_id = bindings.id AND t.state <> 'dead')
    RETURNING id
    """  # noqa: S608 -- nothing but constants of this file
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopKeeping(Operation[None]):
    """A user without any push token any more is not refreshed: its phone does that while it is there."""

    username: str
    domain: str
    upper: str

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        session.run(_STOP, (self.username, self.domain.lower(), self.upper))
        return lambda: None


_STOP = Statement(
    """
    UPDATE upper_registrations SET next_at = NULL
    WHERE user_id = (SELECT id FROM users WHERE username = ? AND domain = ? AND upper = ?)
      AND NOT EXISTS (SELECT 1 FROM push_tokens t WHERE t.user_id = upper_registrations.user_id AND t.state <> 'dead')
    """
)
