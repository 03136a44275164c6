"""Providers, OAuth servers and stand-ins that speak HTTP/1.1 only, over Twisted's Agent with kept connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from sbc.push.connect import ForbiddenAddressError
from sbc.push.exchange import Exchange, LostError
from sbc.push.wire import MAX_ANSWER, Answer

# Requests under way at once: each needs a connection of its own.
MAX_CONNECTIONS = 50
# Seconds that an idle connection is kept.
KEEP_IDLE = 60


class Http1Client:
    """POSTs to one place. *endpoint* makes a new endpoint for each connection."""

    def __init__(self, reactor: Any, base: bytes, endpoint: Callable[[], Any]) -> None:
        self._base = base
        self._pool = HTTPConnectionPool(reactor, persistent=True)  # type: ignore[no-untyped-call]
        self._pool.maxPersistentPerHost = MAX_CONNECTIONS
        self._pool.cachedConnectionTimeout = KEEP_IDLE
        # A POST is not repeated behind our back: the sender counts its tries.
        self._pool.retryAutomatically = False
        self._agent: Any = Agent.usingEndpointFactory(  # type: ignore[no-untyped-call]
            reactor, _Endpoints(endpoint), pool=self._pool
        )
        self._open: dict[int, Deferred[Any]] = {}

    @property
    def room(self) -> int:
        return MAX_CONNECTIONS - len(self._open)

    def send(self, exchange: Exchange, room: Callable[[], None]) -> None:
        """Begin *exchange*; *room* is called when it is over."""
        post = exchange.post
        headers = Headers()
        for name, value in post.headers:
            headers.addRawHeader(name, value)
        request = self._agent.request(b"POST", self._base + post.path, headers, _Body(post.body))
        key = id(exchange)

        def answered(response: Any) -> Deferred[bytes]:
            exchange.status = response.code
            exchange.headers = {name.lower(): values[0] for name, values in response.headers.getAllRawHeaders()}
            body: Deferred[bytes] = Deferred()
            response.deliverBody(_Answered(body))
            return body

        def over(result: bytes | Failure) -> None:
            self._open.pop(key, None)
            if isinstance(result, Failure):
                exchange.finish(LostError(_said(result), final=isinstance(result.value, ForbiddenAddressError)))
            else:
                exchange.finish(Answer(exchange.status, exchange.headers, result))
            room()

        self._open[key] = request
        request.addCallback(answered).addBoth(over)

    def abandon(self, exchange: Exchange) -> None:
        request = self._open.get(id(exchange))
        if request is not None:
            request.cancel()

    def close(self) -> Deferred[Any]:
        for request in list(self._open.values()):
            request.cancel()
        closing: Deferred[Any] = self._pool.closeCachedConnections()  # type: ignore[no-untyped-call]
        return closing


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, endpoint: Callable[[], Any]) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: object) -> Any:
        return self._endpoint()


@implementer(IBodyProducer)
class _Body:
    """A body that is there at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._body)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


class _Answered(Protocol):
    """Collects the body of an answer up to MAX_ANSWER; what follows is read and forgotten."""

    def __init__(self, done: Deferred[bytes]) -> None:
        self._done = done
        self._pieces: list[bytes] = []
        self._size = 0

    def dataReceived(self, received: bytes) -> None:
        if self._size < MAX_ANSWER:
            self._pieces.append(received[: MAX_ANSWER - self._size])
            self._size += len(self._pieces[-1])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._done.called:
            return
        if isinstance(reason.value, ResponseDone | PotentialDataLoss):
            self._done.callback(b"".join(self._pieces))
        else:
            self._done.errback(reason)


def _said(failure: Failure) -> str:
    if isinstance(failure.value, CancelledError):
        return "given up"
    inner = getattr(failure.value, "reasons", None)
    if inner:
        failure = inner[0]
    return f"{type(failure.value).__name__}: {failure.value}"[:200]
