"""API keys in the database, as the admin room asks for them."""

from __future__ import annotations

import time

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sbc.admin.keys import ApiKey
from sbc.admin.routes import Refused
from sbc.store.operation import Execute, StoreError
from sbc.store.service import Store
from sbc.store.tables import api_keys


class ApiKeys:
    """Adds and revokes keys; the admin room reads them again by itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, key: ApiKey, by: str) -> Deferred[None]:
        """Store a key. Fails with Refused 409 when there is one of that name."""

        def change(connection: Connection) -> None:
            row = {
                "name": key.name,
                "hash": key.digest,
                "role": key.role,
                "created_at": time.time(),
                "created_by": by,
                "expires_at": key.expires_at,
            }
            connection.execute(insert(api_keys).values(**row))

        added = self._store.write(Execute(change))
        return added.addErrback(self._taken, key.name)

    def revoke(self, name: str) -> Deferred[bool]:
        """Revoke a key; whether there was one."""

        def change(connection: Connection) -> bool:
            known = select(api_keys.c.id).where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
            if connection.execute(known).first() is None:
                return False
            connection.execute(update(api_keys).where(api_keys.c.name == name).values(revoked_at=time.time()))
            return True

        return self._store.write(Execute(change))

    def _taken(self, failure: Failure, name: str) -> None:
        problem = failure.value
        if isinstance(problem, StoreError) and isinstance(problem.__cause__, IntegrityError):
            raise Refused(409, f"there is a key named {name}")
        failure.raiseException()
