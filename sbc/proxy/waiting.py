"""Which requests wait for, or could still use, a device of which user."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from sbc.registrar.flows import Awake, TurnedAway

RECENT = 10.0
"""Seconds that a registration stays news: longer than any look-up of the callee takes, so that a phone which registers
while its user is being looked up is not missed."""


class Waiter(Protocol):
    """A request whose target set may still grow."""

    def woken(self, news: Awake, now: float) -> None:
        """A device of the callee has registered."""

    def turned_away(self, news: TurnedAway, now: float) -> None:
        """A device that woke was refused by the upper server; perhaps one of the callee."""


class Waiting:
    """Open requests by user, and the registrations of the last seconds. One node's RAM, for what is under way."""

    def __init__(self) -> None:
        self._by_user: dict[int, list[Waiter]] = {}
        self._news: deque[tuple[float, Awake]] = deque()
        self._recent: dict[int, list[tuple[float, Awake]]] = {}

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._by_user.values())

    def enter(self, user_id: int, waiter: Waiter) -> None:
        """This request may use any device of the user from now on."""
        self._by_user.setdefault(user_id, []).append(waiter)

    def leave(self, user_id: int, waiter: Waiter) -> None:
        """This request is answered."""
        waiters = self._by_user.get(user_id)
        if waiters is None or waiter not in waiters:
            return
        waiters.remove(waiter)
        if not waiters:
            del self._by_user[user_id]

    def of(self, user_id: int) -> list[Waiter]:
        """The open requests for this user's devices."""
        return list(self._by_user.get(user_id, ()))

    def since(self, user_id: int, started: float, now: float) -> list[Awake]:
        """Devices of the user that registered since `started`, oldest first."""
        self._forget(now)
        return [news for at, news in self._recent.get(user_id, ()) if at >= started]

    def awake(self, news: Awake, now: float) -> None:
        """A device registered: tell the requests that wait for its user, at once."""
        self._forget(now)
        self._news.append((now, news))
        self._recent.setdefault(news.user_id, []).append((now, news))
        for waiter in tuple(self._by_user.get(news.user_id, ())):
            waiter.woken(news, now)

    def turned_away(self, news: TurnedAway, now: float) -> None:
        """A device was refused by the upper server: who waits for it waits in vain (RFC 8599 section 5.6.2)."""
        for waiter in [waiter for waiters in self._by_user.values() for waiter in waiters]:
            waiter.turned_away(news, now)

    def _forget(self, now: float) -> None:
        while self._news and self._news[0][0] + RECENT < now:
            _, news = self._news.popleft()
            known = self._recent[news.user_id]
            known.pop(0)
            if not known:
                del self._recent[news.user_id]
