"""Is a silent phone there all the same? A datagram flow that was silent for longer than `registrar.udp_awake` counts as
asleep, but its phone may just keep quieter than others: it is asked by OPTIONS while its push is on the way, if it was
heard within twice that time.

Who answers gets the request there at once, whether the app makes anything of the push or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbc.proxy.branch import WAITING, Branch
from sbc.proxy.target import Target
from sbc.sip.build import make_request
from sbc.sip.message import Response
from sbc.transaction.client import ClientTransaction
from sbc.upper.face import contact, via

if TYPE_CHECKING:
    from sbc.proxy.attempt import Attempt

NOT_HERE = frozenset((404, 408, 410, 480, 503, 604))
"""Answers by which somebody else says that this is not the phone."""


class Asking:
    """One question on its way to the phone of a branch; `put` sends it where there is somebody to be asked."""

    __slots__ = ("_attempt", "_branch", "_txn")

    def __init__(self, attempt: Attempt, branch: Branch[Target]) -> None:
        self._attempt = attempt
        self._branch = branch
        self._txn: ClientTransaction | None = None

    def put(self) -> bool:
        """Ask, if there is a flow on which the phone may be; whether it was asked."""
        calls, target = self._attempt.calls, self._branch.target
        flow = target.quiet
        if flow is None or not flow.open:
            return False
        us = b"<%b>" % contact(flow.listener, b"sbc")
        request = make_request(
            b"OPTIONS",
            target.uri,
            via=via(flow.listener, calls.identifiers.branch()),
            from_=us + b";tag=" + calls.identifiers.tag(),
            to=b"<%b>" % target.uri,
            call_id=calls.identifiers.call_id(),
            cseq=1,
            headers=[(b"Contact", us)],
        )
        self._txn = calls.driver.send(request, flow, self)
        return True

    def stop(self) -> None:
        """Nobody wants to know any more."""
        if self._txn is not None:
            self._attempt.calls.driver.rest(self._txn)

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        """Somebody is there."""
        if response.status >= 200 and response.status not in NOT_HERE and self._branch.state is WAITING:
            self._attempt.found(self._branch, now)

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        """Asleep, as was thought."""

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        """The same."""
