"""REGISTERs and challenges that need not reach the other side: answered in the upper server's place, or the phone's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sbc.registrar import record
from sbc.registrar.keeping import save
from sbc.registrar.local import Said, last_said, proof, spared
from sbc.registrar.settling import saved
from sbc.sip.build import respond
from sbc.sip.message import Request, Response
from sbc.transport.flow import Flow
from sbc.upper.face import via

if TYPE_CHECKING:
    from sbc.registrar.visit import Visit


def answered_here(visit: Visit) -> bool:
    """Whether nothing need go up: the phone is asked who it is by us, or its registration goes on."""
    registrar, known = visit.registrar, visit.known
    now_at = registrar.clock_at()
    if not registrar.rules().local or known is None:
        return False
    agent = record.user_agent(visit.request)
    token = visit.token(visit.identities[0]) if visit.identities else ""
    spare = spared(visit.plan, known.user, visit.rows, token, user_agent=agent, now_at=now_at)
    said = registrar.door.ask(visit.request, known.user, now_at, registrar.ours()) if known.user.ha1 else Said.NOTHING
    if said is Said.PROVED:
        visit.proved = known.user.ha1
    if spare is None or said is Said.WRONG:
        return False
    if said is Said.PROVED:
        visit.at, visit.upper_contact = registrar.servers.get(spare.row.upper) or visit.at, spare.row.contact.encode()
        answer = respond(visit.request, 200, to_tag=registrar.identifiers.tag(), headers=last_said(spare.row))
        save(visit, None, 0).addCallbacks(
            partial(saved, visit), visit.broken, callbackArgs=(answer, spare.seconds, spare.seconds)
        )
        return True
    asked = registrar.door.challenge(
        known.user, now_at, registrar.identifiers.cnonce(), stale=bool(visit.request.lines(b"authorization"))
    )
    visit.answer(respond(visit.request, 401, headers=[(b"WWW-Authenticate", value) for value in asked]))
    return True


def proof_for(visit: Visit, sent: Request, response: Response) -> Callable[[Flow], Request] | None:
    """The same REGISTER with an answer to the challenge, where it may be answered here."""
    ha1, visit.proved = visit.proved, None
    if ha1 is None or response.status not in (401, 407):
        return None
    user = visit.known.user if visit.known is not None else None
    header = proof(
        response,
        sent,
        ha1=ha1,
        username=(user.auth_username if user is not None else "") or visit.plan.username,
        realm=user.realm if user is not None else "",
        cnonce=visit.registrar.identifiers.cnonce(),
    )
    if header is None:
        return None

    def written(flow: Flow) -> Request:
        up = sent.copy()
        up.replace(b"via", [via(flow.listener, visit.registrar.identifiers.branch())])
        up.set(b"cseq", b"2 REGISTER")
        up.replace(header[0], [header[1]])
        return up

    return written
