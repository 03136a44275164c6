"""A media process's end of the connection with the signalling process."""

from __future__ import annotations

import socket
from collections.abc import Callable

from sbc.media import control
from sbc.media.control import Message
from sbc.media.forward import Forwarder

#: Bytes read at once.
CHUNK = 262_144


class Line:
    """The connection of a signalling process: `obey(line, message)` is called with what it says, `over(line)` once,
    when it is gone or misbehaves."""

    def __init__(
        self,
        forwarder: Forwarder,
        connection: socket.socket,
        obey: Callable[[Line, Message], None],
        over: Callable[[Line], None],
    ) -> None:
        self._forwarder = forwarder
        self._socket = connection
        self._obey = obey
        self._over = over
        self._frames = control.Frames()
        self._waiting = bytearray()
        connection.setblocking(False)
        forwarder.watch(connection.fileno(), self._ready)

    def send(self, message: Message) -> None:
        """Send, or keep until it can be sent."""
        if self._socket.fileno() < 0:
            return
        idle = not self._waiting
        self._waiting += control.frame(message)
        if len(self._waiting) > control.MAX_WAITING:
            self.close()
        elif idle:
            self._flush()

    def close(self) -> None:
        """Hang up."""
        if self._socket.fileno() >= 0:
            self._forwarder.unwatch(self._socket.fileno())
            self._socket.close()
            self._over(self)

    def _ready(self) -> None:
        self._flush()
        if self._socket.fileno() < 0:
            return
        try:
            data = self._socket.recv(CHUNK)
            if not data:
                raise ConnectionResetError
            for message in self._frames.feed(data):
                self._obey(self, message)
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            self.close()

    def _flush(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: self._socket.send(self._waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._socket.fileno() >= 0:
            self._forwarder.watch(self._socket.fileno(), self._ready, writing=bool(self._waiting))
