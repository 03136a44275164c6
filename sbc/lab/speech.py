"""How apps say their push token in a REGISTER: every dialect the product understands, spoken here. Pure.

In: a token and the name of a dialect. Out: header lines, Contact URI parameters, Contact header parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

DIALECTS = ("none", "x-mpush", "rfc8599", "rfc8599-header", "kazoo", "push-token")
LETTERS = {"apns": "i", "fcm": "a", "webpush": "w"}
KAZOO_TYPES = {"apns": "apple", "fcm": "firebase", "webpush": "webpush"}

Pairs = list[tuple[bytes, bytes | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceToken:
    """What the operating system gave the app.

    `provider` is ``apns``, ``fcm`` or ``webpush``; `app` the bundle id, package or project; `prid` the token; `remote`
    a second APNs token for pushes that are no calls; `team` Apple's team id; `environment` ``sandbox``, ``production``
    or ``""``. `service` is what the token is for, if the app says so in pn-param: ``voip`` or ``remote``.
    """

    provider: str
    app: str
    prid: str
    remote: str = ""
    team: str = ""
    environment: str = ""
    service: str = ""


@dataclass(slots=True)
class Said:
    """Additions to a REGISTER."""

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    uri: Pairs = field(default_factory=list)
    contact: Pairs = field(default_factory=list)


def say(dialect: str, token: DeviceToken | None, *, unbind: bool = False) -> Said:
    """What an app of that dialect adds. `unbind` says the null token; no token says nothing."""
    if token is None or dialect == "none":
        return Said()
    if dialect == "x-mpush":
        return Said(headers=[(b"x-mpush", b"null" if unbind else _mpush(token))])
    prid = "null" if unbind else token.prid
    if dialect in ("rfc8599", "rfc8599-header"):
        named = _rfc8599(token, prid)
        return Said(contact=named) if dialect == "rfc8599-header" else Said(uri=named)
    kind = KAZOO_TYPES[token.provider]
    names = ("pn-type", "app-id", "pn-tok")
    if dialect == "push-token":
        names = ("push-token-type", "push-token-app", "push-token-id")
    elif dialect != "kazoo":
        raise ValueError(f"no dialect {dialect!r}; there are {', '.join(DIALECTS)}")
    return Said(uri=[_pair(name, value) for name, value in zip(names, (kind, token.app, prid), strict=True)])


def _mpush(token: DeviceToken) -> bytes:
    prefix = {"sandbox": "s:", "production": "p:"}.get(token.environment, "")
    return f"{prefix}{LETTERS[token.provider]}:{token.app}:{token.prid}".encode()


def _rfc8599(token: DeviceToken, prid: str) -> Pairs:
    param = token.app
    if token.provider == "apns":
        service = token.service
        if token.remote and prid != "null":
            service, prid = "remote&voip", f"{token.remote}:remote&{prid}:voip"
        param = ".".join(part for part in (token.team, token.app, service) if part)
    named = [_pair("pn-provider", token.provider)]
    if token.provider != "webpush":
        named.append(_pair("pn-param", param))
    return [*named, _pair("pn-prid", prid)]


def _pair(name: str, value: str) -> tuple[bytes, bytes | None]:
    """A parameter, everything escaped that RFC 3261's paramchar does not allow."""
    return name.encode(), quote(value, safe="[]/:&+$-_.!~*'()").encode()
