"""The relay inside the process that signals: one reactor for both."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from random import Random
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sbc.media.engine import Answer, Fault, Offer, Statistics
from sbc.media.forward import Forwarder
from sbc.media.relay import SWEEP, Relay
from sbc.media.settings import MediaSettings
from sbc.sip.errors import RemoteError

_log = Logger()
P = ParamSpec("P")
T = TypeVar("T")


def _deferring(function: Callable[P, T]) -> Callable[P, Deferred[T]]:
    """The result, or the `RemoteError`, as a Deferred that has already fired."""

    @wraps(function)
    def deferred(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        try:
            return succeed(function(*args, **kwargs))
        except RemoteError as problem:
            return fail(problem)

    return deferred


@implementer(IReadDescriptor)
class _Turning:
    """Lets a reactor turn the forwarder; one descriptor whatever the number of ports."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    def fileno(self) -> int:
        return self._forwarder.fileno()

    def doRead(self) -> None:
        self._forwarder.turn()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends; the engine closes the sockets."""

    def logPrefix(self) -> str:
        return "relay"


class InlineEngine:
    """An `Engine` around a relay; see there."""

    name = "inline"

    def __init__(self, settings: MediaSettings, reactor: Any, random: Random | None = None) -> None:
        self._reactor = reactor
        self.relay = Relay(settings, reactor.seconds, reactor.callLater, random)
        self.forwarder = self.relay.forwarder
        self._turning = _Turning(self.forwarder)
        self._sweeping = LoopingCall(self.relay.sweep)
        self._sweeping.clock = reactor

    @property
    def on_fault(self) -> Callable[[str, Fault], None]:
        """See `Engine.on_fault`."""
        return self.relay.on_fault

    @on_fault.setter
    def on_fault(self, callback: Callable[[str, Fault], None]) -> None:
        self.relay.on_fault = callback

    @property
    def streams(self) -> int:
        """Media lines that have ports."""
        return self.relay.streams

    @property
    def packets(self) -> int:
        """Packets received from parties since the start."""
        return self.relay.packets

    @property
    def pinned(self) -> int:
        """See `Engine.pinned`."""
        return len(self.forwarder.pins)

    @property
    def exhausted(self) -> int:
        """See `Engine.exhausted`."""
        return self.relay.exhausted

    def reload(self, settings: MediaSettings) -> None:
        """See `Engine.reload`."""
        self.relay.reload(settings)

    def prepare(self) -> None:
        """Nothing needs privileges."""

    def start(self) -> None:
        """Read packets from now on."""
        if not self.relay.open_files():
            _log.warn("the limit of open files (ulimit -Hn) is too low for all media ports to be used at once")
        self._reactor.addReader(self._turning)
        self._sweeping.start(SWEEP, now=False)

    def stop(self) -> Deferred[None]:
        """End all legs and close every socket."""
        if self._sweeping.running:
            self._sweeping.stop()
            self._reactor.removeReader(self._turning)
        self.relay.stop()
        return succeed(None)

    leave = stop
    """Nothing goes on without this process: the next one opens the ports again."""

    def carries(self, key: str) -> bool:
        """See `Engine.carries`."""
        return self.relay.carries(key)

    def snapshot(self, key: str) -> str | None:
        """See `Engine.snapshot`."""
        return self.relay.snapshot(key)

    @_deferring
    def offer(self, key: str, offer: Offer) -> bytes:
        """See `Engine.offer`."""
        return self.relay.offer(key, offer)

    @_deferring
    def answer(self, key: str, answer: Answer) -> bytes:
        """See `Engine.answer`."""
        return self.relay.answer(key, answer)

    @_deferring
    def restore(self, key: str, text: str) -> bool:
        """See `Engine.restore`."""
        return self.relay.restore(key, text)

    @_deferring
    def close(self, key: str) -> Statistics:
        """See `Engine.close`."""
        return self.relay.close(key)
