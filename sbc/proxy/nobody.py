"""The client of requests whose outcome changes nothing."""

from __future__ import annotations

from sbc.sip.message import Response
from sbc.transaction.client import ClientTransaction


class _Nobody:
    """The client of requests whose outcome changes nothing: a CANCEL, a BYE after the end."""

    __slots__ = ()

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        """Nothing follows."""

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        """Nothing follows."""

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        """Nothing follows."""


NOBODY = _Nobody()
