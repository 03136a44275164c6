"""What the laboratory asks of a reactor and of a transport, in types that can be checked.

Twisted's own interfaces are zope interfaces, which mypy reads without ``self``. Any reactor with TCP, UDP, TLS and
timers fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred


class Timer(Protocol):
    """A delayed call."""

    def active(self) -> bool:
        """Still to come."""

    def cancel(self) -> None:
        """Do not call after all."""


class Host(Protocol):
    """An IP address and port."""

    host: str
    port: int


class Port(Protocol):
    """A listening socket."""

    def getHost(self) -> Any:
        """Where it listens: a `Host`."""

    def stopListening(self) -> Deferred[None] | None:
        """Close it."""


class DatagramPort(Port, Protocol):
    """A bound UDP socket."""

    def write(self, datagram: bytes, addr: tuple[str, int]) -> Any:
        """Send one datagram."""


class Stream(Protocol):
    """A connection's transport."""

    def write(self, data: bytes) -> None:
        """Send."""

    def loseConnection(self) -> None:
        """Send what is buffered, then close."""

    def abortConnection(self) -> None:
        """Cut it."""

    def getPeer(self) -> Any:
        """The other end: a `Host`."""

    def getHost(self) -> Any:
        """This end: a `Host`."""


class Reactor(Protocol):
    """The reactor a party lives on."""

    def seconds(self) -> float:
        """Its clock."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> Any:  # noqa: A002
        """Call after `delay` seconds: a `Timer`."""

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> Any:
        """A `DatagramPort`."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """A `Port`."""

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: tuple[str, int] | None = None
    ) -> Any:
        """A connector."""


def close(port: Port | None) -> Deferred[None]:
    """Stop a listening socket that may not be there; fires when it is closed."""
    done = port.stopListening() if port is not None else None
    if done is not None:
        return done
    nothing: Deferred[None] = Deferred()
    nothing.callback(None)
    return nothing


def started() -> Deferred[None]:
    """What a ``start`` returns that needs no waiting."""
    return close(None)
