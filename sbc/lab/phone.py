"""A SIP phone that sleeps: it registers with its push token, goes away, and comes back on another port when a push
wakes it.

In: SIP from its outbound proxy, pushes from the emulated services. Out: REGISTERs, answers, RTP; a record of every
request that reached it and a diary. Diary kinds: ``registered`` (Response), ``refused`` (Response or text),
``asleep``, ``push`` (the push), ``lost push``, ``awake``, ``invite`` (IncomingCall), ``cancelled``, ``ended``
(IncomingCall), ``message`` (text).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from sbc.lab.call import Call, IncomingCall, OutgoingCall, find
from sbc.lab.dialog import Header
from sbc.lab.diary import Diary
from sbc.lab.identity import Identity
from sbc.lab.loop import Reactor, Timer, close
from sbc.lab.party import Party, failed, new_branch, new_tag
from sbc.lab.received import Inbox, ReceivedPush
from sbc.lab.registering import Registering
from sbc.lab.rtp import RtpStream
from sbc.lab.speech import DeviceToken
from sbc.lab.wires import Wire
from sbc.sip import Request, Response, Uri
from sbc.sip.build import make_request, respond
from sbc.sip.uri import escape_user
from sbc.transaction.table import ServerTransaction

MAX_SEEN = 20_000  # requests remembered


@dataclass(slots=True, kw_only=True)
class Manners:
    """How the phone behaves; may be changed at any time. Times in seconds.

    `wake_delay`: from the push to the REGISTER. `lost_pushes`: so many of the next pushes never arrive. `killed`:
    pushes do not wake it at all. `ring_delay`, `answer_delay`: from the INVITE to 180 and to the final answer;
    `answer_delay` None rings until somebody else decides. `answer`: the final status, 200 or a refusal. `silent`:
    INVITEs are ignored. `extra_registers`: refreshes sent right after waking, as some apps do. `remembers_nonce`:
    credentials without waiting for the challenge once a nonce is known. `message_answer`: what MESSAGE gets.
    `refreshes`: a push that finds it awake makes it register again (RFC 8599 section 4.1.3), as not all apps do.
    """

    wake_delay: float = 0.2
    lost_pushes: int = 0
    killed: bool = False
    ring_delay: float = 0.02
    answer_delay: float | None = 0.2
    answer: int = 200
    silent: bool = False
    extra_registers: int = 0
    remembers_nonce: bool = False
    message_answer: int = 200
    talks: bool = True
    refreshes: bool = True


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request as a transaction (retransmissions count once; `Party.heard` has them all). `wake` counts the phone's
    times awake from 1."""

    at: float
    method: str
    request: Request
    wake: int


class Phone:
    """One app on one device. `proxy` is the outbound proxy's address, `domain` the SIP domain.

    `dialect` is one of `speech.DIALECTS`; `sends_ha1` adds X-PIID for `realm` (default: the domain). `preference` are
    more parameters of its Contact, as in ``q=0.5;reg-id=2``.
    """

    def __init__(
        self,
        reactor: Reactor,
        *,
        username: str,
        password: str,
        proxy: tuple[str, int],
        host: str = "127.0.0.3",
        domain: str = "pbx.example.com",
        realm: str = "",
        transport: str = "udp",
        dialect: str = "x-mpush",
        token: DeviceToken | None = None,
        sends_ha1: bool = True,
        expires: int = 600,
        instance: str = "",
        preference: str = "",
        manners: Manners | None = None,
        headers: Sequence[Header] = (),
        user_agent: str = "LabPhone/1.0",
    ) -> None:
        self.reactor = reactor
        self.host = host
        self.proxy = proxy
        self.domain = domain
        self.realm = realm or domain
        self.transport = transport.upper().encode()
        self.dialect = dialect
        self.token = token
        self.sends_ha1 = sends_ha1
        self.expires = expires
        self.instance = instance
        self.preference = preference
        self.manners = manners or Manners()
        self.headers = list(headers)
        self.user_agent = user_agent
        self.identity = Identity(username, password)
        self.diary = Diary(reactor.seconds)
        self.seen: list[SeenRequest] = []
        self.calls: list[Call] = []
        self.wakes = 0
        self.awake = False
        self.parties: list[Party] = []
        self.wire: Wire | None = None
        self.purr = b""
        self._inboxes: list[Inbox] = []
        self._waking: list[Timer] = []
        self._dialogs: dict[tuple[bytes, bytes], Call] = {}
        self._registering = Registering(self)

    # -- running ------------------------------------------------------------------------------------------------

    @property
    def username(self) -> str:
        """Whose phone it is."""
        return self.identity.username

    @property
    def party(self) -> Party:
        """The SIP stack of the present (or last) time awake."""
        return self.parties[-1]

    def start(self) -> Deferred[Response]:
        """Switch on: awake, and registered when this fires (with the final response)."""
        return self.wake()

    def stop(self) -> Deferred[None]:
        """Switch off: nothing is sent any more, pushes find nobody."""
        for inbox in list(self._inboxes):
            self.unlisten(inbox)
        for timer in self._waking:
            if timer.active():
                timer.cancel()
        for call in self.calls:
            if call.media is not None:
                call.media.close()
        self.awake = False
        return self.party.close() if self.parties else close(None)

    def wake(self) -> Deferred[Response]:
        """New sockets on new ports, then REGISTER."""
        if self.parties and not self.parties[-1].closed:
            self.parties[-1].close()
        party = Party(self.reactor, self.host, self)
        self.parties.append(party)
        self.awake = True
        self.wakes += 1
        self.wire = None
        self.diary.note("awake", self.wakes)
        host, port = self.proxy
        opening = party.wire(self.transport, host, port)

        def opened(wire: Wire) -> Deferred[Response]:
            self.wire = wire
            return self.register()

        return opening.addCallback(opened)

    def sleep(self, *, silently: bool = False) -> Deferred[None]:
        """Be gone: every socket is closed. `silently`: they stay open and nothing is heard, like a phone without
        network."""
        self.awake = False
        self.diary.note("asleep")
        if silently:
            self.party.deaf = True
            return close(None)
        return self.party.close()

    def forget_calls(self) -> None:
        """The app was killed: it knows of no call."""
        for call in list(self._dialogs.values()):
            if isinstance(call, IncomingCall):
                call.dropped()
        self._dialogs.clear()

    # -- pushes -------------------------------------------------------------------------------------------------

    def listen(self, inbox: Inbox) -> None:
        """Be woken by the pushes that a service accepts for this phone's token."""
        if self.token is not None:
            self._inboxes.append(inbox)
            for prid in _addresses(self.token):
                inbox.listen(prid, self.pushed)

    def unlisten(self, inbox: Inbox) -> None:
        """No more."""
        self._inboxes.remove(inbox)
        if self.token is not None:
            for prid in _addresses(self.token):
                inbox.unlisten(prid, self.pushed)

    def change_token(self, token: DeviceToken) -> None:
        """The operating system gave out another token; the next REGISTER says it."""
        inboxes = list(self._inboxes)
        for inbox in inboxes:
            self.unlisten(inbox)
        self.token = token
        for inbox in inboxes:
            self.listen(inbox)

    def pushed(self, push: ReceivedPush) -> None:
        """A push arrived at the device."""
        if self.manners.lost_pushes > 0:
            self.manners.lost_pushes -= 1
            self.diary.note("lost push", push)
            return
        self.diary.note("push", push)
        if not self.manners.killed and (self.manners.refreshes or not self.awake):
            self._waking.append(self.reactor.callLater(self.manners.wake_delay, self._woken))

    def _woken(self) -> None:
        self._waking = [timer for timer in self._waking if timer.active()]
        if self.manners.killed:
            return
        if self.awake:
            if self.manners.refreshes and self.wire is not None:
                self.register().addErrback(lambda reason: self.diary.note("refused", reason.getErrorMessage()))
            return
        done = self.wake()
        for _ in range(self.manners.extra_registers):
            done.addCallback(lambda _: self.register())
        done.addErrback(lambda reason: self.diary.note("refused", reason.getErrorMessage()))

    # -- requests -----------------------------------------------------------------------------------------------

    def register(self, *, expires: int | None = None, unbind: bool = False) -> Deferred[Response]:
        """REGISTER, challenges answered; fires with the final response. `expires` 0 unregisters, `unbind` says the
        null token."""
        return self._registering.register(self.expires if expires is None else expires, unbind=unbind)

    def call(self, user: str, *, headers: Sequence[Header] = ()) -> OutgoingCall:
        """Call somebody through the proxy."""
        wire = self._wire()
        media = RtpStream(self.reactor, self.host, self.username) if self.manners.talks else None
        call = OutgoingCall(self, media, self.identity)
        self.calls.append(call)
        me, them = self._aor(self.username), self._aor(user)
        call.invite(them, wire, from_=b"<%b>" % me, to=b"<%b>" % them, route=[self._route()], headers=list(headers))
        return call

    def send(self, method: str, user: str, *, headers: Sequence[Header] = (), body: bytes = b"") -> Deferred[Response]:
        """A request outside of dialogs; a challenge is answered once. Fires with the final response."""
        wire = self._wire()
        me, them = self._aor(self.username), self._aor(user)
        request = make_request(
            method.encode(),
            them,
            via=wire.via(new_branch()),
            from_=b"<%b>;tag=%b" % (me, new_tag()),
            to=b"<%b>" % them,
            call_id=new_tag() + b"@lab",
            cseq=1,
            headers=[(b"route", self._route()), *headers],
            body=body,
        )

        def answered(response: Response) -> Response | Deferred[Response]:
            if response.status not in (401, 407) or not self.identity.prove(request, response):
                return response
            request.set(b"via", wire.via(new_branch()))
            request.set(b"cseq", b"2 " + method.encode())
            return self.party.ask(request, wire)

        return self.party.ask(request, wire).addCallback(answered)

    def send_message(self, user: str, text: str) -> Deferred[Response]:
        """MESSAGE (RFC 3428)."""
        return self.send("MESSAGE", user, headers=[(b"content-type", b"text/plain;charset=UTF-8")], body=text.encode())

    def saw(self, method: str) -> list[SeenRequest]:
        """The requests of one method that reached the phone, each transaction once."""
        return [seen for seen in self.seen if seen.method == method]

    def _wire(self) -> Wire:
        if self.wire is None or not self.awake:
            raise ConnectionError("the phone sleeps")
        return self.wire

    def _aor(self, user: str) -> bytes:
        return b"sip:%b@%b" % (escape_user(user), self.domain.encode())

    def _route(self) -> bytes:
        host, port = self.proxy
        literal = f"[{host}]" if ":" in host else host
        return b"<sip:%b:%d;transport=%b;lr>" % (literal.encode(), port, self.transport.lower())

    # -- Owner --------------------------------------------------------------------------------------------------

    def reach(self, uri: Uri) -> Deferred[Wire]:
        """Everything goes to the outbound proxy."""
        if self.wire is None or not self.awake:
            return failed(ConnectionError("the phone sleeps"))
        ready: Deferred[Wire] = Deferred()
        ready.callback(self.wire)
        return ready

    def contact(self, wire: Wire) -> bytes:
        """Contact of calls: no push parameters but ``pn-purr``, when the proxy gave one (RFC 8599 section 6)."""
        user = escape_user(self.username)
        purr = b";pn-purr=" + self.purr if self.purr else b""
        return b"<sip:%b@%b;transport=%b%b>" % (user, wire.address, wire.transport.lower(), purr)

    def call_began(self, call: Call) -> None:
        """In-dialog requests find it."""
        self._dialogs[call.key] = call

    def call_ended(self, call: Call) -> None:
        """They do not any more."""
        self._dialogs.pop(call.key, None)
        self.diary.note("ended", call)

    # -- Core ---------------------------------------------------------------------------------------------------

    def arrived(self, txn: ServerTransaction, request: Request) -> None:
        """A request."""
        method = request.method
        if len(self.seen) < MAX_SEEN:
            self.seen.append(SeenRequest(self.reactor.seconds(), method.decode(), request, self.wakes))
        call = find(self._dialogs, request)
        if call is not None:
            call.arrived(txn, request)
        elif request.to_tag is not None:
            self.party.respond(txn, respond(request, 481))
        elif method == b"INVITE":
            self._ring(txn, request)
        elif method == b"MESSAGE":
            self.diary.note("message", request.body.decode("utf-8", "replace"))
            self.party.respond(txn, respond(request, self.manners.message_answer, to_tag=new_tag()))
        elif method in (b"OPTIONS", b"NOTIFY", b"INFO"):
            self.party.respond(txn, respond(request, 200, to_tag=new_tag()))
        else:
            self.party.respond(txn, respond(request, 405, to_tag=new_tag()))

    def cancelled(self, txn: ServerTransaction) -> None:
        """The caller gave up."""
        now = self.reactor.seconds()
        self.seen.append(SeenRequest(now, "CANCEL", txn.request, self.wakes))
        for call in self.calls:
            if isinstance(call, IncomingCall) and call.txn is txn:
                call.cancelled()
                self.diary.note("cancelled", call)

    def acknowledged(self, ack: Request) -> None:
        """The ACK of a 2xx."""
        self.seen.append(SeenRequest(self.reactor.seconds(), "ACK", ack, self.wakes))
        call = find(self._dialogs, ack)
        if call is not None:
            call.acknowledged(ack)

    def _ring(self, txn: ServerTransaction, request: Request) -> None:
        manners = self.manners
        media = RtpStream(self.reactor, self.host, self.username) if manners.talks else None
        call = IncomingCall(self, txn, request, media)
        self.calls.append(call)
        self.diary.note("invite", call)
        if manners.silent:
            return
        self.party.later(manners.ring_delay, call.ring)
        if manners.answer_delay is not None:
            decide = call.answer if manners.answer == 200 else lambda: call.refuse(manners.answer)
            self.party.later(manners.answer_delay, decide)


def _addresses(token: DeviceToken) -> list[str]:
    """Under what names a service knows the device: a Web Push subscription without its keys."""
    return [prid.partition("#")[0] for prid in (token.prid, token.remote) if prid]
