"""Calls that were tried at devices here first, went on to the upper server, and come back from it for the same devices.

A proxy sends them under their Call-ID. A B2BUA makes a call of its own, and nothing that every one of them leaves alone
ties that to the first: so it is known by what it says of its caller, or by coming at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sbc.proxy.attempt import Attempt
from sbc.proxy.branch import DONE, best
from sbc.proxy.identities import IDENTITIES
from sbc.proxy.waiting import Waiting
from sbc.sip.errors import ParseError
from sbc.sip.message import Request
from sbc.sip.values import NameAddr
from sbc.store.records import User

MAX_CHALLENGED = 1_000
"""Challenged calls remembered; those who place them come again within a second."""

AT_ONCE = 2.0
"""Seconds after a call went on to a server in which any call of that server for the same user is taken for it: a B2BUA
rings the callee at once. Whoever else calls in this very moment calls a user who has just not answered."""

NOBODY = "00000000000000000000000000000000"
"""The Session-ID of an end that is not known yet (RFC 7989 section 5)."""


class Returns:
    """Calls that may come back. `shown` is what a Call-ID reads on the other side."""

    def __init__(self, waiting: Waiting, shown: Callable[[bytes], bytes]) -> None:
        self._waiting = waiting
        self._shown = shown
        self._challenged: dict[bytes, tuple[int, int]] = {}
        """Calls to users here that nobody took, and whose upper server then asked the caller for credentials: by the
        Call-ID that it knows, the callee's id and what its devices said."""
        self._again: dict[int, tuple[Attempt, int]] = {}
        """Such calls with their credentials, on their way to the server, by the callee's id."""

    def verdict(self, attempt: Attempt, user: User, now: float) -> int | None:
        """Whether an upper server sends a call on to devices that have just been tried for the same call, before it was
        given to that server: what they answered then; None: it does not."""
        callee, verdict = self._challenged.get(attempt.request.call_id, (None, 0))
        if callee == user.id:
            return verdict
        for first, verdict in self._open(attempt, user):
            if _same(attempt, first, now):
                return verdict
        return None

    def comes_again(self, request: Request) -> bool:
        """Whether this call brings the credentials that the upper server asked for: the callee's devices had it."""
        return self._shown(request.call_id) in self._challenged

    def up_again(self, attempt: Attempt) -> None:
        """Such a call goes to the upper server."""
        callee, verdict = self._challenged[self._shown(attempt.request.call_id)]
        while len(self._again) >= MAX_CHALLENGED:
            del self._again[next(iter(self._again))]
        self._again[callee] = attempt, verdict

    def answered(self, attempt: Attempt, status: int) -> None:
        """An attempt has its final response."""
        if status not in (401, 407) or attempt.user is None or attempt.lodger is None:
            return
        found = best(branch for branch in attempt.fork.branches.values() if branch.target.server is None)
        if found is None:
            return
        while len(self._challenged) >= MAX_CHALLENGED:
            del self._challenged[next(iter(self._challenged))]
        self._challenged[self._shown(attempt.request.call_id)] = attempt.user.id, _said(found.status)

    def _open(self, attempt: Attempt, user: User) -> Iterator[tuple[Attempt, int]]:
        """Calls for this user that began here and are not answered, and what its devices said."""
        first, verdict = self._again.get(user.id, (None, 0))
        if first is not None and first.done:
            del self._again[user.id]
        elif first is not None:
            yield first, verdict
        for other in self._waiting.of(user.id):
            if isinstance(other, Attempt) and other is not attempt and other.origin is None:
                yield other, _said(other.fork.verdict())


def same_caller(request: Request, first: Request, shown: str = "") -> bool:
    """Whether two requests are in the name of one caller: by Session-ID (RFC 7989), by the user part of From or an
    identity, or by a display name. `shown` is the user part that the upper server got to see of the first, where that
    was another."""
    return bool((_sessions(request) & _sessions(first)) or (_names(request) & (_names(first) | {shown} - {""})))


def _same(attempt: Attempt, first: Attempt, now: float) -> bool:
    if any(leg.b.call_id == attempt.request.call_id and leg.b.upper is not None for leg in first.legs):
        return True
    if not attempt.invite or attempt.origin is None:
        return False
    domain = attempt.origin.domain
    tried = [
        branch
        for branch in first.fork.branches.values()
        if branch.target.server is not None and branch.target.server.domain == domain and branch.state is not DONE
    ]
    if not tried:
        return False
    if any(branch.sent_at is not None and now - branch.sent_at <= AT_ONCE for branch in tried):
        return True
    return same_caller(attempt.request, first.request, first.shown_caller)


def _said(status: int) -> int:
    """What devices that were tried in vain said: 408 would be the server's own silence."""
    return status if status != 408 else 480


def _names(request: Request) -> set[str]:
    values = [request.first(b"from") or b"", *(value for name in IDENTITIES for value in request.each(name))]
    found = set()
    for value in values:
        try:
            address = NameAddr.parse(value)
        except ParseError:
            continue
        if address.uri.user is not None:
            found |= {address.uri.username, address.name}
    return found - {"", "anonymous", "Anonymous"}


def _sessions(request: Request) -> set[str]:
    """The UUIDs of a Session-ID, its own and the remote one."""
    value = (request.first(b"session-id") or b"").decode("ascii", "replace").lower()
    own, *params = (part.strip() for part in value.split(";"))
    named = [own, *(part.removeprefix("remote=") for part in params if part.startswith("remote="))]
    return set(named) - {"", NOBODY}
