"""What we promise an app that asks for push by RFC 8599, and how the answer says so.  [pure]

``promise`` decides about one REGISTER: whether its tokens are kept, which providers the 2xx names, or which refusal
goes back. ``feature_caps`` writes the header fields of that 2xx. Only a REGISTER with ``pn-provider`` is answered so
(sections 5.6.1 and 6.2.1); the other dialects know no such answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sbc.push.dialects import Handover
from sbc.push.tokens import WEBPUSH, PushToken

REFRESH_LEAD = 130
"""Seconds before the end of a registration at which an app is woken to refresh it, and the value of ``+sip.pnsreg``:
section 4.1.4 asks for more than 120, so that a phone far from the network still gets through."""

SHORTEST = 180
"""Seconds of the shortest registration that the app alone keeps alive and that can still be pushed in time: the lead,
and some seconds in which it is simply registered."""

FORWARD = "forward"
"""``push.short_registration``: register without a promise; any other word answers 423."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What this node offers: ``providers`` with usable credentials, ``ready`` for one token, and three settings."""

    providers: Collection[str]
    ready: Callable[[PushToken], bool]
    vapid: str = ""
    send_555: bool = False
    short: str = FORWARD


@dataclass(frozen=True, slots=True)
class Promise:
    """``status``: 0, or the refusal (423, 555). ``tokens``: whether the tokens of the REGISTER are kept. ``providers``:
    what the 2xx names, in order."""

    status: int = 0
    tokens: bool = True
    providers: tuple[str, ...] = ()

    def within(self, before: Promise) -> Promise:
        """What of this was promised *before*, too: the 2xx never says more than the REGISTER that went up (section
        5.6.1.2), whatever was reloaded meanwhile.
        """
        kept = tuple(provider for provider in self.providers if provider in before.providers)
        return Promise(self.status, self.tokens and before.tokens, kept)


KEEP = Promise()
"""No RFC 8599 in it: tokens of other dialects are kept, nothing is said (section 5.6.1)."""

NOTHING = Promise(tokens=False)
"""No push, and not a word of it."""


def promise(handover: Handover, serving: Serving, *, seconds: int, refreshed: bool) -> Promise:
    """What a REGISTER gets that is to live *seconds*; *refreshed*: we keep it alive ourselves, so any length will do.

    Ask twice: with the seconds that the app wants, and with those that the upper server grants.
    """
    if handover.asked is None:
        return KEEP
    if handover.chained:
        return NOTHING
    if handover.query is not None:
        return _answer(handover.query, serving)
    if handover.unbind:
        return KEEP
    provider = handover.asked
    if not any(serving.ready(token) for token in handover.tokens if token.provider == provider):
        return Promise(status=555, tokens=False) if serving.send_555 else NOTHING
    if seconds < SHORTEST and not refreshed:
        return NOTHING if serving.short == FORWARD else Promise(status=423, tokens=False)
    return Promise(providers=(provider,))


def _answer(query: str, serving: Serving) -> Promise:
    """A capability query (section 4.1.5): about one provider, or with ``""`` about all."""
    served = tuple(sorted(each for each in serving.providers if query in ("", each)))
    if not served and serving.send_555:
        return Promise(status=555, tokens=False)
    return Promise(tokens=False, providers=served)


def too_short(handover: Handover, seconds: int) -> bool:
    """Whether everything hangs on an HA1 that may be stored already: the REGISTER brings none and is short."""
    bound = handover.asked is not None and bool(handover.tokens) and not handover.chained
    return bound and handover.ha1 is None and seconds < SHORTEST


def feature_caps(providers: Collection[str], *, vapid: str = "", purr: str = "", pnsreg: bool = False) -> list[bytes]:
    """Feature-Caps values, one for each provider (RFC 6809 with sections 8.1 to 8.6 and 6.2.1).

    *vapid*: public key, said for Web Push alone; *purr*: the device's PURR; *pnsreg*: the Contact asked to refresh by
    itself.
    """
    values = []
    for provider in providers:
        value = f'*;+sip.pns="{provider}"'
        if provider == WEBPUSH and vapid:
            value += f';+sip.vapid="{vapid}"'
        if pnsreg:
            value += f';+sip.pnsreg="{REFRESH_LEAD}"'
        if purr:
            value += f';+sip.pnspurr="{purr}"'
        values.append(value.encode())
    return values


def promises_push(value: bytes) -> bool:
    """Whether one Feature-Caps value speaks of push."""
    return b"+sip.pns" in value.lower()
