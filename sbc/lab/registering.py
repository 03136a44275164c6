"""A laboratory phone's REGISTER: what stands in it, and the round trips until it is accepted (RFC 3261 section 10.2).

In: the phone and how long to register for. Out: REGISTER requests, one final response; the phone's diary has the
outcome.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sbc.lab.dialog import Header
from sbc.lab.party import failed, new_branch, new_tag
from sbc.lab.speech import say
from sbc.lab.wires import Wire
from sbc.sip import Request, Response
from sbc.sip.build import make_request
from sbc.sip.scan import render_params
from sbc.sip.uri import escape_user

if TYPE_CHECKING:
    from sbc.lab.phone import Phone

MAX_TRIPS = 6  # round trips of one registration: challenges, stale nonces, too short intervals


class Registering:
    """All registrations of one phone: one Call-ID and rising CSeq as section 10.2 asks for, over all times awake."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._call_id = new_tag() + b"@lab"
        self._cseq = 0
        self._challenged: Response | None = None

    def register(self, expires: int, *, unbind: bool = False) -> Deferred[Response]:
        """Fires with the final response, which may be a refusal; fails when there is none."""
        phone = self._phone
        if phone.wire is None or not phone.awake:
            return failed(ConnectionError("the phone sleeps"))
        request = self._build(phone.wire, expires, unbind)
        if phone.manners.remembers_nonce and self._challenged is not None:
            phone.identity.prove(request, self._challenged)
        done = self._send(request, phone.wire, 1)
        done.addCallbacks(self._over, self._lost)
        return done

    def _build(self, wire: Wire, expires: int, unbind: bool) -> Request:
        phone = self._phone
        said = say(phone.dialect, phone.token, unbind=unbind)
        aor = b"sip:%b@%b" % (escape_user(phone.username), phone.domain.encode())
        params: dict[bytes, bytes | None] = {b"transport": wire.transport.lower(), **dict(said.uri)}
        outer: dict[bytes, bytes | None] = dict(said.contact)
        if phone.instance:
            outer[b"+sip.instance"] = b'"<%b>"' % phone.instance.encode()
        user = escape_user(phone.username)
        more = b";" + phone.preference.encode() if phone.preference else b""
        contact = b"<sip:%b@%b%b>%b%b" % (user, wire.address, render_params(params), render_params(outer), more)
        headers: list[Header] = [
            (b"contact", contact),
            (b"expires", b"%d" % expires),
            (b"supported", b"path"),
            (b"user-agent", phone.user_agent.encode()),
            *said.headers,
            *phone.headers,
        ]
        if phone.sends_ha1:
            headers.append((b"x-piid", phone.identity.ha1(phone.realm).encode()))
        self._cseq += 1
        return make_request(
            b"REGISTER",
            b"sip:" + phone.domain.encode(),
            via=wire.via(new_branch()),
            from_=b"<%b>;tag=%b" % (aor, new_tag()),
            to=b"<%b>" % aor,
            call_id=self._call_id,
            cseq=self._cseq,
            headers=headers,
        )

    def _send(self, request: Request, wire: Wire, trip: int) -> Deferred[Response]:
        done = self._phone.party.ask(request, wire)
        return done.addCallback(self._answered, request, wire, trip)

    def _answered(self, response: Response, request: Request, wire: Wire, trip: int) -> Response | Deferred[Response]:
        phone = self._phone
        if trip >= MAX_TRIPS or phone.wire is not wire:
            return response
        if response.status in (401, 407):
            self._challenged = response
            if not phone.identity.prove(request, response):
                return response
        elif response.status == 423 and response.has(b"min-expires"):
            request.set(b"expires", response.first(b"min-expires") or b"")
            if self._challenged is not None:
                phone.identity.prove(request, self._challenged)
        else:
            return response
        self._cseq += 1
        request.set(b"via", wire.via(new_branch()))
        request.set(b"cseq", b"%d REGISTER" % self._cseq)
        return self._send(request, wire, trip + 1)

    def _over(self, response: Response) -> Response:
        if response.status == 200:
            self._phone.purr = purr_of(response)
        self._phone.diary.note("registered" if response.status == 200 else "refused", response)
        return response

    def _lost(self, reason: Failure) -> Failure:
        self._phone.diary.note("refused", reason.getErrorMessage())
        return reason


def purr_of(response: Response) -> bytes:
    """What the proxy wants in ``pn-purr``: ``+sip.pnspurr`` of Feature-Caps (RFC 8599 section 8.6), else empty."""
    for value in response.lines(b"feature-caps"):
        _, found, rest = value.partition(b'+sip.pnspurr="')
        if found:
            return rest.partition(b'"')[0]
    return b""
