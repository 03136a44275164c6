"""The HTTP/1.1 side of the emulated services, on twisted.web.

In: requests on a TLS port. Out: `WebRequest` objects handed to a function, which answers them whenever it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from sbc.lab.authority import Authority
from sbc.lab.loop import Port, Reactor, close, started
from sbc.lab.tls import ServerTls, behind_tls

MAX_BODY = 65_536  # bytes; a push has at most 4096
IDLE = 60.0  # s until an idle connection is closed


class WebRequest:
    """One request. Header names are lower-case."""

    __slots__ = ("_open", "_request", "body", "connection", "headers", "method", "path")

    def __init__(self, request: Any) -> None:
        self._request = request  # a twisted.web Request
        self._open = True
        self.method: str = request.method.decode("latin-1")
        self.path: str = request.uri.decode("latin-1")
        found = request.requestHeaders.getAllRawHeaders()
        self.headers = {name.decode("latin-1").lower(): values[0].decode("latin-1") for name, values in found}
        self.body: bytes = request.content.read(MAX_BODY + 1) if request.content is not None else b""
        self.connection = id(request.channel)
        request.notifyFinish().addErrback(self._gone)

    def reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> bool:
        """Answer; False when the client is gone."""
        if not self._open:
            return False
        self._open = False
        self._request.setResponseCode(status)
        for name, value in headers.items():
            self._request.setHeader(name, value)
        self._request.setHeader("content-length", str(len(body)))
        self._request.write(body)
        self._request.finish()
        return True

    def cut(self) -> None:
        """Cut the connection instead of answering."""
        self._open = False
        if self._request.channel is not None:
            self._request.channel.forceAbortClient()

    def _gone(self, reason: object) -> None:
        self._open = False


class _Everything(Resource):
    """Every path."""

    isLeaf = True

    def __init__(self, serve: Callable[[WebRequest], object]) -> None:
        Resource.__init__(self)  # type: ignore[no-untyped-call]
        self._serve = serve

    def render(self, request: Any) -> int:
        """Hand it on."""
        self._serve(WebRequest(request))
        return NOT_DONE_YET


class WebServer:
    """An HTTPS server on `host`; `port` 0 takes a free one."""

    def __init__(
        self, reactor: Reactor, authority: Authority, host: str, port: int, serve: Callable[[WebRequest], object]
    ) -> None:
        self.host, self.port = host, port
        self._reactor = reactor
        self._authority = authority
        self._serve = serve
        self._listening: Port | None = None
        self._factory: TLSMemoryBIOFactory | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"https://{self.host}:{self.port}"

    def start(self) -> Deferred[None]:
        """Listen."""
        certificate, key = self._authority.server()
        tls = ServerTls(certificate, key, self._authority.ca_file, [b"http/1.1"])
        make: Any = Site
        site: Any = make(_Everything(self._serve), timeout=IDLE, reactor=self._reactor)
        site.noisy = False
        self._factory = behind_tls(self._reactor, tls, site)
        listening: Port = self._reactor.listenTCP(self.port, self._factory, interface=self.host)
        self._listening = listening
        self.port = listening.getHost().port
        return started()

    def stop(self) -> Deferred[None]:
        """Stop listening and cut every connection."""
        listening, self._listening = self._listening, None
        for connection in list(self._factory.protocols if self._factory is not None else ()):
            connection.abortConnection()
        return close(listening)
