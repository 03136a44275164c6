"""The operator's own SIP server, emulated: registrar, forking proxy, and a caller that rings registered users.

In: SIP over UDP and TCP on a loopback address; `place_call`, `send_message`. Out: answers as a usual server gives
them, unless `script` says otherwise (keys are methods), a record of what came, calls with RTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from sbc.lab.call import Call, IncomingCall, OutgoingCall, find
from sbc.lab.dialog import Header
from sbc.lab.forward import Forward, Place
from sbc.lab.location import Contact, Location, RegistrarRules, Verdict
from sbc.lab.loop import Reactor, started
from sbc.lab.party import NoAnswerError, Party, new_branch, new_tag, wire_of
from sbc.lab.rtp import RtpStream
from sbc.lab.script import Script
from sbc.lab.wires import Wire
from sbc.sip import ParseError, Request, Response, Uri
from sbc.sip.build import make_request, respond
from sbc.sip.uri import escape_user
from sbc.transaction.table import ServerTransaction

MAX_SEEN = 100_000  # requests remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A scripted answer. `status` 0 is the honest one, only later; `silent` none at all; `stale` (REGISTER) a challenge
    that says the nonce is too old. `delay` in seconds."""

    status: int = 0
    headers: tuple[Header, ...] = ()
    delay: float = 0.0
    silent: bool = False
    stale: bool = False


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request that came, and what was answered (0: nothing yet)."""

    at: float
    method: str
    request: Request
    transport: bytes
    peer: tuple[str, int]


class Upper:
    """One server. Who calls it finds `uri`; users are known by name and password."""

    def __init__(
        self,
        reactor: Reactor,
        *,
        users: Mapping[str, str],
        host: str = "127.0.0.2",
        port: int = 0,
        domain: str = "pbx.example.com",
        realm: str = "",
        transports: Sequence[str] = ("udp", "tcp"),
        honours_path: bool = True,
        challenge_calls: bool = False,
    ) -> None:
        self.reactor = reactor
        self.host, self.port = host, port
        self.domain = domain
        self.rules = RegistrarRules(realm=realm or domain, users=dict(users))
        self.location = Location(self.rules)
        self.script: Script[Reply] = Script()
        self.seen: list[SeenRequest] = []
        self.calls: list[Call] = []
        self.answering: dict[str, float] = {}  # users that this server answers for by itself, after so many seconds
        self.honours_path = honours_path
        self.challenge_calls = challenge_calls
        self._transports = tuple(transports)
        self._party = Party(reactor, host, self)
        self._dialogs: dict[tuple[bytes, bytes], Call] = {}
        self._forwards: dict[ServerTransaction, Forward] = {}

    # -- running ------------------------------------------------------------------------------------------------

    @property
    def party(self) -> Party:
        """Its SIP stack."""
        return self._party

    @property
    def uri(self) -> str:
        """Where to send requests."""
        return f"sip:{self.host}:{self.port};transport={self._transports[0]}"

    def start(self) -> Deferred[None]:
        """Listen, on one port number for all transports."""
        self._party = Party(self.reactor, self.host, self)
        if "udp" in self._transports:
            self.port = self._party.listen_udp(self.port)
        if "tcp" in self._transports:
            self.port = self._party.listen_tcp(self.port)
        return started()

    def stop(self) -> Deferred[None]:
        """Be gone. Bindings stay, as on a server that restarts; the port number stays too."""
        for call in self.calls:
            if call.media is not None:
                call.media.close()
        return self._party.close()

    # -- calling ------------------------------------------------------------------------------------------------

    def contact_of(self, user: str) -> Contact | None:
        """The latest live binding of a user."""
        return next(iter(self.location.contacts(user, self.reactor.seconds())), None)

    def place_call(
        self,
        user: str,
        *,
        caller: str = "caller",
        display: str = "",
        media: bool = True,
        headers: Sequence[Header] = (),
    ) -> OutgoingCall:
        """Ring a registered user at the latest binding; `LookupError` when there is none."""
        place = self._place(user)
        call = OutgoingCall(self, RtpStream(self.reactor, self.host, caller) if media else None)
        self.calls.append(call)
        named = f'"{display}" '.encode() if display else b""
        from_ = named + b"<sip:%b@%b>" % (escape_user(caller), self.domain.encode())
        to = b"<sip:%b@%b>" % (escape_user(user), self.domain.encode())

        def send(wire: Wire) -> None:
            call.invite(place.uri, wire, from_=from_, to=to, route=place.route, headers=list(headers))

        self._reach_place(place).addCallbacks(send, lambda reason: call.unreachable(reason.getErrorMessage()))
        return call

    def send(
        self,
        method: str,
        user: str,
        *,
        caller: str = "caller",
        headers: Sequence[Header] = (),
        body: bytes = b"",
    ) -> Deferred[Response]:
        """A request outside of dialogs to a registered user; fires with the final answer or fails with
        NoAnswerError."""
        place = self._place(user)

        def ask(wire: Wire) -> Deferred[Response]:
            request = make_request(
                method.encode(),
                place.uri,
                via=wire.via(new_branch()),
                from_=b"<sip:%b@%b>;tag=%b" % (escape_user(caller), self.domain.encode(), new_tag()),
                to=b"<sip:%b@%b>" % (escape_user(user), self.domain.encode()),
                call_id=new_tag() + b"@lab",
                cseq=1,
                headers=[*((b"route", value) for value in place.route), *headers],
                body=body,
            )
            return self._party.ask(request, wire)

        return self._reach_place(place).addCallback(ask)

    def send_message(self, user: str, text: str, *, caller: str = "caller") -> Deferred[Response]:
        """MESSAGE (RFC 3428)."""
        plain = [(b"content-type", b"text/plain;charset=UTF-8")]
        return self.send("MESSAGE", user, caller=caller, headers=plain, body=text.encode())

    def saw(self, method: str) -> list[SeenRequest]:
        """The requests of one method."""
        return [seen for seen in self.seen if seen.method == method]

    # -- Owner --------------------------------------------------------------------------------------------------

    def reach(self, uri: Uri) -> Deferred[Wire]:
        """The way to the next hop."""
        return self._party.wire_to(uri)

    def contact(self, wire: Wire) -> bytes:
        """Our Contact."""
        return b"<sip:pbx@%b;transport=%b>" % (wire.address, wire.transport.lower())

    def call_began(self, call: Call) -> None:
        """In-dialog requests find it."""
        self._dialogs[call.key] = call

    def call_ended(self, call: Call) -> None:
        """They do not any more."""
        self._dialogs.pop(call.key, None)

    # -- Core ---------------------------------------------------------------------------------------------------

    def arrived(self, txn: ServerTransaction, request: Request) -> None:
        """A request: as scripted, else honestly."""
        wire = wire_of(txn)
        if len(self.seen) < MAX_SEEN:
            now = self.reactor.seconds()
            self.seen.append(SeenRequest(now, request.method.decode(), request, wire.transport, wire.peer))
        step = self.script.next(request.method.decode()) if request.to_tag is None else None
        if step is None:
            self._serve(txn, request, None)
        elif step.delay:
            self._party.later(step.delay, self._serve, txn, request, step)
        else:
            self._serve(txn, request, step)

    def cancelled(self, txn: ServerTransaction) -> None:
        """The caller gave up."""
        forward = self._forwards.get(txn)
        if forward is not None:
            forward.cancel()
        for call in self.calls:
            if isinstance(call, IncomingCall) and call.txn is txn:
                call.cancelled()

    def acknowledged(self, ack: Request) -> None:
        """The ACK of a 2xx: ours, or on its way through."""
        call = find(self._dialogs, ack)
        if call is not None:
            call.acknowledged(ack)
            return
        self._pop_own_route(ack)
        copy = ack.copy()
        hop = copy.routes[0].uri if copy.routes else copy.parsed_uri

        def send(wire: Wire) -> None:
            copy.push(b"via", wire.via(new_branch()))
            self._party.put(copy, wire)

        self.reach(hop).addCallbacks(send, lambda _: None)

    # -- inside -------------------------------------------------------------------------------------------------

    def _place(self, user: str) -> Place:
        contact = self.contact_of(user)
        if contact is None:
            raise LookupError(f"{user} is not registered")
        return Place(contact.uri, contact.path if self.honours_path else [])

    def _reach_place(self, place: Place) -> Deferred[Wire]:
        hop = place.route[0].partition(b"<")[2].partition(b">")[0] if place.route else place.uri
        return self.reach(Uri.parse(hop))

    def _serve(self, txn: ServerTransaction, request: Request, step: Reply | None) -> None:
        if step is not None and step.silent:
            return
        if step is not None and step.stale:
            self._reply(txn, request, self.location.challenge(self.reactor.seconds(), stale=True))
        elif step is not None and step.status:
            self._reply(txn, request, Verdict(step.status, step.headers))
        else:
            try:
                self._honest(txn, request)
            except ParseError as error:
                self._reply(txn, request, Verdict(error.status))

    def _reply(self, txn: ServerTransaction, request: Request, verdict: Verdict) -> None:
        answer = respond(request, verdict.status, to_tag=new_tag(), headers=verdict.headers)
        self._party.respond(txn, answer)

    def _honest(self, txn: ServerTransaction, request: Request) -> None:
        call = find(self._dialogs, request)
        if call is not None:
            call.arrived(txn, request)
        elif request.method == b"REGISTER":
            self._reply(txn, request, self.location.register(request, self.reactor.seconds()))
        elif request.method == b"OPTIONS" and request.parsed_uri.user is None:
            self._reply(txn, request, Verdict(200))
        elif request.max_forwards == 0:
            self._reply(txn, request, Verdict(483))
        elif request.to_tag is not None:
            self._pop_own_route(request)
            self._forward(txn, request, [Place(request.uri)])
        else:
            self._route(txn, request)

    def _route(self, txn: ServerTransaction, request: Request) -> None:
        """A new request for one of our users."""
        now = self.reactor.seconds()
        if self.challenge_calls and request.method != b"CANCEL":
            proof = self.location.check(request, now, b"proxy-authorization")
            if proof.status != 200:
                self._reply(txn, request, proof)
                return
        self._pop_own_route(request)
        user = request.parsed_uri.username
        gruu = request.parsed_uri.params.get(b"gr")
        contacts = [each for each in self.location.contacts(user, now) if not gruu or gruu in each.instance]
        if request.parsed_uri.host.lower() not in (self.domain.encode(), self.host.encode()):
            self._forward(txn, request, [Place(request.uri)])  # for somebody elsewhere, as a Contact in a Refer-To is
        elif contacts:
            places = [Place(contact.uri, contact.path if self.honours_path else []) for contact in contacts]
            self._forward(txn, request, places)
        elif user in self.answering and request.method == b"INVITE":
            self._take(txn, request, user)
        elif user in self.answering:
            self._reply(txn, request, Verdict(200))
        else:
            self._reply(txn, request, Verdict(480 if user in self.rules.users else 404))

    def _take(self, txn: ServerTransaction, request: Request, user: str) -> None:
        """This server is the callee."""
        call = IncomingCall(self, txn, request, RtpStream(self.reactor, self.host, user))
        self.calls.append(call)
        call.ring()
        self._party.later(self.answering[user], call.answer)

    def _forward(self, txn: ServerTransaction, request: Request, places: list[Place]) -> None:
        wire = wire_of(txn)
        record: bytes | None = None
        if request.method == b"INVITE":
            record = b"<sip:%b;transport=%b;lr>" % (wire.address, wire.transport.lower())
            self._party.respond(txn, respond(request, 100))
        forward = Forward(self._party, self.reach, txn, record, lambda: self._forwards.pop(txn, None))
        self._forwards[txn] = forward
        forward.start(request, places)

    def _pop_own_route(self, request: Request) -> None:
        while request.routes:
            top = request.routes[0].uri
            if (top.address, top.port or 5060) != (self.host, self.port):
                return
            request.pop_top(b"route")


__all__ = ["NoAnswerError", "Reply", "SeenRequest", "Upper"]
