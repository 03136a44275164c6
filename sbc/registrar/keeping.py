"""What a REGISTER that the upper server has accepted leaves in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.push.purr import purr
from sbc.push.tokens import calls_alone
from sbc.registrar import decide, record
from sbc.registrar.asking import in_time
from sbc.registrar.decide import Wish
from sbc.sip.message import Request
from sbc.store.dead import StopKeeping
from sbc.store.operations import Saved, SaveRegistration
from sbc.store.records import Binding
from sbc.upper.given import Given
from sbc.upper.registration import refresh_at

if TYPE_CHECKING:
    from sbc.registrar.registrar import Rules
    from sbc.registrar.visit import Visit

log = Logger()

NOTHING = Given()
"""What a server gave that was not asked."""


def save(visit: Visit, sent: Request | None, granted: int, given: Given = NOTHING) -> Deferred[Saved]:
    """Write user, device, tokens and upper registration.

    `sent`: the REGISTER that went up, None where none did and only the device changes; `granted`: seconds that the
    upper server gave, `given` what else it did. Says in `visit.refreshed` whether the registration is refreshed from
    here with this phone's HA1.
    """
    registrar, plan, request = visit.registrar, visit.plan, visit.request
    now_at = registrar.clock_at()
    said = decide.proven(sent, visit.handover.ha1) if sent is not None else decide.Proof("", "", None, False)
    if said.mismatch:
        registrar.event(
            request.call_id.decode("utf-8", "replace"), "register", "X-PIID does not fit the accepted digest: not kept"
        )
    rules = registrar.rules()
    tokens = visit.tokens
    visit.purr = purr_of(visit, now_at)
    pushes = bool(tokens)
    dropped = not visit.promise.tokens and bool(visit.handover.tokens)
    unbind = visit.handover.unbind or dropped or _lapses(visit, rules)
    held = sent is not None and not (visit.mirror and plan.wish is not Wish.BIND)
    kept = rules.keep == "always" or (rules.keep == "auto" and (pushes or plan.wish is Wish.SLEEP))
    visit.refreshed = held and kept and said.ha1 is not None
    next_at = refresh_at(granted, now_at, registrar.uniform(), rules.longest)
    if said.ha1 is None and not visit.known_ha1:
        next_at = in_time(next_at, granted, now_at)
    registration = SaveRegistration(
        username=plan.username,
        domain=visit.server.domain.decode(),
        upper=visit.server.name,
        realm=said.realm or None,
        auth_username=said.username or None,
        ha1=said.ha1,
        user_agent=record.user_agent(request),
        binding=binding(visit, now_at) if plan.wish is Wish.BIND else None,
        tokens=tokens,
        purr=visit.purr,
        unbind_tokens=unbind,
        held_by=visit.at.name,
        service_route=given.service_route,
        associated=given.associated,
        gruus=given.gruus,
        contact_params=visit.contact_params.decode("utf-8", "replace"),
        mirror=visit.mirror,
        upper_contact=visit.upper_contact.decode() if held else None,
        upper_call_id=registrar.identifiers.call_id().decode(),
        upper_expires_at=now_at + granted,
        next_at=next_at if kept else None,
        node=rules.node,
        at=now_at,
    )
    written = registrar.store.write(registration)
    if unbind and rules.keep != "always":
        stop = StopKeeping(username=plan.username, domain=registration.domain, upper=registration.upper)
        registrar.store.write(stop).addErrback(_unstopped)
    return written


def _lapses(visit: Visit, rules: Rules) -> bool:
    """Whether a REGISTER that says nothing of push, or names a provider alone, ends it (`push.remove_on`)."""
    handover = visit.handover
    silent = rules.remove_missing_pn and not handover.mentioned and not handover.tokens
    return visit.plan.wish is Wish.BIND and (silent or (rules.remove_missing_prid and handover.missing_prid))


def binding(visit: Visit, now_at: float) -> Binding:
    """The device and where it is reached."""
    flow = visit.flow
    here = decide.reachable_at(visit.request, flow.peer) if not flow.reliable else None
    if here is not None and here != flow.peer:
        visit.reach = visit.registrar.udp_flow(flow, here)
        visit.reach.heard_at = flow.heard_at
    return record.binding(visit.plan, visit.request, flow, visit.reach, visit.registrar.rules().node, now_at)


def purr_of(visit: Visit, now_at: float) -> str:
    """The device's PURR; empty where the app would not hear of it, or no push could reach it inside a dialog."""
    if visit.tokens and all(calls_alone(token) for token in visit.tokens):
        return ""
    if not visit.promise.providers or visit.handover.query is not None:
        return ""
    device = "\0".join((visit.plan.username, visit.server.domain.decode(), visit.server.name, visit.plan.identity))
    return purr(visit.registrar.purr_secret, device, now_at)


def _unstopped(failure: Failure) -> None:
    log.failure("refreshes of a user without push could not be stopped", failure)
