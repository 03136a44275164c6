"""A BYE of ours on its way to one end of a dialog."""

from __future__ import annotations

from collections.abc import Callable

from sbc.proxy.codes import FLOW_FAILED
from sbc.proxy.dialog import Side
from sbc.proxy.ends import Ends
from sbc.sip.message import Request, Response
from sbc.transaction.client import ClientTransaction
from sbc.transaction.driver import Driver
from sbc.transport.flow import Flow
from sbc.upper.ways import on_flow


class Farewell:
    """`bye` makes the request for a flow, `lost` hears why it did not get there.

    It is sent by the route set of its dialog, and by what the device has registered since where that leads nowhere. No
    push goes out for it: a call that we end is mostly one whose phone is not there any more.
    """

    __slots__ = ("_bye", "_driver", "_ends", "_lost", "_side", "_tried")

    def __init__(
        self, driver: Driver, ends: Ends, side: Side, bye: Callable[[Flow], Request], lost: Callable[[str], None]
    ) -> None:
        self._driver = driver
        self._ends = ends
        self._side = side
        self._bye = bye
        self._lost = lost
        self._tried: set[str] = set()

    def begin(self) -> None:
        """Send it."""
        on_flow(self._ends.flow(self._side), self._send, self._elsewhere)

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        """Whatever else the peer says, for it too the dialog is over (RFC 3261 §15.1.1)."""
        if response.status in FLOW_FAILED:
            self._elsewhere(f"{response.status} {response.reason.decode('utf-8', 'replace')}")

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        """Nobody is there."""
        self._lost("no answer")

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        """The flow broke."""
        self._elsewhere(reason)

    def _send(self, flow: Flow) -> None:
        self._driver.send(self._bye(flow), flow, self)

    def _elsewhere(self, reason: str) -> None:
        on_flow(self._ends.anew(self._side, self._tried), self._send, lambda _: self._lost(reason))
