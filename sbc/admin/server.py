# mypy: allow-untyped-calls
"""The HTTP edge: twisted.web requests in, routes run, answers with the security headers out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as AnyRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from sbc.admin.access import PROXY_HEADERS, Access, Caller, Credentials
from sbc.admin.keyfile import KEY_FILE, host_key
from sbc.admin.keys import ApiKey, Keyring, digest
from sbc.admin.routes import Answer, Ask, Refused, Route, Router, as_json
from sbc.admin.settings import AdminSettings
from sbc.admin.shared_key import OFFERED, SharedKey
from sbc.sip.errors import RemoteError
from sbc.transport.tls import CertificateError, Files, ServerIdentity

BODY_LIMIT: Final = 256 * 1024
"""Bytes of a request's body; more is read and thrown away, then refused."""

FLOOD_LIMIT: Final = 16 * BODY_LIMIT
"""Bytes of a refused body after which the connection is cut."""

KEYS_INTERVAL: Final = 5.0
"""Seconds until a key that was made or revoked, on any node, is known here."""

CONNECTIONS: Final = 200
"""Connections at a time: operators, Prometheus and balancers need a dozen."""

IDLE: Final = 60
"""Seconds a connection may be idle."""

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
        b" frame-ancestors 'none'",
    ),
)
"""On every answer. The pages need no script, so that what a phone sends as its name cannot become one."""


class BoundedRequest(Request):
    """A request that keeps no more than `BODY_LIMIT` bytes of body."""

    body_bytes = 0

    def gotLength(self, length: int | None) -> None:
        self.body_bytes = 0
        # The base class makes a temporary file for large bodies: it is told of none.
        super().gotLength(0 if length is None or length > BODY_LIMIT else length)

    def handleContentChunk(self, data: bytes) -> None:
        self.body_bytes += len(data)
        if self.body_bytes <= BODY_LIMIT:
            super().handleContentChunk(data)
        elif self.body_bytes > FLOOD_LIMIT:
            self.channel.forceAbortClient()


class Door(Resource):
    """The one resource: every request comes here, is admitted, routed, answered."""

    isLeaf = True
    log = Logger()

    def __init__(
        self,
        router: Router,
        access: Access,
        monotonic: Callable[[], float],
        utc: Callable[[], float],
        shared: SharedKey | None = None,
    ) -> None:
        super().__init__()
        self._router = router
        self._access = access
        self._shared = shared or SharedKey()
        self._monotonic = monotonic
        self._utc = utc

    def render(self, request: Request) -> int:
        """Serve one request, now or later."""
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        serve: Callable[[Request], Any] = self._serve
        serving: Deferred[Answer] = maybeDeferred(serve, request)
        serving.addErrback(self._refused, request)
        serving.addCallback(partial(self._write, request, gone))
        serving.addErrback(lambda failure: self.log.failure("an HTTP answer failed", failure))
        return NOT_DONE_YET

    def _serve(self, request: Request) -> Answer | Deferred[Answer]:
        if getattr(request, "body_bytes", 0) > BODY_LIMIT:
            raise Refused(413, f"the body is larger than {BODY_LIMIT} bytes")
        path = request.path.decode("ascii", "replace")
        route, parameters = self._router.find(request.method.decode("ascii", "replace"), path)
        caller = self._caller(request, route)
        query = route.read_query(_query(request.args))
        body = route.read_body(cast("IO[bytes]", request.content).read(), _header(request, b"content-type"))
        if route.need == "write":
            self.log.info("{route} by {caller}", route=route.name, caller=caller.name, peer=_peer(request))
        return route.run(Ask(caller, parameters, query, body))

    def _caller(self, request: Request, route: Route) -> Caller:
        shown, now, now_at = _shown(request), self._monotonic(), self._utc()
        if not route.open_query:
            return self._access.admit(shown, route.need, now, now_at)
        query = _query(request.args)
        if any(name in query for name in OFFERED):
            keyring = self._access.keyring
            return self._access.admit_by(shown.peer, now, lambda: self._shared.recognise(query, keyring, now_at))
        caller = self._access.admit(shown, route.need, now, now_at)
        # A browser sends Basic along on foreign pages' behalf, and these routes act by GET.
        return caller if shown.authorization.lower().startswith("bearer ") else Caller(caller.name, "read")

    def _refused(self, failure: Failure, request: Request) -> Answer:
        refused = failure.check(Refused)
        if failure.check(RemoteError) is not None:
            remote = cast(RemoteError, failure.value)
            return as_json({"error": f"not now: {remote.reason.decode('utf-8', 'replace')}"}, 503)
        if refused is None:
            self.log.failure("an HTTP request failed", failure)
            return as_json({"error": "something went wrong here; the log says what"}, 500)
        error = cast(Refused, failure.value)
        if error.status in (401, 429) and _header(request, b"authorization"):
            self.log.warn("a wrong API key from {peer}", peer=_peer(request))
        if request.path.startswith(b"/mvapireq"):
            return Answer(f"ERROR, {error.reason}\n".encode(), "text/plain; charset=utf-8", error.status)
        answer = as_json({"error": error.reason}, error.status)
        if error.status == 401:
            return Answer(answer.body, answer.content_type, 401, (("WWW-Authenticate", 'Basic realm="sbc"'),))
        return answer

    def _write(self, request: Request, gone: list[Failure], answer: Answer) -> None:
        if gone:
            return
        request.setResponseCode(answer.status)
        for name, value in SECURITY_HEADERS:
            request.setHeader(name, value)
        request.setHeader(b"server", b"sbc")
        request.setHeader(b"content-type", answer.content_type.encode())
        request.setHeader(b"content-length", str(len(answer.body)).encode())
        for header, text in answer.headers:
            request.setHeader(header.encode(), text.encode())
        if request.method != b"HEAD":
            request.write(answer.body)
        request.finish()


def _header(request: Request, name: bytes) -> str:
    value = request.requestHeaders.getRawHeaders(name)
    return value[0].decode("utf-8", "replace") if value else ""


def _peer(request: Request) -> str:
    return str(getattr(request.getClientAddress(), "host", ""))


def _shown(request: Request) -> Credentials:
    return Credentials(
        peer=_peer(request),
        host=_header(request, b"host"),
        authorization=_header(request, b"authorization"),
        proxied=any(request.requestHeaders.hasHeader(name) for name in PROXY_HEADERS),
    )


def _query(args: Mapping[bytes, list[bytes]]) -> dict[str, str]:
    query: dict[str, str] = {}
    for name, values in args.items():
        if len(values) > 1:
            raise Refused(400, "a parameter is given twice")
        query[name.decode("utf-8", "replace")] = values[0].decode("utf-8", "replace")
    return query


class QuietSite(Site):
    """A site that takes `CONNECTIONS` at a time and has no access log of its own.

    Addresses in an access log may carry keys; what is written is logged by `Door`.
    """

    noisy = False
    open = 0

    def buildProtocol(self, addr: Any) -> Any:
        """A channel for this connection, or None, which closes it at once."""
        if self.open >= CONNECTIONS:
            return None
        channel: Any = super().buildProtocol(addr)
        self.open += 1
        lost = channel.connectionLost

        def connection_lost(reason: Failure) -> None:
            self.open -= 1
            lost(reason)

        channel.connectionLost = connection_lost
        return channel

    def log(self, request: AnyRequest) -> None:
        """Nothing."""


class AdminService(Service):
    """Listens while running. `port` is the listening port once it does.

    The key of this host is made in the state directory at the start, so that it belongs to the user the node runs as.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: AdminSettings,
        router: Router,
        state: Path,
        *,
        monotonic: Callable[[], float],
        utc: Callable[[], float],
        stored_keys: Callable[[], Deferred[tuple[ApiKey, ...]]],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._state = state
        self._random = random
        self._stored_keys = stored_keys
        self._own: tuple[ApiKey, ...] = ()
        self._reading = LoopingCall(self._read_keys)
        self._reading.clock = reactor
        self.access = Access(Keyring(), key_on_loopback=settings.key_on_loopback, hosts=settings.hosts)
        self.shared = SharedKey()
        self.shared.name, self.shared.key = settings.api_id, settings.api_key
        self.site = QuietSite(
            Door(router, self.access, monotonic, utc, self.shared), requestFactory=BoundedRequest, timeout=IDLE
        )
        self._identity: ServerIdentity | None = None
        self.port: IListeningPort | None = None

    def configure(self, settings: AdminSettings) -> None:
        """Take over what a reload may change, and read the certificate again."""
        self.access.key_on_loopback = settings.key_on_loopback
        self.access.hosts = frozenset(host.lower() for host in settings.hosts)
        self.shared.name, self.shared.key = settings.api_id, settings.api_key
        if self._identity is not None:
            try:
                self._identity.reload(self._files())
            except CertificateError as error:
                self.log.error("the certificate stays as it was: {error}", error=error)

    def startService(self) -> None:
        super().startService()
        key = host_key(self._state / KEY_FILE, self._random)
        self._own = (ApiKey("host", digest(key), "write"),)
        self.access.keyring = Keyring(self._own)
        self._reading.start(KEYS_INTERVAL)
        listening = maybeDeferred(self._listen)
        listening.addCallbacks(
            self._listens, lambda failure: self.log.failure("the admin interface cannot listen", failure)
        )

    def _listen(self) -> Deferred[IListeningPort]:
        host, number = self._settings.listen
        if self._settings.certificate:
            self._identity = ServerIdentity(self._files())
            return maybeDeferred(self._reactor.listenSSL, number, self.site, self._identity, interface=host)
        endpoint = serverFromString(self._reactor, f"tcp:{number}:interface={quoteStringArgument(host)}")
        return cast("Deferred[IListeningPort]", endpoint.listen(self.site))

    def _files(self) -> Files:
        return Files(certificate=self._settings.certificate, key=self._settings.key)

    def _listens(self, port: IListeningPort) -> None:
        self.port = port
        self.log.info("web page and API at {address}", address=str(self._settings.listen))

    def _read_keys(self) -> Deferred[None]:
        def known(stored: tuple[ApiKey, ...]) -> None:
            self.access.keyring = Keyring((*self._own, *stored))

        # The keys that were read before stay good while the database is away.
        return self._stored_keys().addCallbacks(
            known, lambda failure: self.log.failure("the API keys cannot be read", failure)
        )

    def stopService(self) -> Deferred[object] | None:
        super().stopService()
        if self._reading.running:
            self._reading.stop()
        if self.port is None:
            return None
        port: Any = self.port
        self.port = None
        return maybeDeferred(port.stopListening)
