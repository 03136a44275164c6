"""The line between the emulated push services and phones in other processes, as between Apple or Google and a device.

In: text lines ``listen TOKEN`` of a device. Out: one JSON object a line for every push accepted for that token.
Loopback only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Factory
from twisted.protocols.basic import LineReceiver

from sbc.lab.loop import Port, Reactor, close, started
from sbc.lab.received import Inbox, ReceivedPush

MAX_LINE = 16_384  # bytes: a push with its payload
MAX_TOKENS = 16  # of one device


class _Line(LineReceiver):
    """One device."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def __init__(self, inboxes: Sequence[Inbox], lines: set[_Line]) -> None:
        self._inboxes = inboxes
        self._lines = lines
        self._tokens: list[str] = []

    def connectionMade(self) -> None:
        """The device is on."""
        self._lines.add(self)

    def lineReceived(self, line: bytes) -> None:
        """``listen TOKEN``."""
        word, _, token = line.decode("utf-8", "replace").partition(" ")
        if word != "listen" or not token or len(self._tokens) >= MAX_TOKENS:
            self.cut()
            return
        self._tokens.append(token)
        for inbox in self._inboxes:
            inbox.listen(token, self.deliver)

    def deliver(self, push: ReceivedPush) -> None:
        """A push for it."""
        said = {"provider": push.provider, "token": push.token, "payload": push.payload, "id": push.push_id}
        self.sendLine(json.dumps(said).encode())  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any = None) -> None:
        """The device is off."""
        self._lines.discard(self)
        for token in self._tokens:
            for inbox in self._inboxes:
                inbox.unlisten(token, self.deliver)

    def cut(self) -> None:
        """End the line."""
        transport: Any = self.transport
        transport.loseConnection()


class _Lines(Factory):
    noisy = False

    def __init__(self, inboxes: Sequence[Inbox]) -> None:
        self._inboxes = inboxes
        self.open: set[_Line] = set()

    def buildProtocol(self, addr: Any) -> _Line:
        return _Line(self._inboxes, self.open)


class DeviceLine:
    """The service's end: every push accepted by one of `inboxes` goes to whoever listens on its token."""

    def __init__(self, reactor: Reactor, inboxes: Sequence[Inbox], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port
        self._reactor = reactor
        self._factory = _Lines(inboxes)
        self._listening: Port | None = None

    def start(self) -> Deferred[None]:
        """Listen."""
        listening: Port = self._reactor.listenTCP(self.port, self._factory, interface=self.host)
        self._listening = listening
        self.port = listening.getHost().port
        return started()

    def stop(self) -> Deferred[None]:
        """Listen no more, cut every line."""
        for line in list(self._factory.open):
            line.cut()
        listening, self._listening = self._listening, None
        return close(listening)


class _Device(LineReceiver):
    """The device's end."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def __init__(
        self, tokens: Sequence[str], deliver: Callable[[ReceivedPush], object], now: Callable[[], float]
    ) -> None:
        self._tokens, self._deliver, self._now = tokens, deliver, now

    def connectionMade(self) -> None:
        """Say what to listen for."""
        for token in self._tokens:
            self.sendLine(f"listen {token}".encode())  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        """A push."""
        self._deliver(push_of(line, self._now()))


class _Devices(ClientFactory):
    noisy = False

    def __init__(self, make: Callable[[], _Device], lost: Callable[[str], object]) -> None:
        self._make, self._lost = make, lost

    def buildProtocol(self, addr: Any) -> _Device:
        return self._make()

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self._lost(reason.getErrorMessage())

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:
        self._lost(reason.getErrorMessage())


def push_of(line: bytes, now: float) -> ReceivedPush:
    """The push in a line."""
    said = json.loads(line)
    blank = ReceivedPush(provider="", at=now, arrived_at=now, token="", headers={}, body=line, status=200)
    return replace(blank, provider=said["provider"], token=said["token"], payload=said["payload"], push_id=said["id"])


def listen(
    reactor: Reactor,
    port: int,
    tokens: Sequence[str],
    deliver: Callable[[ReceivedPush], object],
    lost: Callable[[str], object],
    host: str = "127.0.0.1",
) -> Callable[[], object]:
    """Be the device with these tokens at the service's `port`; `lost` is told why when the line is cut. What comes back
    ends it."""
    connector = reactor.connectTCP(host, port, _Devices(lambda: _Device(tokens, deliver, reactor.seconds), lost))
    hang_up: Callable[[], object] = connector.disconnect
    return hang_up
