"""What is written when a push is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sbc.store.dead import RemoveDeadDevice
from sbc.store.journal import SavePush
from sbc.store.marks import MarkToken
from sbc.store.operation import Operation, nothing
from sbc.store.records import Push
from sbc.store.secret import Secret
from sbc.store.session import Session


@dataclass(frozen=True, slots=True)
class NotePush(Operation[None]):
    """A push is over: its row, what it says of its token, and with a dead token the end of its device.

    `mark` None: nothing was learned of the token.
    """

    push: Push
    mark: MarkToken | None = None

    def run(self, session: Session, secret: Secret) -> Callable[[], None]:
        SavePush(self.push).run(session, secret)
        mark = self.mark
        if mark is not None:
            mark.run(session, secret)
            if mark.dead:
                RemoveDeadDevice(mark.provider, mark.param, mark.prid).run(session, secret)
        return nothing
