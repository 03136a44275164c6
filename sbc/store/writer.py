"""The only writer: one transaction for all that is queued, and what happens when it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from twisted.python.failure import Failure

from sbc.sip.errors import LocalError, RemoteError
from sbc.store.operation import Operation, StoreError
from sbc.store.secret import Secret
from sbc.store.session import Session, open_session
from sbc.store.worker import failed

BATCH = 256
"""Operations of one commit: what they fire is one turn of the reactor, which must stay short (20 ms)."""
SPACING = 0.02
"""Seconds between two commits under load, so that many share one. The promise is 50 ms; more than 20 saves little."""
AT_ONCE = 5
"""Commits that need not wait after a quiet spell: below 50 operations a second none ever does."""
PATIENCE = 10.0
"""Seconds that a batch is tried again while the database is away or locked; SIP clients give up after 32."""
PAUSE = 0.25
"""Seconds between two such tries."""


class Commits:
    """Runs batches of operations. Lives in the writer's thread; `monotonic` and `sleep` are that thread's."""

    def __init__(
        self,
        engine: Engine,
        secret: Secret,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._secret = secret
        self._monotonic = monotonic
        self._sleep = sleep
        self._session: Session | None = None
        self._due = 0.0  # when this commit would be, had all been `SPACING` apart

    def gather(self) -> None:
        """Wait for company: not at all when idle, under load until `SPACING` after the last commit."""
        now = self._monotonic()
        self._due = max(self._due + SPACING, now - (AT_ONCE - 1) * SPACING)
        if self._due > now:
            self._sleep(self._due - now)

    def work(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        """Run a batch; a result or a Failure for each operation, in their order."""
        give_up = self._monotonic() + PATIENCE
        while True:
            try:
                return self._together(operations)
            except Exception as error:  # noqa: BLE001 -- of any error the question is only: theirs alone, or the database's?
                if not self._away(error):
                    break
            if self._monotonic() >= give_up:
                return self._all_failed(operations)
            self._sleep(PAUSE)
        return self._one_by_one(operations)

    def done(self) -> None:
        """Give the connection back."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _open(self) -> Session:
        if self._session is None:
            self._session = open_session(self._engine)
        return self._session

    def _together(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        session = self._open()
        session.begin()
        finish = [operation.run(session, self._secret) for operation in operations]
        session.commit()
        return [each() for each in finish]

    def _away(self, error: Exception) -> bool:
        """Leave the failed transaction; whether the database is what failed, whose connection is then given up."""
        session = self._session
        if session is None:
            return True  # it could not even be opened
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        if session.lost(cause):
            self._drop()
            return True
        try:
            session.rollback()
        except Exception:  # noqa: BLE001 -- a connection that cannot even roll back is of no use
            self._drop()
            return True
        return False

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with suppress(Exception):  # it is broken, which is why it is dropped
                session.rollback()
            with suppress(Exception):
                session.close()

    def _one_by_one(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        """Each operation behind a savepoint, so that a bad one fails alone; still one commit for all."""
        outcomes: list[Callable[[], Any] | Failure] = []
        try:
            session = self._open()
            session.begin()
            for operation in operations:
                session.savepoint()
                try:
                    finish = operation.run(session, self._secret)
                    session.connection()  # everything up to here has really happened
                    outcomes.append(finish)
                except Exception as error:
                    if session.lost(error):
                        raise
                    session.undo()
                    outcomes.append(_refused(operation, error))
            session.commit()
            return [each if isinstance(each, Failure) else each() for each in outcomes]
        except Exception as error:  # noqa: BLE001 -- the commit itself failed: nothing of this batch is stored
            self._away(error)
            return self._all_failed(operations)

    def _all_failed(self, operations: Sequence[Operation[Any]]) -> Sequence[Any]:
        self._drop()
        return [failed(RemoteError(503, b"Database Unavailable")) for _ in operations]


def _refused(operation: Operation[Any], error: Exception) -> Failure:
    """What an operation fails with: its own refusal as it is, the driver's error inside a StoreError."""
    if isinstance(error, RemoteError | LocalError):
        return failed(error)
    refusal = StoreError(f"{type(operation).__name__}: {type(error).__name__}: {error}")
    refusal.__cause__ = error
    return failed(refusal)
