"""The pushes about one request: to its sleeping devices, and to those that were pushed in vain."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from sbc.observe import kinds
from sbc.proxy.asking import Asking
from sbc.proxy.branch import WAITING, Branch
from sbc.proxy.identities import called_by
from sbc.proxy.target import Target, party
from sbc.push.habits import habit, push_again
from sbc.push.orders import Outcome, PushOrder, PushResult, PushType
from sbc.sip.message import Request
from sbc.sip.values import NameAddr

if TYPE_CHECKING:
    from sbc.proxy.attempt import Attempt

log = Logger()


class Summons:
    """Sends pushes for an attempt and tells its fork what became of them. `pushed_at`: when the first went out, UTC."""

    __slots__ = ("_again", "_asked", "pushed_at")

    def __init__(self) -> None:
        self._again: list[Any] = []
        self._asked: dict[str, Asking] = {}
        self.pushed_at: float | None = None

    def wake(self, attempt: Attempt, branch: Branch[Target]) -> None:
        """Ask the branch's device to come."""
        calls, request = attempt.calls, attempt.request
        token = branch.target.tokens[0]
        attempt.story.note(kinds.PUSH_SENT, f"{token.provider}, app {token.param}")
        if self.pushed_at is None:
            self.pushed_at = calls.clock_at()
        asking = Asking(attempt, branch)
        if branch.state is WAITING and asking.put():
            self._asked[branch.key] = asking
        assert attempt.kind is not None, "a request that wakes nobody"
        order = replace(
            self._order(attempt, branch.target, attempt.kind),
            urgent=attempt.kind is PushType.REFRESH,
            deadline=self.pushed_at + _wait(attempt),
            wanted=partial(self._wanted, attempt, branch),
            once=_once(request),
        )
        calls.push.send(order).addCallbacks(
            partial(self._pushed, attempt, branch, order), lambda failure: log.failure("a push failed", failure)
        )

    def over(self) -> None:
        """The request is answered."""
        for again in self._again:
            if again.active():
                again.cancel()
        self._again.clear()
        for device in list(self._asked):
            self.came(device)

    def came(self, device: str) -> None:
        """Where this device is, is known."""
        asking = self._asked.pop(device, None)
        if asking is not None:
            asking.stop()

    def announce(self, attempt: Attempt, target: Target) -> None:
        """Tell a device of a message that is kept for it; nobody waits for what becomes of the push."""
        attempt.calls.push.send(self._order(attempt, target, PushType.CHAT)).addErrback(
            lambda failure: log.failure("a push failed", failure)
        )

    def call_off(self, attempt: Attempt, branch: Branch[Target]) -> None:
        """Tell a device that was pushed, and has not come yet, that the call is over."""
        attempt.story.note(kinds.PUSH_SENT, f"{branch.target.tokens[0].provider}, the caller gave up")
        order = replace(self._order(attempt, branch.target, PushType.CANCEL), once=_once(attempt.request))
        attempt.calls.push.send(order).addCallbacks(
            partial(self._told, attempt), lambda failure: log.failure("a push failed", failure)
        )

    def _order(self, attempt: Attempt, target: Target, kind: PushType) -> PushOrder:
        """A push about this request to a device."""
        caller, callee = attempt.request.from_, attempt.request.to
        if attempt.shown_caller:
            caller = NameAddr.parse(called_by(caller.render(), attempt.shown_caller))
        chat = kind is PushType.CHAT
        return PushOrder(
            type=kind,
            tokens=target.tokens,
            message=attempt.request.body.decode("utf-8", "replace") if chat else "",
            call_id=attempt.request.call_id.decode("utf-8", "replace"),
            from_uri=f"sip:{party(caller.uri)}",
            from_user=caller.uri.username,
            from_display=caller.name,
            to_uri=f"sip:{party(callee.uri)}",
            to_user=callee.uri.username,
            user_id=attempt.user.id if attempt.user is not None else None,
        )

    def _wanted(self, attempt: Attempt, branch: Branch[Target]) -> bool:
        """Whether a push can still do any good for this branch."""
        fork = attempt.fork
        return not (fork.finished or fork.cancelled or branch.alive or branch.target.woken)

    def _told(self, attempt: Attempt, result: PushResult) -> bool:
        """Note what became of a push; whether the provider took it."""
        accepted = result.outcome is Outcome.ACCEPTED
        told = f"{result.status} {result.reason}".strip() + f" after {result.latency * 1000:.1f} ms"
        kind = kinds.PUSH_ACCEPTED if accepted else kinds.PUSH_FAILED
        attempt.story.note(kind, f"{result.outcome.value}: {told}")
        return accepted

    def _pushed(self, attempt: Attempt, branch: Branch[Target], order: PushOrder, result: PushResult) -> None:
        accepted = self._told(attempt, result)
        late = push_again(habit(branch.target.wakes), _wait(attempt)) if accepted else None
        if late is not None and self._wanted(attempt, branch):
            again = partial(self._push_again, attempt, branch, order)
            self._again.append(attempt.calls.call_later(max(0.0, late - result.latency), again))
        # A provider that has kept silent may have passed it on: the device may be on its way.
        attempt.pushed(branch, accepted or result.unsure)

    def _push_again(self, attempt: Attempt, branch: Branch[Target], order: PushOrder) -> None:
        """The device should have come by now: the same push once more, which takes the place of the first one."""
        if self._wanted(attempt, branch) and branch.state is WAITING:
            attempt.story.note(kinds.PUSH_SENT, f"{branch.target.tokens[0].provider}, later than usual: once more")
            attempt.calls.push.send(replace(order, once="")).addCallbacks(
                partial(self._told, attempt), lambda failure: log.failure("a push failed", failure)
            )


def _once(request: Request) -> str:
    """What names a request, by whatever way it comes."""
    return f"{request.call_id.decode('utf-8', 'replace')} {request.cseq.number} {request.method.decode()}"


def _wait(attempt: Attempt) -> float:
    """Seconds that the request waits for a device."""
    settings = attempt.calls.settings()
    return settings.max_wait if attempt.invite else settings.max_wait_non_invite
