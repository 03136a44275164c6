"""What the rooms are told of the settings: made once for each configuration, not for each request. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sbc.proxy.absence import SEVERAL
from sbc.proxy.calls import CallSettings
from sbc.proxy.header_rules import HeaderRules
from sbc.proxy.settings import ProxySettings
from sbc.push.settings import AppSettings, PushSettings, RemoveOnSettings
from sbc.push.tokens import AppRules
from sbc.registrar.decide import DEFAULT_EXPIRES
from sbc.registrar.ledger import LedgerRules
from sbc.registrar.registrar import Rules
from sbc.registrar.settings import RegistrarSettings
from sbc.settings import Configuration, NodeSettings
from sbc.transaction.retry import Retry
from sbc.upper.refresher import Pace
from sbc.upper.settings import RoutingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """The settings as proxy, registrar, ledger and refresher take them."""

    calls: CallSettings
    rules: Rules
    ledger: LedgerRules
    pace: Pace
    udp_awake: float


def derive(configuration: Configuration, apps: AppRules) -> Derived:
    """What follows from a configuration; `apps` is how tokens are read under it."""
    push, routing, proxy = configuration[PushSettings], configuration[RoutingSettings], configuration[ProxySettings]
    registrar, node = configuration[RegistrarSettings], configuration[NodeSettings].name
    remove_on = configuration[RemoveOnSettings]
    return Derived(
        calls=CallSettings(
            max_wait=push.max_wait,
            max_wait_non_invite=proxy.max_wait_message,
            no_wake_code=routing.no_wake_code,
            waiting_answer=routing.waiting_answer,
            failover_after=routing.failover_after,
            by_q=proxy.fork == "q",
            ring_time=proxy.ring_time,
            missed_calls=missed_calls(remove_on),
            wake_retry=wake_retry(push.invite_retry, push.max_invites, push.max_wait),
            mask_call_id=proxy.mask_call_id,
            header_rules=HeaderRules(proxy.strip_headers, proxy.allow_headers),
        ),
        rules=Rules(
            apps=apps,
            unregister=push.unregister,
            upper_expires=push.upper_expires,
            keep=push.keep_upper_registration,
            node=node,
            local=registrar.answer_locally,
            prefer_md5=registrar.prefer_md5_auth,
            mirror=registrar.mode == "mirror",
            outbound_strict=registrar.first_hop == "strict",
            flow_timer=registrar.flow_timer,
            patience=routing.failover_after,
            longest=registrar.rebuild_interval or math.inf,
            remove_rejected=remove_on.reject,
            remove_missing_pn=remove_on.missing_pn,
            remove_missing_prid=remove_on.missing_prid,
            announces=push.announce_upward,
            unregister_apps={app.id: app.unregister for app in configuration.each(AppSettings) if app.unregister},
        ),
        ledger=LedgerRules(
            node=node,
            remove_rejected=remove_on.register_failure,
            max_offline=push.client_max_offline_days,
            wake=push.wake_to_refresh,
        ),
        pace=Pace(
            rate=registrar.refresh_rate,
            expires=push.upper_expires if push.upper_expires > 0 else DEFAULT_EXPIRES,
            longest=registrar.rebuild_interval or math.inf,
            patience=routing.failover_after,
        ),
        udp_awake=registrar.udp_awake,
    )


def missed_calls(remove_on: RemoveOnSettings) -> int:
    """Calls in a row that a pushed device may miss; 0: any number. `auto` means off."""
    if remove_on.no_answer == "on":
        return 1
    return SEVERAL if remove_on.subsequent_call_failure == "on" else 0


def wake_retry(times: int, sends: int, seconds: float) -> Retry:
    """How an INVITE is repeated to a phone that has just woken: `times` longer than RFC 3261 §17.1.1.2 asks.

    Never more than `sends` INVITEs nor longer than `seconds`; the pauses double up to 4 s, so that a radio that drops
    packets for a while still gets one.
    """
    return Retry(cap=4.0, max_sends=sends, give_up=min(seconds, 32.0 * max(1, times)))
