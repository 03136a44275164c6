"""Asks daemons: each request until it is answered or has failed, and which daemons are alive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.media.addresses import Address
from sbc.media.rtpengine import bencode, ng
from sbc.media.rtpengine.ng import Command
from sbc.sip.errors import RemoteError

#: Seconds until a request is sent again, and again; after the last it has failed.
REPEATS = (0.3, 0.6, 1.1)
#: Seconds between two questions whether a daemon is alive.
PING = 5.0
#: Bytes of a datagram.
MAX_DATAGRAM = 65_535
#: Requests without an answer yet.
MAX_OPEN = 10_000

log = Logger()


class SilentError(Exception):
    """A daemon does not answer."""


class _Asked:
    """A request under way."""

    __slots__ = ("answer", "packet", "repeats", "timer")

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self.repeats = 0
        self.timer: Any = None
        self.answer: Deferred[Command] = Deferred()


class Asking(DatagramProtocol):
    """Requests to one daemon at `address`. `told(alive)` is called when it answers again, or does not any more."""

    transport: Any

    def __init__(self, reactor: Any, address: Address, random: Callable[[int], bytes]) -> None:
        self._reactor = reactor
        self.address = address
        self._prefix = random(8).hex().encode("ascii")
        self._number = 0
        self._closed = False
        self._open: dict[bytes, _Asked] = {}
        #: Whether it answered last time; believed until shown otherwise.
        self.alive = True
        #: Whether a request had to be sent again and nothing was heard since: others are asked first.
        self.suspect = False
        #: Legs there now.
        self.legs = 0

    @property
    def name(self) -> str:
        """As in the configuration."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def ask(self, command: Command) -> Deferred[Command]:
        """The reply. Fails with `SilentError`, or with `RemoteError` when the daemon refuses."""
        self._number += 1
        cookie = b"%s_%d" % (self._prefix, self._number)
        asked = _Asked(cookie + b" " + bencode.encode(command))
        if self.transport is None or self._closed or len(self._open) >= MAX_OPEN:
            asked.answer.errback(SilentError(self.name))
            return asked.answer
        self._open[cookie] = asked
        self._send(cookie)
        return asked.answer

    def ping(self) -> None:
        """Look whether it is alive."""
        self.ask({"command": "ping"}).addErrback(_known)

    def close(self) -> None:
        """Give up what is under way; nothing more is asked."""
        self._closed = True
        for cookie in tuple(self._open):
            self._fail(cookie)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """A reply: only the daemon knows the cookie."""
        cookie, _, body = datagram.partition(b" ")
        asked = self._open.pop(cookie, None) if addr[:2] == self.address else None
        if asked is None:
            return
        asked.timer.cancel()
        self.suspect = False
        self._tell(True)
        try:
            reply = bencode.decode(body)
        except (ValueError, IndexError):
            reply = None
        if not isinstance(reply, dict):
            asked.answer.errback(RemoteError(503, b"Media Relay Not Understood"))
        elif reply.get("result") == b"error":
            log.warn("rtpengine {name} refused: {why}", name=self.name, why=reply.get("error-reason"))
            asked.answer.errback(ng.refusal(reply))
        else:
            asked.answer.callback(reply)

    def _send(self, cookie: bytes) -> None:
        asked = self._open[cookie]
        if asked.repeats == len(REPEATS):
            self._fail(cookie)
            return
        if asked.repeats and not self.suspect:
            self.suspect = True
            self.ping()  # the request alone may be slow to answer
        asked.timer = self._reactor.callLater(REPEATS[asked.repeats], self._send, cookie)
        asked.repeats += 1
        try:
            self.transport.write(asked.packet, self.address)
        except OSError:
            pass  # no way there just now: as good as a packet that is lost

    def _fail(self, cookie: bytes) -> None:
        asked = self._open.pop(cookie, None)
        if asked is None:  # what failed before it made others fail
            return
        if asked.timer.active():
            asked.timer.cancel()
        self._tell(False)
        asked.answer.errback(SilentError(self.name))

    def _tell(self, alive: bool) -> None:
        if alive != self.alive:
            self.alive = alive
            log.warn("rtpengine {name} {how}", name=self.name, how="answers again" if alive else "does not answer")


def _known(failure: Failure) -> None:
    """It was told already that the daemon does not answer."""
    failure.trap(SilentError, RemoteError)  # type: ignore[no-untyped-call]


def best(daemons: Sequence[Asking]) -> list[Asking]:
    """The order in which to try them for a new leg: those alive, the one with the fewest legs first, then suspects, and
    those that do not answer last."""
    return sorted(daemons, key=lambda each: (not each.alive, each.suspect, each.legs))
