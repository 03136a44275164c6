"""A phone's REGISTER on its way to the upper servers, one after the other until one has something to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sbc.sip.message import Request, Response
from sbc.transaction.client import ClientTransaction
from sbc.transaction.driver import Driver
from sbc.transaction.retry import Retry
from sbc.transport.flow import Flow
from sbc.upper.failover import REGISTRATIONS
from sbc.upper.servers import UpperServer
from sbc.upper.watch import Watch
from sbc.upper.ways import flow_of, on_flow


class Sender(Protocol):
    """Whose REGISTER it is."""

    def written(self, server: UpperServer, flow: Flow) -> Request:
        """The request for this server, with a Via of ours for this flow."""

    def responded(self, way: Upward, server: UpperServer, sent: Request, response: Response) -> None:
        """The final response of the server that had something to say, or of the last one; `way` can ask it again."""

    def unheard(self, reason: str, *, reached: bool) -> None:
        """No server answered; `reached`: the last one could at least be sent to."""


class Upward:
    """The way of one REGISTER. `servers`: best first; `patience`: seconds of silence while there is another one."""

    __slots__ = ("_driver", "_flow", "_patience", "_sender", "_server", "_servers", "_watch")

    def __init__(
        self,
        driver: Driver,
        watch: Watch,
        sender: Sender,
        servers: list[UpperServer],
        patience: Callable[[], float],
    ) -> None:
        self._driver = driver
        self._watch = watch
        self._sender = sender
        self._servers = watch.ways.tries(servers)
        self._flow: Flow | None = None
        self._patience = patience
        self._next()

    def again(self, written: Callable[[Flow], Request]) -> None:
        """Send another request to the same server: the answer to its challenge."""
        self._reach(lambda flow: self._put(written(flow), flow))

    def received(self, txn: ClientTransaction, response: Response, now: float) -> None:
        if response.status < 200:
            return
        self._watch.served(self._server, response.status, flow_of(txn))
        if response.status in REGISTRATIONS and self._servers:
            self._next()
        else:
            self._sender.responded(self, self._server, txn.request, response)

    def timed_out(self, txn: ClientTransaction, now: float) -> None:
        self._silent("no answer", reached=True)

    def failed(self, txn: ClientTransaction, reason: str, now: float) -> None:
        self._silent(reason, reached=False)

    def _next(self) -> None:
        self._server, self._flow = self._servers.pop(0), None
        self._reach(lambda flow: self._put(self._sender.written(self._server, flow), flow))

    def _reach(self, then: Callable[[Flow], None]) -> None:
        on_flow(self._watch.ways.flow(self._server), then, lambda reason: self._silent(reason, reached=False))

    def _put(self, request: Request, flow: Flow) -> None:
        retry = Retry(give_up=self._patience() if self._servers else None)
        self._watch.ways.carry(request, flow, lambda fitting: self._send(request, fitting, retry))

    def _send(self, request: Request, flow: Flow, retry: Retry) -> None:
        self._flow = flow
        self._driver.send(request, flow, self, retry)

    def _silent(self, reason: str, *, reached: bool) -> None:
        self._watch.silent(self._server, f"REGISTER: {reason}", self._flow)
        if self._servers:
            self._next()
        else:
            self._sender.unheard(reason, reached=reached)
