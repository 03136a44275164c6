"""Where bytes become messages and messages bytes: the receiver of the transports, nothing raised out of it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.media.addresses import canonical
from sbc.observe.metrics import Metrics
from sbc.observe.trace import TraceRing
from sbc.security.guard import Guard
from sbc.sip.build import respond, stamp
from sbc.sip.check import check
from sbc.sip.errors import ParseError, RemoteError
from sbc.sip.message import Request, Response, parse
from sbc.transaction.driver import Driver
from sbc.transport.flow import Flow
from sbc.transport.limits import BANNED, OVERLOAD

log = Logger()


class Border:
    """Parses what arrives and hands it to the driver; counts, traces, and holds offences against those who send junk.

    `gone` is told of flows that ended; `udp_flow(flow, peer)` is the flow from the same socket to another peer;
    `alias(flow, port)` hears that a TLS connection may be used toward that port of its peer (RFC 5923).
    """

    def __init__(
        self,
        *,
        driver: Driver,
        guard: Guard,
        metrics: Metrics,
        trace: TraceRing,
        gone: Callable[[Flow], None],
        clock_at: Callable[[], float],
        udp_flow: Callable[[Flow, tuple[str, int]], Flow],
        alias: Callable[[Flow, int], None],
    ) -> None:
        self._driver = driver
        self._guard = guard
        self._metrics = metrics
        self._trace = trace
        self._gone = gone
        self._clock_at = clock_at
        self._udp_flow = udp_flow
        self._alias = alias
        driver.sent = self.sent
        driver.bug = self.bug
        driver.theirs = self.theirs

    def received(self, data: bytes, flow: Flow) -> None:
        """A whole message came in."""
        if self._trace.on:
            self._trace.record(self._clock_at(), "in", _ours(flow), _peer(flow), data)
        try:
            message = parse(data)
            if isinstance(message, Request):
                if not self._served(message, flow):
                    return
                self._driver.receive(message, self._stamped(message, flow))
            else:
                self._metrics.count_message("in", message.cseq.method, flow.transport)
                self._metrics.count_response(message.status)
                cleaned(message)
                self._driver.receive(message, flow)
        except ParseError as problem:
            self._malformed(problem, flow)
        except RemoteError as problem:
            self._metrics.refused.add("malformed")
            log.debug("message from {flow} dropped: {problem}", flow=flow, problem=problem)
        except Exception as problem:  # noqa: BLE001 - the border: our own bug must not cost the listener
            self.bug(problem)

    def lost(self, flow: Flow, reason: str) -> None:
        """A connection ended: its device is asleep from now on, its transactions fail."""
        try:
            self._gone(flow)
            self._driver.lost(flow)
        except Exception as problem:  # noqa: BLE001 - as above
            self.bug(problem)

    def theirs(self, problem: RemoteError) -> None:
        """A message turned out to be unusable where nobody waits for an answer."""
        self._metrics.refused.add("malformed")
        log.debug("a message was dropped: {problem}", problem=problem)

    def bug(self, problem: Exception) -> None:
        """Something of ours raised: it is told with its place, and the next message is served."""
        self._metrics.refused.add("bug")
        log.failure("a bug in the SBC", Failure(problem))  # type: ignore[no-untyped-call]

    def refused(self, flow: Flow, what: str) -> None:
        """Bytes were dropped unread."""
        self._metrics.refused.add(what)
        if what != BANNED:
            self.offence(flow, what)

    def shed(self, count: int) -> None:
        """Datagrams of strangers were dropped for want of time."""
        self._metrics.refused.add(OVERLOAD, by=count)

    def sent(self, data: bytes, flow: Flow) -> None:
        """A message goes out."""
        if self._trace.on:
            self._trace.record(self._clock_at(), "out", _ours(flow), _peer(flow), data)
        if data.startswith(b"SIP/2.0 "):
            self._metrics.count_response(int(data[8:11]))
            self._metrics.count_message("out", _cseq_method(data), flow.transport)
        else:
            self._metrics.count_message("out", data[: data.find(b" ")], flow.transport)

    def _served(self, request: Request, flow: Flow) -> bool:
        self._metrics.count_message("in", request.method, flow.transport)
        host = flow.peer[0]
        if not self._guard.request(host, self._driver.clock(), self._clock_at(), proven=flow.reliable):
            self._metrics.refused.add("flood")
            return False
        if self._guard.scanner(request.first(b"user-agent")) and not self._guard.exempt(host):
            self._metrics.refused.add("scanner")
            self.offence(flow, "scanner")
            return False
        return True

    def _stamped(self, request: Request, flow: Flow) -> Flow:
        """Note in the top Via where the request came from; where its answer goes. ParseError, with the request, for a
        Via that cannot be read."""
        try:
            if flow.secure and b"alias" in request.via.params:
                self._alias(flow, request.via.port or 5061)
            host = flow.peer[0].encode()
            stamp(request, host, flow.peer[1])
            if not flow.translated and request.via.host != host:
                flow.translated = canonical(request.via.host.strip(b"[]").decode("latin-1")) != flow.peer[0]
            return self._back(request, flow)
        except ParseError:
            check(request)  # says what is wrong as it would be said of any other part: 505 comes before 400
            raise

    def _back(self, request: Request, flow: Flow) -> Flow:
        """Where answers go: the flow, or where RFC 3261 §18.2.2 wants them when a UDP sender did not ask for rport.

        Behind NAT (its Via names another host than it sent from) a sender is answered where it sent from all the same:
        nothing else would reach it.
        """
        via = request.via
        if flow.reliable or b"rport" in via.params or via.host != flow.peer[0].encode():
            return flow
        port = via.port or 5060
        if port == flow.peer[1]:
            return flow
        back = self._udp_flow(flow, (flow.peer[0], port))
        back.heard_at = flow.heard_at
        return back

    def _malformed(self, problem: ParseError, flow: Flow) -> None:
        self._metrics.refused.add("malformed")
        self.offence(flow, "malformed")
        if problem.request is not None and problem.request.method != b"ACK":
            answer = respond(problem.request, problem.status, problem.reason or None).render()
            self.sent(answer, flow)
            flow.send(answer)

    def offence(self, flow: Flow, kind: str) -> None:
        """Hold an offence (a word of `security.bans.OFFENCES`) against the source of a flow."""
        self._guard.offence(flow.peer[0], kind, self._clock_at(), proven=flow.reliable)


def cleaned(response: Response) -> None:
    """Raise ParseError for a response that cannot be used; take away a Contact or Record-Route that cannot be read."""
    check(response)
    for name, read in ((b"contact", _contacts), (b"record-route", _record_routes)):
        if response.has(name):
            try:
                read(response)
            except ParseError:
                response.remove(name)


def _contacts(response: Response) -> object:
    return response.star_contact or response.contacts


def _record_routes(response: Response) -> object:
    return response.record_routes


def _cseq_method(data: bytes) -> bytes:
    """The method of a response as most senders write its CSeq line; empty (counted as other) for another spelling."""
    at = data.find(b"\r\nCSeq:")
    return data[at + 7 : data.find(b"\r\n", at + 7)].rpartition(b" ")[2] if at >= 0 else b""


def _ours(flow: Flow) -> str:
    return f"{flow.transport.decode()} {flow.listener.uri_host.decode()}"


def _peer(flow: Flow) -> str:
    return f"{flow.transport.decode()} {flow.peer[0]}:{flow.peer[1]}"
