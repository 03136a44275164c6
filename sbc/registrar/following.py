"""Registrations that follow a request: to the stand-in for a server that is down, and back.

A stand-in knows none of the users whose registration has not moved to it yet, and would say 404 to calls for them, or
refuse theirs. Most move by themselves, as fast as `registrar.refresh_rate` lets them; those of a call do so before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from sqlalchemy import Connection
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from sbc.store import queries
from sbc.store.records import UpperRegistration, User
from sbc.store.service import Store
from sbc.upper.refresher import Refresher
from sbc.upper.servers import UpperServer
from sbc.upper.watch import Watch

log = Logger()

PATIENCE = 2.0
"""Seconds that a request waits for the registrations of its parties: a REGISTER, its challenge and one repetition."""

Account = tuple[str, str]
"""A user's name and domain."""


class Following:
    """Moves registrations of users who call or are called."""

    def __init__(self, *, store: Store, refresher: Refresher, watch: Watch, call_later: Callable[..., Any]) -> None:
        self._store = store
        self._refresher = refresher
        self._watch = watch
        self._call_later = call_later

    def settled(self, server: UpperServer) -> bool:
        """Whether no server of its domain has been in trouble lately: all registrations are where they belong."""
        fellows = self._watch.servers.fellows(server)
        return len(fellows) < 2 or self._watch.settled(fellows)

    def follow(self, server: UpperServer, users: Iterable[Account], patience: float) -> Deferred[int]:
        """Have these users registered at the server that a request of theirs goes to, unless all is `settled` there.

        Fires within `patience` seconds, with the number of registrations that have moved, whether the server took them
        or not.
        """
        fellows = self._watch.servers.fellows(server)
        done: Deferred[int] = Deferred()
        alarm = self._call_later(patience, done.callback, 0)

        def over(moved: int) -> None:
            if alarm.active():
                alarm.cancel()
                done.callback(moved)

        found = self._store.read(partial(_elsewhere, users=frozenset(users), server=server.name))
        moved = found.addCallback(self._move, server, frozenset(each.name for each in fellows))
        moved.addErrback(_broken).addCallback(over)
        return done

    def _move(
        self, found: list[tuple[User, UpperRegistration]], server: UpperServer, fellows: frozenset[str]
    ) -> Deferred[int]:
        moves = [self._refresher.move(user, row, server) for user, row in found if row.upper in fellows]
        return DeferredList(moves).addCallback(len)


def _elsewhere(
    connection: Connection, *, users: frozenset[Account], server: str
) -> list[tuple[User, UpperRegistration]]:
    return [each for user in users for each in queries.registered_elsewhere(connection, *user, server)]


def _broken(failure: Any) -> int:
    log.failure("the registrations of a call could not be moved", failure)
    return 0
