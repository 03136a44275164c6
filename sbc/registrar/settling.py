"""A REGISTER that was accepted: what its phone hears, and who is told that a device is awake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbc.push.indication import feature_caps
from sbc.registrar import decide
from sbc.registrar.answers import accepted, gruus
from sbc.registrar.decide import Wish
from sbc.registrar.flows import Awake, Resident
from sbc.registrar.guests import place
from sbc.registrar.keeping import binding
from sbc.registrar.outbound import flow_timer, path_of
from sbc.sip.message import Response
from sbc.store.operations import Saved
from sbc.store.records import User
from sbc.upper.given import service_route

if TYPE_CHECKING:
    from sbc.registrar.visit import Visit

VOUCHED = 600
"""Seconds that an accepted registration speaks for its source, so that forged packets cannot have it banned."""


def entertain(visit: Visit, response: Response, granted: int) -> None:
    """The device only asked what push there is: nothing is stored (and by `push.remove_on.missing_prid` nothing stays),
    and it can be called all the same."""
    plan, registrar = visit.plan, visit.registrar
    domain = visit.server.domain.decode()
    user = User(username=plan.username, domain=domain, upper=visit.server.name, last_seen_at=registrar.clock_at())
    if visit.flow.open:
        registrar.guests.settle(visit.token(visit.identities[0]), user, binding(visit, registrar.clock_at()))
    if registrar.rules().remove_missing_prid:
        visit.forget(plan.identity)
    _registered(visit, decide.settled(plan, response, granted, self_refreshed=False), response)


def saved(visit: Visit, result: Saved, response: Response, granted: int, seconds: int | None = None) -> None:
    """The device is in the store. `response`: the upper server's 2xx, or one in its place, which says `seconds`."""
    plan, registrar = visit.plan, visit.registrar
    if seconds is None:
        seconds = decide.settled(plan, response, granted, self_refreshed=visit.refreshed)
    if plan.wish is not Wish.BIND:
        visit.answer(success(visit, response, decide.answer_contact(visit.request, plan, seconds)))
        return
    paths = path_of(visit.request)
    registrar.guests.leave(place(visit.reach.token, plan.contact, bool(paths)))
    _registered(visit, seconds, response)
    if registrar.awake is None or not visit.flow.open:
        return
    domain, upper = visit.server.domain.decode(), visit.server.name
    registrar.awake(
        Awake(
            result.user_id, result.binding_id, plan.username, domain, upper, plan.identity, plan.contact, visit.reach,
            visit.tokens, paths, plan.q,
        )
    )  # fmt: skip


def success(visit: Visit, response: Response, shown: bytes | None) -> Response:
    """The upper server's 2xx as the phone sees it; `shown`: its Contact, None where there is none to show."""
    registrar, caps = visit.registrar, []
    if visit.promise.providers:
        caps = feature_caps(
            visit.promise.providers,
            vapid=registrar.serving().vapid,
            purr=visit.purr,
            pnsreg=visit.handover.pnsreg,
        )
    return accepted(
        response,
        visit.request,
        shown,
        caps,
        chained=visit.handover.chained,
        outbound=visit.outbound,
        timer=flow_timer(registrar.rules().flow_timer, reliable=visit.flow.reliable),
    )


def _registered(visit: Visit, seconds: int, response: Response) -> None:
    """The 2xx goes to the phone; from now on it is known on its flow."""
    plan, registrar = visit.plan, visit.registrar
    gruu = gruus(response, visit.upper_contact, visit.request, visit.server) if visit.mirror else {}
    visit.answer(success(visit, response, decide.answer_contact(visit.request, plan, seconds, gruu)))
    resident = Resident(
        plan.username,
        visit.server.domain.decode(),
        visit.server.name,
        plan.identity,
        plan.contact,
        service_route(response),
        visit.at.name,
    )
    registrar.live.settle(visit.flow, resident, registrar.driver.clock(), seconds)
    registrar.vouch(visit.flow.peer[0], registrar.clock_at() + max(seconds, VOUCHED))
