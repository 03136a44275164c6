"""What the emulated push services over plain HTTPS share: where they listen, what they do when told, their record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from sbc.lab.authority import Authority
from sbc.lab.loop import Reactor
from sbc.lab.received import Inbox, ReceivedPush
from sbc.lab.script import Answer, Script
from sbc.lab.web import WebRequest, WebServer


class PushServer:
    """A service of `provider`. Requests go to `serve`; `wall` is UTC epoch seconds."""

    provider = ""

    def __init__(self, reactor: Reactor, authority: Authority, host: str, port: int, wall: Callable[[], float]) -> None:
        self.inbox = Inbox()
        self.script: Script[Answer] = Script()
        self._reactor = reactor
        self._wall = wall
        self._server = WebServer(reactor, authority, host, port, self.serve)

    def start(self) -> Deferred[None]:
        """Listen."""
        return self._server.start()

    def stop(self) -> Deferred[None]:
        """Be gone."""
        return self._server.stop()

    def serve(self, request: WebRequest) -> None:
        """Answer a request."""
        raise NotImplementedError

    def record(
        self, request: WebRequest, token: str, payload: Mapping[str, Any], status: int, reason: str, push_id: str
    ) -> None:
        """Remember a push as it was answered, and tell its device."""
        self.inbox.record(
            ReceivedPush(
                provider=self.provider,
                at=self._reactor.seconds(),
                arrived_at=self._wall(),
                token=token,
                headers=request.headers,
                body=request.body,
                payload=payload,
                status=status,
                reason=reason,
                connection=request.connection,
                push_id=push_id,
            )
        )
