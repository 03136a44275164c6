"""The rooms of one node that decide about requests, each with what it asks of the others.

What is made later is asked for when it is needed: `lambda: sbc.derived.calls`.
"""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING

from sbc.proxy.calls import Calls
from sbc.proxy.dialog import Dialogs
from sbc.proxy.edges import Edges
from sbc.proxy.ending import Endings
from sbc.proxy.ends import Ends
from sbc.proxy.lasting import Lasting
from sbc.proxy.mailbox import Mailbox
from sbc.proxy.returning import Returns
from sbc.proxy.sleepers import Sleepers
from sbc.proxy.switch import Switch
from sbc.proxy.terms import Terms
from sbc.proxy.waiting import Waiting
from sbc.registrar.flows import LiveFlows
from sbc.registrar.following import Following
from sbc.registrar.ledger import Ledger
from sbc.registrar.registrar import Registrar
from sbc.settings import NodeSettings
from sbc.standstill import forbearing
from sbc.store.records import Binding
from sbc.store.secret import Secret
from sbc.transport.flow import Flow
from sbc.upper.refresher import Refresher

if TYPE_CHECKING:
    from sbc.assembly import Sbc


def lasting(sbc: Sbc, dialogs: Dialogs) -> Lasting:
    """Dialogs in the database."""
    return Lasting(
        dialogs=dialogs,
        store=sbc.store,
        log=sbc.call_log,
        node=sbc.configuration[NodeSettings].name,
        clock=time.monotonic,
        clock_at=time.time,
        flow=lambda token: sbc.transports.flow(token),
        media=sbc.media,
        call_later=sbc.reactor.callLater,
    )


def calls(sbc: Sbc, dialogs: Dialogs) -> Calls:
    """Calls and everything else that is passed on."""
    waiting = Waiting()
    patient = forbearing(sbc.reactor.callLater, time.monotonic)
    edges = Edges(sbc.resolver, lambda where: sbc.transports.connect(where, side="client"))
    sleepers = Sleepers(
        store=sbc.store,
        push=sbc.push,
        waiting=waiting,
        pushes=sbc.policy.pushes,
        clock=sbc.driver.clock,
        clock_at=time.time,
        call_later=patient,
    )
    ends = Ends(sbc.ways, edges, sleepers.registrations, partial(registered_flow, sbc))
    endings = Endings(
        driver=sbc.driver,
        ends=ends,
        identifiers=sbc.identifiers,
        media=sbc.media,
        log=sbc.call_log,
        metrics=sbc.metrics,
        lasting=sbc.lasting,
        dialogs=dialogs,
        clock_at=time.time,
    )
    return Calls(
        driver=sbc.driver,
        ways=sbc.ways,
        identifiers=sbc.identifiers,
        media=sbc.media,
        push=sbc.push,
        log=sbc.call_log,
        metrics=sbc.metrics,
        settings=lambda: sbc.derived.calls,
        ours=sbc.ours,
        clock_at=time.time,
        call_later=patient,
        dialogs=dialogs,
        waiting=waiting,
        returns=Returns(waiting, sbc.shown_call_id),
        lasting=sbc.lasting,
        endings=endings,
        terms=Terms(dialogs, endings, sbc.lasting, sbc.driver.clock),
        uppers=sbc.uppers.watch,
        router=sbc.uppers.router,
        following=Following(store=sbc.store, refresher=sbc.refresher, watch=sbc.uppers.watch, call_later=patient),
        guard=sbc.guard,
        edges=edges,
        ends=ends,
        mailbox=Mailbox(
            store=sbc.store,
            driver=sbc.driver,
            identifiers=sbc.identifiers,
            log=sbc.call_log,
            keep=sbc.policy.keep_messages,
            clock_at=time.time,
            shown_call_id=sbc.shown_call_id,
        ),
        masker=sbc.masked,
        calls_off=sbc.policy.calls_off,
        sleepers=sleepers,
    )


def registered_flow(sbc: Sbc, binding: Binding) -> Flow | None:
    """The flow that a device has registered over, if it is open on this node."""
    own = binding.node == sbc.configuration[NodeSettings].name and binding.flow
    flow = sbc.transports.flow(binding.flow) if own else None
    return flow if flow is not None and flow.open else None


def registrar(sbc: Sbc, secret: Secret) -> Registrar:
    """What answers REGISTER."""
    return Registrar(
        driver=sbc.driver,
        servers=sbc.servers,
        watch=sbc.uppers.watch,
        router=sbc.uppers.router,
        choose=sbc.uppers.choose,
        store=sbc.store,
        identifiers=sbc.identifiers,
        live=LiveFlows(),
        rules=lambda: sbc.derived.rules,
        secret=secret.derive("upper contact"),
        nonce_secret=secret.derive("nonces"),
        purr_secret=secret.derive("purr"),
        serving=sbc.policy.serving,
        ours=sbc.ours,
        uniform=random.random,
        clock_at=time.time,
        event=lambda call_id, kind, detail: sbc.call_log.event(call_id, kind, detail, time.time()),
        vouch=sbc.guard.bans.vouch,
        shown_call_id=sbc.shown_call_id,
        withheld=lambda request: sbc.derived.calls.header_rules.changes(request),
        offence=lambda flow, kind: sbc.border.offence(flow, kind),
        udp_flow=lambda flow, peer: sbc.transports.udp_flow(flow.listener, peer),
    )


def refresher(sbc: Sbc) -> Refresher:
    """What keeps registrations at upper servers alive."""
    return Refresher(
        ledger=Ledger(sbc.store, lambda: sbc.derived.ledger, sbc.needs_wake, sbc.rerouted),
        driver=sbc.driver,
        watch=sbc.uppers.watch,
        router=sbc.uppers.router,
        restore=sbc.uppers.restore,
        identifiers=sbc.identifiers,
        pace=lambda: sbc.derived.pace,
        call_later=sbc.reactor.callLater,
        uniform=random.random,
    )


def switch(sbc: Sbc) -> Switch:
    """What tells requests apart."""
    return Switch(
        driver=sbc.driver,
        registrar=sbc.registrar,
        calls=sbc.calls,
        servers=sbc.servers,
        store=sbc.store,
        metrics=sbc.metrics,
        ours=sbc.ours,
        udp_awake=lambda: sbc.derived.udp_awake,
        pushes=sbc.policy.pushes,
        why_not=sbc.policy.why_not,
        clock_at=time.time,
        node=sbc.configuration[NodeSettings].name,
        accepting=lambda: sbc.serving,
        offence=lambda flow, kind: sbc.border.offence(flow, kind),
    )
