"""The signalling process's end of the connection with a media process: requests with their answers, and events."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.media import control
from sbc.media.control import SOCKET, Message
from sbc.sip.errors import RemoteError

_CREDENTIALS = Struct("=iII")  # struct ucred: process, user, group

log = Logger()


class Request:
    """A question to the media process. `asked_at`: when it was asked, `put_at`: when it was sent, seconds."""

    __slots__ = ("answer", "asked_at", "message", "put_at")

    def __init__(self, message: Message, asked_at: float) -> None:
        self.message = message
        self.asked_at = self.put_at = asked_at
        self.answer: Deferred[Message] = Deferred()

    def settle(self, reply: Message) -> None:
        """The reply came: a refusal is a `RemoteError`."""
        if "status" in reply:
            self.answer.errback(RemoteError(reply["status"], str(reply["reason"]).encode("latin-1")))
        else:
            self.answer.callback(reply)


class Link(Protocol):
    """One connection. `event` is called with each event, `lost` when the connection is, with what was not answered."""

    transport: Any

    def __init__(
        self, clock: Callable[[], float], event: Callable[[Message], None], lost: Callable[[list[Request]], None]
    ) -> None:
        self._clock = clock
        self._event = event
        self._lost = lost
        self._frames = control.Frames()
        self._open: dict[int, Request] = {}
        self._number = 0
        #: The process that listens at the other end; 0 while that is unknown.
        self.pid = 0
        #: When the other side last said something.
        self.heard_at = clock()

    def put(self, request: Request) -> None:
        """Send a request; its Deferred fires when the answer is here."""
        self._number += 1
        request.put_at = self._clock()
        self._open[self._number] = request
        self.transport.write(control.frame({**request.message, "id": self._number}))

    def owes(self) -> float:
        """Seconds for which the other side has said nothing though it was asked something."""
        oldest = next(iter(self._open.values()), None)
        return 0.0 if oldest is None else self._clock() - max(oldest.put_at, self.heard_at)

    def kill(self) -> bool:
        """End the other side at once, and the connection. False when it may be there still."""
        killed = self.pid != 0
        try:
            if killed:
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError:
            killed = False
        self.transport.abortConnection()
        return killed

    def dataReceived(self, data: bytes) -> None:
        """Answers and events."""
        self.heard_at = self._clock()
        try:
            for message in self._frames.feed(data):
                self._take(message)
        except ValueError as problem:
            log.error("the media process cannot be understood: {why}", why=problem)
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The media process is gone."""
        unanswered = list(self._open.values())
        self._open.clear()
        self._lost(unanswered)

    def _take(self, message: Message) -> None:
        if "event" in message:
            self._event(message)
            return
        request = self._open.pop(message["id"], None)
        if request is not None:
            request.settle(message)


def connect(reactor: Any, state: Path, link: Link) -> bool:
    """Connect to the media process that listens in this directory; False when there is none."""
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = -1
    try:
        directory = os.open(state, os.O_PATH | os.O_DIRECTORY)
        connecting.setblocking(False)
        connecting.connect(f"/proc/self/fd/{directory}/{SOCKET}")  # the true path may be longer than a socket's may be
        credentials = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        link.pid = _CREDENTIALS.unpack(credentials)[0]
        factory = Factory.forProtocol(lambda: link)
        reactor.adoptStreamConnection(connecting.fileno(), socket.AF_UNIX, factory)
    except OSError:
        return False
    finally:
        connecting.close()
        if directory >= 0:
            os.close(directory)
    return True
