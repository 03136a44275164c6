"""What operators ask about push: its status, the push doctor, the end of upper registrations."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks

from sbc import doctor
from sbc.admin.ports import Finding
from sbc.push.orders import PushOrder, PushType
from sbc.push.tokens import APNS, FCM, PROVIDERS, WEBPUSH, PushToken
from sbc.push.webpush import subscription
from sbc.store import queries
from sbc.store.records import Subscriber, Token, UpperRegistration
from sbc.store.wakes import last_pushes

if TYPE_CHECKING:
    from sbc.assembly import Sbc

LOOK_BACK = 7 * 86_400.0
"""Seconds of pushes that the doctor looks at."""

LAST = 5
"""Pushes of a user that it speaks of."""

NOBODY = {APNS: "0" * 64, FCM: "sbc-push-doctor-no-device"}
"""Tokens that no device has: a provider that refuses them alone accepts everything else."""

NOWHERE = "/sbc-push-doctor-no-subscription"
"""A path where no Web Push service has a subscription."""


def push_status(node: Sbc) -> Mapping[str, object]:
    """Connections, apps and troubles of push; no secrets."""
    push = node.push
    apps = [f"{app.provider} {app.id or '(any)'}" for app in dict.fromkeys(push.keyring.apps.values())]
    return {
        "enabled": push.configuration.push.enabled,
        "providers": sorted(push.providers()),
        "apps": apps,
        "suspended": [f"{provider} {app}: {why}" for provider, app, why in push.open_breakers()],
        "problems": list(push.problems),
        "warnings": list(push.keyring.warnings),
        "waiting_requests": len(node.calls.waiting),
        "load": node.load(),
        "connections": [dict(row) for row in push.status()],
    }


@inlineCallbacks
def examine(node: Sbc, subject: str, found: Subscriber | None) -> Generator[Deferred[Any], Any, list[Finding]]:
    """The findings about a user, or about an app where `subject` is the id of one."""
    push = node.push
    around = doctor.Surroundings(
        keyring=push.keyring,
        enabled=[provider for provider in PROVIDERS if push.enabled(provider)],
        problems=push.problems,
        suspended=push.open_breakers(),
        now_at=time.time(),
    )
    apps = [key for key in push.keyring.apps if key[1] == subject]
    apps += [(one.provider, one.id) for one in push.configuration.apps if one.id == subject]
    findings: list[Finding] = []
    tokens: Sequence[Token] = []
    if apps and found is None:
        apps = list(dict.fromkeys(apps))
        for provider, name in apps:
            findings += doctor.app(provider, name, around)
    else:
        pushes = []
        if found is not None:
            user_id = found.user.id
            tokens = yield node.store.report(lambda connection: queries.tokens(connection, user_id))
            pushes = yield node.store.report(last_pushes(user_id, around.now_at - LOOK_BACK, LAST))
            apps = list(dict.fromkeys((token.provider, token.param) for token in tokens))
        findings += doctor.user(found, tokens, pushes, around)
    tried = [PushToken(provider, name, NOBODY[provider]) for provider, name in apps if provider in NOBODY]
    places = dict.fromkeys((token.param, subscription(token.prid).origin) for token in tokens if _sound(token))
    tried += [PushToken(WEBPUSH, param, origin + NOWHERE) for param, origin in places]
    findings += [
        doctor.no_place(name)
        for provider, name in apps
        if provider == WEBPUSH and name not in {param for param, _ in places}
    ]
    dry = yield gatherResults([_dry(node, token) for token in tried])
    return [*findings, *dry]


def _sound(token: Token) -> bool:
    """Whether this is a Web Push subscription whose service can be asked."""
    try:
        return token.provider == WEBPUSH and bool(subscription(token.prid))
    except ValueError:
        return False


def _dry(node: Sbc, token: PushToken) -> Deferred[Finding]:
    """A push to nobody: does the provider accept our credential, the topic, the project?"""
    order = PushOrder(
        type=PushType.CUSTOM,
        tokens=(token,),
        title="Test",
        message="Test of the SBC",
        deadline=time.time() + 10.0,
    )
    return node.push.send(order).addCallback(lambda result: doctor.dry(token.provider, token.param, result))


@inlineCallbacks
def unregister_upper(node: Sbc, found: Subscriber | None) -> Generator[Deferred[Any], Any, int]:
    """End the user's registrations at the upper servers; how many there were."""
    if found is None:
        return 0
    user = found.user
    held: Sequence[UpperRegistration] = yield node.store.report(
        lambda connection: queries.upper_registrations(connection, user.id)
    )
    live = [row for row in held if row.state != "ended"]
    for row in live:
        node.refresher.refresh(user, row, expires=0)
    return len(live)
