"""How apps hand over their push token: X-MPUSH, RFC 8599, two older Contact families, a known User-Agent.  [pure]

``read`` answers what a REGISTER says; ``strip`` removes from it what concerns only us. Where a REGISTER says it in
several ways, the first of this order counts: a null (unbinds), RFC 8599, X-MPUSH, ``pn-type`` family, ``push-token``
family; a URI parameter before a header parameter of the same name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import unquote

from sbc.push import tokens as words
from sbc.push.contact import Parameter, parameters, without
from sbc.push.tokens import APNS, FCM, WEBPUSH, AppRules, PushToken
from sbc.sip.digest import gathered

# The words of pn-type and push-token-type. Google's GCM is retired: its tokens are FCM's.
TYPES = {
    "apple": APNS,
    "apns": APNS,
    "ios": APNS,
    "firebase": FCM,
    "google": FCM,
    "android": FCM,
    "fcm": FCM,
    "webpush": WEBPUSH,
    "web": WEBPUSH,
}
# X-MPUSH provider letters. `w` and `j` depend on settings.
LETTERS = {"a": FCM, "i": APNS, "j": FCM, "w": FCM}
PLATFORMS = {"a": words.ANDROID, "j": words.IOS, "w": words.BROWSER}
ENVIRONMENTS = {"s": words.SANDBOX, "p": words.PRODUCTION, "d": ""}

_PRIVATE_HEADERS = (b"x-mpush", b"x-piid")
_PRIVATE_PREFIX = b"x-sy."


class Headers(Protocol):
    """The part of ``sbc.sip.Request`` used here."""

    def names(self) -> list[bytes]: ...
    def first(self, name: bytes) -> bytes | None: ...
    def lines(self, name: bytes) -> list[bytes]: ...
    def replace(self, name: bytes, values: list[bytes]) -> None: ...
    def remove(self, *names: bytes) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What a REGISTER says about push.

    ``tokens``: the device's tokens, empty when it brings none. ``unbind``: a null token, end of push. ``ha1``: HA1s for
    the upper server's realm (`sbc.sip.digest.gathered`). ``query``: ``None``, or the provider a capability query asks
    about (``""`` = all); a query stores nothing, so tokens and HA1 are then empty. ``asked``: ``pn-provider`` as sent,
    ``None`` where RFC 8599 is not spoken. ``unsupported``: the provider asked for that we do not serve (its 555).
    ``mentioned``: any push parameter was there; ``missing_prid``: a provider without a token. ``chained``: a proxy
    before us has already promised push (Feature-Caps with sip.pns), so we keep out. ``pnsreg``: the Contact carries
    ``+sip.pnsreg``. ``team``: Apple team id, when sent. ``upper_*``: the X-Sy family. ``problems``: what was wrong, for
    the log, without tokens.
    """

    tokens: tuple[PushToken, ...] = ()
    unbind: bool = False
    ha1: str | None = None
    query: str | None = None
    asked: str | None = None
    unsupported: str | None = None
    mentioned: bool = False
    missing_prid: bool = False
    chained: bool = False
    pnsreg: bool = False
    team: str = ""
    upper_server: str | None = None
    upper_proxy: str | None = None
    upper_domain: str | None = None
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reading:
    """What has been found so far."""

    rules: AppRules
    now_at: float
    tokens: list[PushToken] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unbind: bool = False
    unsupported: str | None = None
    missing_prid: bool = False
    team: str = ""

    def add(self, provider: str, param: str, prid: str, environment: str = "", kind: str = "") -> None:
        token = PushToken(provider, param, prid, environment, kind, self.now_at)
        problem = words.problem_of(token)
        if problem:
            self.problems.append(problem)
        elif len(self.tokens) < words.MAX_TOKENS:
            self.tokens.append(token)


def read(register: Headers, rules: AppRules, now_at: float = 0.0) -> Handover:
    """What *register* says; *now_at* becomes the tokens' ``registered_at``. Never raises: mistakes are ``problems``."""
    named, pnsreg = _named(register)
    caps = b",".join(register.lines(b"feature-caps")).lower()
    chained = caps.find(b"sip.pns=") >= 0 or caps.find(b"sip.pns;") >= 0
    mpush = register.first(b"x-mpush")
    query = _query(named) if mpush is None else None
    if query is not None:
        unsupported = query if query and query not in rules.providers else None
        return Handover(
            query=query,
            asked=query,
            unsupported=unsupported,
            mentioned=True,
            missing_prid=True,
            chained=chained,
            pnsreg=pnsreg,
        )
    reading = _Reading(rules, now_at)
    if (mpush is not None and _null(_text(mpush))) or any(_null(named.get(name)) for name in _TOKEN_NAMES):
        reading.unbind = True
    else:
        agent = _text(register.first(b"user-agent") or b"")
        _rfc8599(named, agent, reading)
        if not reading.tokens and mpush is not None:
            _mpush(_text(mpush), reading)
        if not reading.tokens:
            _legacy(named, "pn-type", "app-id", "pn-tok", reading)
        if not reading.tokens:
            _legacy(named, "push-token-type", "push-token-app", "push-token-id", reading)
        if not reading.tokens:
            _by_user_agent(named, agent, reading)
    return Handover(
        tokens=tuple(reading.tokens),
        unbind=reading.unbind,
        ha1=_ha1(register.lines(b"x-piid"), reading),
        asked=(named["pn-provider"] or "").lower() if "pn-provider" in named else None,
        unsupported=reading.unsupported,
        mentioned=mpush is not None or any(_ours(name) for name in named),
        missing_prid=reading.missing_prid,
        chained=chained,
        pnsreg=pnsreg,
        team=reading.team,
        upper_server=_optional(register.first(b"x-sy.uppersrv")),
        upper_proxy=_optional(register.first(b"x-sy.upperproxy")),
        upper_domain=_optional(register.first(b"x-sy.uppersrvd")),
        problems=tuple(reading.problems),
    )


def silent(register: Headers) -> bool:
    """Whether *register* says nothing of push at all, as most do: ``read`` would find nothing, ``strip`` nothing."""
    for name in register.names():
        if name in _HEARD or name.startswith(_PRIVATE_PREFIX):
            return False
    return not any(_speaks_of_push(line) for line in register.lines(b"contact"))


def over_websocket(handover: Handover, rules: AppRules) -> Handover:
    """What counts of a REGISTER that came over a WebSocket, by ``push.websocket``; a null token and the HA1 always do.

    Where no token counts, none was mentioned: the client is registered like one without push.
    """
    if rules.websocket == "on":
        return handover
    kept = tuple(token for token in handover.tokens if rules.websocket == "auto" and token.provider in rules.providers)
    if kept == handover.tokens and (rules.websocket == "auto" or handover.asked is None):
        return handover
    if kept:
        return replace(handover, tokens=kept)
    return replace(
        handover, tokens=(), query=None, asked=None, unsupported=None, mentioned=False, missing_prid=False, pnsreg=False
    )


def strip(request: Headers) -> None:
    """Remove in place X-MPUSH, X-PIID, X-Sy.* and the push parameters of every Contact; the rest keeps its bytes."""
    mine = [name for name in request.names() if name in _PRIVATE_HEADERS or name.startswith(_PRIVATE_PREFIX)]
    if mine:
        request.remove(*mine)
    lines = request.lines(b"contact")
    kept = [stripped(line) for line in lines]
    if kept != lines:
        request.replace(b"contact", kept)


def stripped(contact: bytes) -> bytes:
    """A Contact line, or a URI in angle brackets, without the push parameters; the rest keeps its bytes."""
    if not _speaks_of_push(contact):
        return contact
    return without(contact, [parameter for parameter in parameters(contact) if _ours(parameter.name)])


_HEARD = frozenset((*_PRIVATE_HEADERS, b"feature-caps"))
_TOKEN_NAMES = ("pn-prid", "pn-tok", "push-token-id")


def _ours(name: str) -> bool:
    return name.startswith(("pn-", "push-token-")) or name == "app-id"


_PUSH_WORDS = (b"pn-", b"push-token-", b"app-id", b"+sip.pnsreg")


def _speaks_of_push(line: bytes) -> bool:
    """Whether a Contact line may hold a parameter of ours: most hold none, and need not be taken apart."""
    lower = line.lower()
    return any(word in lower for word in _PUSH_WORDS)


def _named(register: Headers) -> tuple[dict[str, str | None], bool]:
    """The push parameters of the first Contact that has any, URI parameters first; and whether +sip.pnsreg is there."""
    pnsreg = False
    for line in register.lines(b"contact"):
        if not _speaks_of_push(line):
            continue
        by_contact: dict[int, list[Parameter]] = {}
        for parameter in parameters(line):
            if _ours(parameter.name):
                by_contact.setdefault(parameter.contact, []).append(parameter)
            elif parameter.name == "+sip.pnsreg":
                pnsreg = True
        if by_contact:
            chosen = by_contact[min(by_contact)]
            named: dict[str, str | None] = {}
            for parameter in sorted(chosen, key=lambda one: not one.in_uri):
                value = None if parameter.value is None else unquote(parameter.value)
                named.setdefault(parameter.name, _unquoted(value))
            return named, pnsreg
    return {}, pnsreg


def _query(named: dict[str, str | None]) -> str | None:
    """The provider of a capability query (RFC 8599 section 4.1.5), or ``None``."""
    if "pn-provider" not in named or named.get("pn-prid") or named.get("pn-tok") or named.get("push-token-id"):
        return None
    return (named["pn-provider"] or "").lower()


def _rfc8599(named: dict[str, str | None], agent: str, reading: _Reading) -> None:
    """``pn-provider``, ``pn-param``, ``pn-prid`` (sections 8.7, 10 to 12)."""
    provider = (named.get("pn-provider") or "").lower()
    prid = named.get("pn-prid") or ""
    if not provider:
        return
    if provider not in reading.rules.providers:
        reading.unsupported = provider[:64]
        reading.problems.append(f"push provider {provider[:64]!r} is not served here")
        return
    if not prid:
        reading.missing_prid = True
        return
    param = named.get("pn-param") or ""
    if not param:
        rule = reading.rules.by_user_agent(agent)
        param = rule.param if rule is not None and rule.provider == provider else ""
    if provider == APNS:
        _apple(param, prid, reading)
    elif provider == WEBPUSH:
        reading.add(WEBPUSH, param, _with_keys(prid, named))
    else:
        reading.add(provider, param, prid)


def _apple(param: str, prid: str, reading: _Reading, environment: str = "") -> None:
    """An Apple token, or two of the form ``TOKEN:remote&TOKEN:voip``."""
    app = words.apple_app(param, reading.rules)
    reading.team = app.team
    environment = environment or app.environment
    parts = prid.split("&")[: words.MAX_TOKENS]
    for index, part in enumerate(parts):
        value, colon, kind = part.partition(":")
        if colon and kind not in (words.VOIP, words.REMOTE):
            reading.problems.append("apns token with an unknown service behind the colon")
            continue
        if not colon:
            # Without a mark the services of pn-param count, in their order when there are as many as tokens.
            kind = app.services[index] if len(app.services) == len(parts) else ""
        reading.add(APNS, app.bundle, value, environment, kind)


def _with_keys(address: str, named: dict[str, str | None]) -> str:
    """A subscription address with its encryption keys, where the app sends them, in the fragment (which is never
    sent out).
    """
    if address.startswith("{"):
        return _subscription(address)
    key, secret = named.get("pn-p256dh"), named.get("pn-auth")
    if key and secret and "#" not in address:
        return f"{address}#p256dh={key}&auth={secret}"
    return address


def _subscription(text: str) -> str:
    """The browser's own JSON form of a subscription, in ours; ``""`` when it is none."""
    try:
        said = json.loads(text)
        address, secrets = str(said["endpoint"]), said.get("keys") or {}
        if secrets.get("p256dh") and secrets.get("auth") and "#" not in address:
            return f"{address}#p256dh={secrets['p256dh']}&auth={secrets['auth']}"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ""
    return address


def _mpush(value: str, reading: _Reading) -> None:
    """``[ENV:]PROVIDER:PACKAGE:TOKEN``; the token may hold colons."""
    head, colon, rest = value.partition(":")
    environment = ""
    if head.lower() in ENVIRONMENTS and colon:
        environment = ENVIRONMENTS[head.lower()]
        head, colon, rest = rest.partition(":")
    provider = LETTERS.get(head.strip().lower())
    package, second, prid = rest.partition(":")
    package, prid = package.strip(), prid.strip()
    if provider is None or not colon or not second:
        reading.problems.append("X-MPUSH is not PROVIDER:PACKAGE:TOKEN")
        return
    letter = head.strip().lower()
    if letter == "j" and not reading.rules.ios_by_fcm:
        reading.problems.append("X-MPUSH j: FCM to iOS is switched off (push.fcm = ios)")
        return
    if letter == "w" and reading.rules.webpush:
        reading.add(WEBPUSH, package, _with_keys(prid, {}), environment)
    elif provider == APNS:
        _apple(package, prid, reading, environment)
    else:
        reading.add(provider, package, prid, environment, PLATFORMS[letter])


def _legacy(named: dict[str, str | None], kind: str, app: str, token: str, reading: _Reading) -> None:
    """A family of three Contact parameters: type, app, token."""
    word, prid = (named.get(kind) or "").lower(), named.get(token) or ""
    if not word:
        return
    provider = TYPES.get(word)
    if provider is None or provider not in reading.rules.providers:
        reading.unsupported = word[:64]
        reading.problems.append(f"{kind} {word[:64]!r} is not served here")
    elif not prid:
        reading.missing_prid = True
    elif provider == APNS:
        _apple(named.get(app) or "", prid, reading)
    else:
        reading.add(provider, named.get(app) or "", prid)


def _by_user_agent(named: dict[str, str | None], agent: str, reading: _Reading) -> None:
    """The app is known by its User-Agent; the token comes from any known parameter."""
    prid = next((named[name] for name in _TOKEN_NAMES if named.get(name)), None)
    if not prid:
        return
    rule = reading.rules.by_user_agent(agent)
    if rule is None:
        reading.problems.append("a push token, but neither its provider nor a known User-Agent")
        return
    reading.unsupported = None
    if rule.provider == APNS:
        _apple(rule.param, prid, reading, rule.environment)
    else:
        reading.add(rule.provider, rule.param, prid, rule.environment)


def _ha1(values: list[bytes], reading: _Reading) -> str | None:
    if not values:
        return None
    try:
        return gathered(_text(b",".join(values)))
    except ValueError as problem:
        reading.problems.append(f"X-PIID: {problem}")
        return None


def _null(value: str | None) -> bool:
    return value is not None and _unquoted(value).strip().lower() == "null"  # type: ignore[union-attr]


def _unquoted(value: str | None) -> str | None:
    if value is not None and len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


def _text(value: bytes) -> str:
    return value.strip().decode("utf-8", "replace")


def _optional(value: bytes | None) -> str | None:
    return (_text(value) or None) if value is not None else None
