"""Devices that asked what push there is and registered without any: they are in RAM alone.

A capability query (RFC 8599 section 4.1.5) stores nothing, yet the phone that sends one is registered and can be called
while it is there.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from sbc.store.records import Binding, Subscriber, Target, User

MAX_GUESTS = 10_000
"""Devices remembered, about 1 kB each: the next REGISTER of such an app brings its token, and that one is stored."""


class Guests:
    """Guests by the `place` that they registered at; of one user there may be several."""

    def __init__(self) -> None:
        self._guests: OrderedDict[str, tuple[User, Binding]] = OrderedDict()
        self._by_user: dict[tuple[str, str], dict[str, None]] = {}
        self._users: dict[str, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def settle(self, token: str, user: User, binding: Binding) -> None:
        """A device registered; `token` is the user part by which the upper server knows its user."""
        key = place(binding.flow, binding.contact, bool(binding.path))
        self.leave(key)
        while len(self._guests) >= MAX_GUESTS:
            self.leave(next(iter(self._guests)))
        self._guests[key] = user, binding
        self._by_user.setdefault((user.username, user.domain), {})[key] = None
        self._users[token] = (user.username, user.domain)

    def leave(self, flow: str) -> None:
        """Whoever was a guest on this flow is none any more."""
        user, _ = self._guests.pop(flow, (None, None))
        if user is None:
            return
        key = (user.username, user.domain)
        flows = self._by_user[key]
        del flows[flow]
        if not flows:
            del self._by_user[key]
            self._users = {token: other for token, other in self._users.items() if other != key}

    def join(
        self, found: Subscriber | None, token: str | None, username: str, domain: str, now_at: float
    ) -> Subscriber | None:
        """The user as it was found in the store, with its guests; None: there is neither."""
        if not self._guests:
            return found
        key = (username, domain)
        if found is not None:
            key = (found.user.username, found.user.domain)
        elif token in self._users:
            key = self._users[token]
        flows = self._by_user.get(key)
        if not flows:
            return found
        for flow in [flow for flow in flows if self._guests[flow][1].expires_at <= now_at]:
            self.leave(flow)
        guests = [self._guests[flow] for flow in self._by_user.get(key, ())]
        targets = tuple(Target(binding) for _, binding in guests)
        if found is not None:
            return replace(found, targets=found.targets + targets)
        return Subscriber(guests[0][0], targets) if guests else None


def place(flow: str, contact: str, behind: bool) -> str:
    """What tells one guest from the next: its flow; its Contact too where it is the flow of a proxy between."""
    return f"{flow} {contact}" if behind else flow
