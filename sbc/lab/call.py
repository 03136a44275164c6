"""One side of a call of a laboratory party: it rings, answers, talks, gives up, hangs up, and keeps a diary of it.

In: what its owner wants (`ring`, `answer`, `cancel`, `hang_up` …) and what arrives. Out: messages through the owner's
party, RTP through its stream. Diary kinds: ``provisional`` (Response), ``final`` (Response, or text when none came),
``up``, ``ack``, ``cancelled``, ``request`` (an in-dialog Request), ``ended`` (who ended it: ``local``, ``remote``,
``cancel``, ``refused``, ``failed``).
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sbc.lab.dialog import Dialog, Header, key_of, target_of
from sbc.lab.diary import Diary
from sbc.lab.identity import Identity
from sbc.lab.loop import Timer
from sbc.lab.party import NoAnswerError, Party, new_branch, new_tag, wire_of
from sbc.lab.rtp import RtpStream, media_address
from sbc.lab.wires import Wire
from sbc.sip import Request, Response, Uri
from sbc.sip.build import cancel_for, make_request, respond
from sbc.transaction.table import ServerTransaction

T1 = 0.5  # s, RFC 3261 section 17: the first repetition of a 2xx
T2 = 4.0  # s: the longest pause between two
GIVE_UP = 32.0  # s without an ACK: 64 times T1 (section 13.3.1.4)
MAX_PROOFS = 3  # challenges answered for one INVITE
SDP: Header = (b"content-type", b"application/sdp")


class Owner(Protocol):
    """Whose call it is."""

    @property
    def party(self) -> Party:
        """The SIP stack; another one after each sleep."""

    def reach(self, uri: Uri) -> Deferred[Wire]:
        """The way to the next hop."""

    def contact(self, wire: Wire) -> bytes:
        """The Contact value for messages on that wire."""

    def call_began(self, call: Call) -> None:
        """It can be found by `Call.key` from now on."""

    def call_ended(self, call: Call) -> None:
        """Nothing more will be sent."""


class Call:
    """A call. `media` is None when there is none."""

    def __init__(self, owner: Owner, call_id: bytes, media: RtpStream | None) -> None:
        self.owner = owner
        self.call_id = call_id
        self.tag = new_tag()
        self.media = media
        self.diary = Diary(owner.party.reactor.seconds)
        self.dialog: Dialog | None = None
        self.over = False
        if media is not None:
            media.open()

    @property
    def key(self) -> tuple[bytes, bytes]:
        """Call-ID and our tag."""
        return self.call_id, self.tag

    @property
    def up(self) -> bool:
        """Answered and not over."""
        return self.diary.count("up") > 0 and not self.over

    # -- inside the dialog --------------------------------------------------------------------------------------

    def hang_up(self, *headers: Header) -> Deferred[Response]:
        """BYE; fires with its answer."""
        done = self.ask(b"BYE", *headers)
        self._end("local")
        return done

    def ask(self, method: bytes, *headers: Header, body: bytes = b"") -> Deferred[Response]:
        """A request inside the dialog (a re-INVITE is acknowledged by itself); fires with its final answer."""
        dialog = self.dialog
        if dialog is None:
            raise NoAnswerError("no dialog yet")

        def send(wire: Wire) -> Deferred[Response]:
            extra = [*headers, (b"contact", self.owner.contact(wire))]
            request = dialog.request(method, wire.via(new_branch()), extra, body)
            done = self.owner.party.ask(request, wire)
            if method == b"INVITE":
                done.addCallback(self._acknowledge, request.cseq.number)
            return done

        return self.owner.reach(dialog.next_hop).addCallback(send)

    def arrived(self, txn: ServerTransaction, request: Request) -> None:
        """A request inside the dialog."""
        self.diary.note("request", request)
        wire = wire_of(txn)
        headers: list[Header] = []
        body = b""
        if request.method in (b"INVITE", b"UPDATE"):
            if self.dialog is not None:
                self.dialog.target = target_of(request) or self.dialog.target
            headers.append((b"contact", self.owner.contact(wire)))
            if self.media is not None and (request.body or request.method == b"INVITE"):
                headers.append(SDP)
                body = self.media.sdp()
                self._talk(request.body)
        self.owner.party.respond(txn, respond(request, 200, headers=headers, body=body))
        if request.method == b"BYE":
            self._end("remote")

    def acknowledged(self, ack: Request) -> None:
        """The ACK of a 2xx of ours."""
        self.diary.note("ack", ack)
        self._talk(ack.body)

    # -- inside -------------------------------------------------------------------------------------------------

    def _acknowledge(self, response: Response, cseq: int) -> Response:
        dialog = self.dialog
        if 200 <= response.status < 300 and dialog is not None:
            self._talk(response.body)

            def send(wire: Wire) -> None:
                ack = dialog.request(b"ACK", wire.via(new_branch()), [], cseq=cseq)
                self.owner.party.put(ack, wire)

            self.owner.reach(dialog.next_hop).addCallbacks(send, lambda _: None)
        return response

    def _talk(self, sdp: bytes) -> None:
        there = media_address(sdp) if sdp else None
        if there is not None and self.media is not None:
            self.media.talk(*there)

    def _end(self, why: str) -> None:
        if self.over:
            return
        self.over = True
        self.owner.call_ended(self)
        if self.media is not None:
            self.media.close()
        self.diary.note("ended", why)


class OutgoingCall(Call):
    """The caller's side."""

    def __init__(self, owner: Owner, media: RtpStream | None, identity: Identity | None = None) -> None:
        super().__init__(owner, new_tag() + b"@lab", media)
        self._identity = identity
        self._proofs = 0
        self._invite: Request | None = None
        self._wire: Wire | None = None
        self._giving_up = False

    def invite(
        self, uri: bytes, wire: Wire, *, from_: bytes, to: bytes, route: list[bytes], headers: list[Header]
    ) -> None:
        """Send the INVITE. `from_` and `to` are values without tags; a call without media offers no SDP."""
        self.owner.call_began(self)
        offer = self.media.sdp() if self.media is not None else b""
        extra = [(b"route", value) for value in route]
        extra += [
            (b"contact", self.owner.contact(wire)),
            (b"allow", b"INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE"),
        ]
        extra += headers + ([SDP] if offer else [])
        request = make_request(
            b"INVITE",
            uri,
            via=wire.via(new_branch()),
            from_=from_ + b";tag=" + self.tag,
            to=to,
            call_id=self.call_id,
            cseq=1,
            headers=extra,
            body=offer,
        )
        self._send(request, wire)

    def cancel(self, *headers: Header) -> None:
        """Give up; the CANCEL goes out as soon as a provisional response allows it (RFC 3261 section 9.1)."""
        self._giving_up = True
        if self.diary.count("final") or self._invite is None or self._wire is None:
            return
        if not self.diary.count("provisional"):
            return
        self._giving_up = False
        cancel = cancel_for(self._invite)
        for name, value in headers:
            cancel.add(name, value)
        self.diary.note("cancelled")
        self.owner.party.request(cancel, self._wire, lambda _: None, lambda _: None)

    def _send(self, request: Request, wire: Wire) -> None:
        self._invite, self._wire = request, wire
        self.owner.party.request(request, wire, self._answered, self._failed)

    def unreachable(self, reason: str) -> None:
        """There is no way to the next hop."""
        self._failed(reason)

    def _failed(self, reason: str) -> None:
        if not self.diary.count("final"):
            self.diary.note("final", reason)
            self._end("failed")

    def _answered(self, response: Response) -> None:
        assert self._invite is not None
        if response.status < 200:
            self.diary.note("provisional", response)
            if self._giving_up:
                self.cancel()
        elif response.status < 300:
            self._accepted(response)
        elif response.status in (401, 407) and self._prove(response):
            return
        else:
            self.diary.note("final", response)
            self._end("cancel" if response.status == 487 else "refused")

    def _prove(self, response: Response) -> bool:
        assert self._invite is not None and self._wire is not None
        again = self._invite.copy()
        if self._identity is None or self._proofs >= MAX_PROOFS or not self._identity.prove(again, response):
            return False
        self._proofs += 1
        again.set(b"via", self._wire.via(new_branch()))
        again.set(b"cseq", b"%d INVITE" % (again.cseq.number + 1))
        self._send(again, self._wire)
        return True

    def _accepted(self, response: Response) -> None:
        """A 2xx: the first makes the call, repetitions are acknowledged, those of other phones are ended."""
        assert self._invite is not None
        number = self._invite.cseq.number
        if self.dialog is None:
            self.dialog = Dialog.of_caller(self._invite, response)
            self.diary.note("final", response)
            self._acknowledge(response, number)
            self.diary.note("up")
        elif self.dialog.remote == response.first(b"to"):
            self._acknowledge(response, number)
        else:
            self.diary.note("second answer", response)
            other = OutgoingCall(self.owner, None)
            other.call_id, other.tag = self.call_id, self.tag
            other.dialog = Dialog.of_caller(self._invite, response)
            other._acknowledge(response, number)
            other.ask(b"BYE").addErrback(Failure.trap, NoAnswerError)


class IncomingCall(Call):
    """The callee's side."""

    def __init__(self, owner: Owner, txn: ServerTransaction, invite: Request, media: RtpStream | None) -> None:
        super().__init__(owner, invite.call_id, media)
        self.txn = txn
        self.invite = invite
        self.dialog = Dialog.of_callee(invite, self.tag)
        self._party = owner.party
        self._again: Timer | None = None
        owner.call_began(self)

    def ring(self, status: int = 180) -> None:
        """A provisional response."""
        if not self.over and not self.diary.count("up"):
            self._respond(status)

    def answer(self) -> None:
        """200 with SDP, repeated until the ACK comes."""
        if self.over or self.diary.count("up"):
            return
        response = self._respond(200, body=self.media.sdp() if self.media is not None else b"")
        self.diary.note("up")
        self._talk(self.invite.body)
        reactor = self._party.reactor
        self._again = self._party.later(T1, self._repeat, response, T1, reactor.seconds())

    def refuse(self, status: int) -> None:
        """A final response other than 2xx."""
        if not self.over and not self.diary.count("up"):
            self._respond(status)
            self._end("refused")

    def cancelled(self) -> None:
        """The caller gave up."""
        if not self.over and not self.diary.count("up"):
            self.diary.note("cancelled")
            self._respond(487)
            self._end("cancel")

    def acknowledged(self, ack: Request) -> None:
        """No more repetitions."""
        self._stop()
        super().acknowledged(ack)

    def dropped(self) -> None:
        """The phone lost everything it knew: nothing is sent any more."""
        self._end("failed")

    def _respond(self, status: int, body: bytes = b"") -> Response:
        headers: list[Header] = []
        if status < 300:
            headers = [(b"record-route", value) for value in self.invite.lines(b"record-route")]
            headers.append((b"contact", self.owner.contact(wire_of(self.txn))))
        if body:
            headers.append(SDP)
        response = respond(self.invite, status, to_tag=self.tag, headers=headers, body=body)
        self._party.respond(self.txn, response)
        return response

    def _repeat(self, response: Response, pause: float, since: float) -> None:
        self._again = None
        reactor = self._party.reactor
        if self.over or self._party.closed:
            return
        if reactor.seconds() - since >= GIVE_UP:
            self._end("failed")
            return
        self._party.put(response, wire_of(self.txn))
        pause = min(pause * 2, T2)
        self._again = self._party.later(pause, self._repeat, response, pause, since)

    def _stop(self) -> None:
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._again = None

    def _end(self, why: str) -> None:
        self._stop()
        super()._end(why)


def find(calls: dict[tuple[bytes, bytes], Call], request: Request) -> Call | None:
    """The call a request belongs to, None when there is none."""
    return calls.get(key_of(request, request.to_tag))
