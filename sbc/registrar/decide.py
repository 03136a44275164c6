"""What a REGISTER asks for and what it comes to: pure.

`plan` reads a REGISTER into what goes up and what is to happen after the upper server's 2xx; `accepted` says, once that
2xx is there, how long the phone may count on its registration. The SBC stores nothing before the upper server agreed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from sbc.push.dialects import Handover
from sbc.push.tokens import PushToken
from sbc.sip.digest import Credentials, ha1_by, verify
from sbc.sip.errors import ParseError, RemoteError
from sbc.sip.message import Request, Response
from sbc.sip.values import NameAddr
from sbc.store.records import FLOW_NUMBER, Binding, Subscriber, Target

DEFAULT_EXPIRES = 3600
"""Seconds of a registration whose phone asks for nothing (RFC 3261 §10.2.1.1 leaves it to the registrar)."""


_Q = re.compile(rb"[01](\.[0-9]{0,6})?|\.[0-9]{1,6}")

BY_ADDRESS = "c:"
"""How the identity of a device begins that has neither instance nor token."""


class Wish(Enum):
    """What the phone wants."""

    BIND = "bind"
    UNBIND = "unbind"
    """Really end it: a null token, or an unregister that the settings allow."""
    SLEEP = "sleep"
    """An unregister from a push device, which keeps its binding (`unregister = convert` or `ignore`)."""
    FETCH = "fetch"
    """No Contact: tell me my bindings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one REGISTER asks for.

    `expires` is what the phone asked for in seconds. `identity` names the device among the user's, `contact` is its
    Contact URI without push parameters. `everyone`: `Contact: *`.
    """

    username: str
    wish: Wish
    expires: int
    identity: str
    contact: str
    instance: str
    reg_id: int | None
    everyone: bool
    handover: Handover
    q: float = 1.0

    @property
    def nameless(self) -> bool:
        """Whether nothing but its address names the device: `recognised` may know it."""
        return self.identity.startswith(BY_ADDRESS)


def plan(request: Request, handover: Handover, bare: Request, *, keep_on_unregister: bool) -> Plan:
    """Read a REGISTER. `bare` is the same request after the push dialects were stripped from it.

    `keep_on_unregister`: an unregister of this device does not end it (it is a push device and the settings say so).
    Raises RemoteError 400 for what RFC 3261 §10.3 calls malformed.
    """
    to = request.to
    if not to.uri.is_sip or to.uri.user is None:
        raise RemoteError(400, b"To Names No User")
    username = to.uri.username
    if request.star_contact:
        if request.expires != 0:
            raise RemoteError(400, b"Contact * Without Expires 0")
        wish = Wish.SLEEP if keep_on_unregister and not handover.unbind else Wish.UNBIND
        return Plan(
            username=username, wish=wish, expires=0, identity="", contact="", instance="", reg_id=None,
            everyone=True, handover=handover,
        )  # fmt: skip
    shown = chosen_contact(bare)
    if shown is None:
        return Plan(
            username=username, wish=Wish.FETCH, expires=0, identity="", contact="", instance="", reg_id=None,
            everyone=False, handover=handover,
        )  # fmt: skip
    if not shown.uri.is_sip:
        raise RemoteError(400, b"Contact Is No SIP URI")
    expires = asked_expires(shown, request)
    if expires > 0:
        wish = Wish.BIND
    else:
        wish = Wish.SLEEP if keep_on_unregister and not handover.unbind else Wish.UNBIND
    instance = (shown.params.get(b"+sip.instance") or b"").decode("utf-8", "replace").strip('"')
    number = shown.params.get(b"reg-id") or b""
    reg_id = int(number) if number.isdigit() and len(number) < 10 else None
    return Plan(
        username=username,
        wish=wish,
        expires=expires,
        identity=identity_of(shown, instance, reg_id, handover.tokens),
        contact=shown.uri.render().decode("utf-8", "replace"),
        instance=instance,
        reg_id=reg_id,
        everyone=False,
        handover=handover,
        q=preference(shown),
    )


def devices(plan: Plan, known: Subscriber | None) -> Sequence[Target]:
    """The device of a REGISTER as it is stored; all of its user where it is not known."""
    targets = known.targets if known is not None else ()
    return [target for target in targets if target.binding.identity == plan.identity] or targets


def pushable(plan: Plan, known: Subscriber | None) -> bool:
    """Whether this device has a token here; one that is not known counts if any of its user has."""
    return any(target.tokens for target in devices(plan, known))


def apps(plan: Plan, known: Subscriber | None) -> list[str]:
    """The apps of this device: of the tokens that it brings, else of those that are stored."""
    stored = (token.param for target in devices(plan, known) for token in target.tokens)
    return [token.param for token in plan.handover.tokens] or list(stored)


def chosen_contact(request: Request) -> NameAddr | None:
    """The Contact that a REGISTER is about: the first that is not being removed, else the first."""
    contacts = request.contacts
    for contact in contacts:
        if asked_expires(contact, request) > 0:
            return contact
    return contacts[0] if contacts else None


def asked_expires(contact: NameAddr, request: Request) -> int:
    """Seconds asked for: the Contact's `expires`, else the Expires header, else the default (RFC 3261 §10.2.1.1)."""
    text = contact.params.get(b"expires")
    if text is not None and text.isdigit():
        return min(int(text), 2**31)
    expires = request.expires
    return DEFAULT_EXPIRES if expires is None else expires


def preference(contact: NameAddr) -> float:
    """The q of a Contact (RFC 3261 §20.10), 0 to 1; 1 where it says none that can be read."""
    text = contact.params.get(b"q") or b""
    return min(1.0, float(text)) if _Q.fullmatch(text) else 1.0


def identity_of(contact: NameAddr, instance: str, reg_id: int | None, tokens: tuple[PushToken, ...]) -> str:
    """What names the device among the user's devices, although its address changes.

    Its instance (RFC 5626), else its push token (RFC 8599 §5.6.2 matches a woken device by it), else the address. An
    instance with several flows has a binding for each, told apart by the reg-id (`store.records.device_of`).
    """
    if instance:
        return f"i:{instance}" + (f"{FLOW_NUMBER}{reg_id}" if reg_id is not None and reg_id > 1 else "")
    if tokens:
        token = tokens[0]
        return f"t:{token.provider}:{token.param}:{hashlib.sha256(token.prid.encode()).hexdigest()[:40]}"
    uri = contact.uri
    user = (uri.user or b"").decode("utf-8", "replace")
    return f"{BY_ADDRESS}{user}@{uri.host.decode('utf-8', 'replace').lower()}:{uri.port or ''}"


def recognised(plan: Plan, devices: Iterable[Binding], *, call_id: str, user_agent: str) -> str:
    """The identity of a nameless device among the user's devices: one that said its token earlier and does not now.

    It has the same Call-ID (a phone keeps it for all its registrations, RFC 3261 §10.2) or the same Contact. A null
    token may come after the app was started anew: then it is about the only push device of that app.
    """
    nameless = [device for device in devices if not device.instance]
    for device in nameless:
        if device.call_id == call_id:
            return device.identity
    for device in nameless:
        if device.contact == plan.contact:
            return device.identity
    pushed = [device for device in nameless if device.push and device.user_agent == user_agent]
    return pushed[0].identity if plan.handover.unbind and len(pushed) == 1 else plan.identity


@lru_cache(4_096)  # of users who register just now, and are challenged first; about 2 MB
def upper_token(secret: bytes, username: str, domain: str, upper: str, identity: str = "") -> str:
    """The user part of the Contact that the upper server sees for this user, or with `identity` for one of its devices:
    opaque, unguessable, always the same."""
    said = "\0".join((username, domain, upper, identity) if identity else (username, domain, upper)).encode()
    return b32encode(hmac.digest(secret, said, "sha256")[:15]).decode().lower()


def settled(plan: Plan, response: Response, granted_up: int, *, self_refreshed: bool) -> int:
    """Seconds that the phone may count on.

    As long as it asked for where we refresh the upper registration ourselves; else no longer than the upper server
    granted.
    """
    if plan.wish is Wish.BIND:
        return plan.expires if self_refreshed else min(plan.expires, granted_up)
    return 0


@dataclass(frozen=True, slots=True)
class Proof:
    """What an accepted REGISTER's credentials say: the realm, the digest user name, and the HA1 if it may be kept."""

    realm: str
    username: str
    ha1: str | None
    mismatch: bool


def proven(request: Request, ha1: str | None) -> Proof:
    """Check an app's HA1s against the credentials that the upper server has just accepted.

    One that does not explain the accepted digest would only lock the account out later: all are dropped.
    """
    for name in (b"authorization", b"proxy-authorization"):
        for value in request.lines(name):
            try:
                credentials = Credentials.parse(value)
            except ParseError:
                continue
            realm = credentials.realm.decode("utf-8", "replace")
            username = credentials.username.decode("utf-8", "replace")
            if ha1 is None:
                return Proof(realm, username, None, False)
            used = ha1_by(credentials.algorithm, ha1)
            if used is not None and not verify(credentials, used, b"REGISTER", request.body):
                return Proof(realm, username, None, True)
            return Proof(realm, username, ha1, False)
    return Proof("", "", ha1, False)


def answer_contact(
    request: Request, plan: Plan, seconds: int, gruu: Mapping[bytes, bytes | None] = MappingProxyType({})
) -> bytes | None:
    """The Contact value of our 2xx: the phone's own, as it sent it, with the seconds it may count on and the GRUUs that
    the upper server gave it."""
    if plan.wish is not Wish.BIND:
        return None
    shown = chosen_contact(request)
    assert shown is not None
    params = {name: value for name, value in shown.params.items() if name != b"expires"}
    params[b"expires"] = b"%d" % seconds
    params.update(gruu)
    return shown.replace(params=params).render()


def reachable_at(request: Request, source: tuple[str, int]) -> tuple[str, int] | None:
    """Where a UDP phone that is not behind NAT listens: its Contact's address; None: only where it sent from.

    No NAT is between when its Via names the very address and port that the datagram came from and its Contact the same
    host. A phone that asks for outbound wants its flow to be used (RFC 5626 §5.3).
    """
    shown = chosen_contact(request)
    if shown is None or b"reg-id" in shown.params or b"ob" in shown.uri.params or len(request.vias) > 1:
        return None
    via = request.via
    if (via.host, via.port or 5060) != (source[0].encode(), source[1]) or shown.uri.host != source[0].encode():
        return None
    return source[0], shown.uri.port or 5060
