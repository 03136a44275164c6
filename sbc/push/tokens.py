"""What a push token is, and how the names that apps use for one are read.  [pure]"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

APNS = "apns"
FCM = "fcm"
WEBPUSH = "webpush"
PROVIDERS = (APNS, FCM, WEBPUSH)

PRODUCTION = "production"
SANDBOX = "sandbox"

VOIP = "voip"
REMOTE = "remote"
ANDROID = "android"
IOS = "ios"
BROWSER = "browser"

# Characters of one token or subscription address. APNs tokens have 64 to 200, FCM about 160 to 300, Web Push
# addresses up to 1,000; whatever is longer is an attack on our memory, not a token.
MAX_PRID = 2048
# Characters of an app id: bundle ids end at 155, Android package names are shorter.
MAX_PARAM = 255
# Tokens of one device: voip and remote, once more in another dialect.
MAX_TOKENS = 4

_BLANK = re.compile(r"[\x00-\x20\x7f]")
_TEAM = re.compile(r"[A-Z0-9]{10}\Z")


@dataclass(frozen=True, slots=True)
class PushToken:
    """One address at which one app on one device can be woken.

    ``provider``: ``apns``, ``fcm`` or ``webpush``. ``param``: app id (bundle id, package, project) without team id and
    service. ``prid``: the provider's token, or the subscription address (keys in its fragment, see ``webpush``).
    ``environment``: ``production``, ``sandbox`` or ``""`` (whatever the app is configured for). ``kind``: what
    the token is for, as far as the app said: Apple's ``voip`` or ``remote``, of an FCM token the platform ``android``,
    ``ios`` or ``browser``, else ``""``. ``registered_at``: UTC epoch seconds of the REGISTER that brought it,
    0 when unknown; it decides whether a provider's "gone since" is older than the token, and takes no part in
    equality.
    """

    provider: str
    param: str
    prid: str = field(repr=False)
    environment: str = ""
    kind: str = ""
    registered_at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class UserAgentRule:
    """An app known by its User-Agent: ``pattern`` is searched in the header value."""

    pattern: re.Pattern[str]
    param: str
    provider: str
    environment: str = ""

    @classmethod
    def of(cls, pattern: str, param: str, provider: str, environment: str = "") -> UserAgentRule:
        """From the pattern's text; ``re.error`` when it is none."""
        return cls(re.compile(pattern), param, provider, environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRules:
    """What the configuration says about reading tokens.

    ``webpush``: X-MPUSH ``w`` means Web Push, else FCM. ``ios_by_fcm``: X-MPUSH ``j`` is accepted. ``team_id``:
    ``auto`` strips a first label that looks like an Apple team id, ``on`` any first label, ``off`` none. ``suffix``:
    service suffix of a VoIP topic. ``websocket``: whose tokens count that come over a WebSocket: ``off`` nobody's,
    ``auto`` those of ``providers``, ``on`` all.
    """

    user_agents: tuple[UserAgentRule, ...] = ()
    webpush: bool = False
    ios_by_fcm: bool = False
    team_id: str = "auto"
    suffix: str = ".voip"
    providers: frozenset[str] = frozenset(PROVIDERS)
    websocket: str = "auto"

    def by_user_agent(self, user_agent: str) -> UserAgentRule | None:
        """The first rule whose pattern occurs in *user_agent*."""
        for rule in self.user_agents:
            if rule.pattern.search(user_agent):
                return rule
        return None


@dataclass(frozen=True, slots=True)
class AppleApp:
    """An Apple ``pn-param`` taken apart: ``TEAM.BUNDLE[.service[&service]]`` (RFC 8599 section 10)."""

    team: str
    bundle: str
    services: tuple[str, ...]
    environment: str


def apple_app(param: str, rules: AppRules) -> AppleApp:
    """Take *param* apart. Never fails: what is not recognised stays in the bundle id."""
    bundle, environment = param, ""
    for suffix, word in ((".prod", PRODUCTION), (".dev", SANDBOX)):
        if bundle.endswith(suffix):
            bundle, environment = bundle[: -len(suffix)], word
    services: list[str] = []
    head, dot, last = bundle.rpartition(".")
    words = last.split("&")
    if dot and all(word in (VOIP, REMOTE) for word in words):
        bundle, services = head, words
    elif rules.suffix and bundle.endswith(rules.suffix) and len(bundle) > len(rules.suffix):
        bundle, services = bundle[: -len(rules.suffix)], [VOIP]
    team = ""
    first, dot, rest = bundle.partition(".")
    if dot and rest and (rules.team_id == "on" or (rules.team_id == "auto" and _TEAM.match(first))):
        team, bundle = first, rest
    return AppleApp(team, bundle, tuple(services), environment)


def choose(tokens: Iterable[PushToken], *, call: bool) -> PushToken | None:
    """The token to use for a call (``voip`` first) or for anything else (``remote`` first, a VoIP token never).

    Since iOS 13 an app that gets a VoIP push must show a call, else it is ended and soon gets no more of them; and
    Apple takes no other push for the token of a VoIP push.
    """
    if call:
        return min(
            tokens, key=lambda token: 0 if token.kind == VOIP else 2 if token.kind == REMOTE else 1, default=None
        )
    fitting = (token for token in tokens if not calls_alone(token))
    return min(fitting, key=lambda token: token.kind != REMOTE, default=None)


def calls_alone(token: PushToken) -> bool:
    """Whether the token wakes its app for calls and for nothing else, as far as the app said."""
    return token.provider == APNS and token.kind == VOIP


def problem_of(token: PushToken) -> str:
    """Why *token* cannot be right, or ``""``."""
    if not token.param and token.provider != WEBPUSH:
        return f"{token.provider} token without an app id"
    if not token.prid:
        return f"{token.provider} app {token.param} without a token"
    if len(token.prid) > MAX_PRID or len(token.param) > MAX_PARAM:
        return f"{token.provider} token or app id too long"
    if _BLANK.search(token.prid) or _BLANK.search(token.param):
        return f"{token.provider} token or app id with blanks or control characters"
    if token.provider == APNS and not token.prid.isalnum():
        return "apns token with characters other than letters and digits"
    if token.provider == WEBPUSH and not token.prid.startswith(("https://", "http://")):
        return "webpush token that is not an address"
    return ""
