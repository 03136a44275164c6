"""What is wrong with an app's or a user's push, in plain words, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sbc.admin.ports import Finding
from sbc.push.credentials import App, Keyring
from sbc.push.habits import habit
from sbc.push.keys import ClientCertificate
from sbc.push.orders import Outcome, PushResult
from sbc.push.tokens import APNS, SANDBOX
from sbc.store.records import Push, Subscriber, Token

DAY = 86_400.0
SOON = 30 * DAY
"""Seconds before a certificate's end from which it is spoken of: renewing one takes operators a while."""
OLD = 60 * DAY
"""Seconds since a token was registered after which it is suspected: apps register at least at every start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the push room knows just now. `suspended`: (provider, app, why) of open breakers."""

    keyring: Keyring
    enabled: Collection[str]
    problems: Sequence[str]
    suspended: Sequence[tuple[str, str, str]]
    now_at: float


def app(provider: str, name: str, around: Surroundings) -> list[Finding]:
    """The credentials of one app: there, switched on, in date, not suspended."""
    found: list[Finding] = []
    if provider not in around.enabled:
        found.append(bad(f"{provider} is switched off", f"set push.{provider} (and push.enabled) to auto or on"))
    credential = around.keyring.find(provider, name)
    if credential is None:
        text = f"there is no credential for {provider} app {name or '(any)'}"
        found.append(bad(text, "add a [[push.app]] with this id, or put its file into push.credentials, then reload"))
        found += [bad(problem, "mend the file and reload") for problem in around.problems]
        return found
    found.append(good(f"{provider} app {name or '(any)'}: credential from {credential.source}"))
    found += _dates(credential, name, around.now_at)
    for at, suspended, why in around.suspended:
        if at == provider and suspended == name:
            found.append(bad(f"suspended after failures: {why}", "it is tried again by itself; a reload tries at once"))
    return found


def _dates(app: App, name: str, now_at: float) -> Iterable[Finding]:
    credential = app.credential
    if not isinstance(credential, ClientCertificate):
        return
    left = credential.expires_at - now_at
    ends = datetime.fromtimestamp(credential.expires_at, UTC).strftime("%Y-%m-%d")
    if left <= 0:
        yield bad(f"the certificate ended on {ends}", "make a new one in Apple's developer account")
    elif left < SOON:
        yield warning(f"the certificate ends on {ends}", "renew it before that day")
    else:
        yield good(f"the certificate is good until {ends}")
    if credential.bundle_id and name and credential.bundle_id != name:
        yield bad(f"the certificate is for {credential.bundle_id}, not {name}", "the topic must be the app's bundle id")
    if credential.sandbox_only and app.environment != SANDBOX:
        yield bad("the certificate is for the sandbox alone", 'set environment = "sandbox", or use a production one')


def user(
    found: Subscriber | None, tokens: Sequence[Token], pushes: Sequence[Push], around: Surroundings
) -> list[Finding]:
    """A user's devices: tokens, their age and state, the last pushes and wakes, the credentials they need."""
    if found is None:
        return [bad("this user has never registered here", "look at the name, and whether the app uses this SBC")]
    told: list[Finding] = []
    silent = around.now_at - found.user.last_seen_at
    told.append(good(f"last registered {ago(silent)} ago as {found.user.user_agent or 'an unnamed app'}"))
    if not found.user.ha1:
        told.append(
            warning("no HA1 is stored", "let the app send X-PIID; without it the SBC must wake it to stay registered")
        )
    if not tokens:
        told.append(bad("no push token is stored", "the app must send one in REGISTER (docs: Push, The token)"))
    for token in tokens:
        told += _token(token, around.now_at)
    for provider, name in dict.fromkeys((token.provider, token.param) for token in tokens):
        told += app(provider, name, around)
    told += _pushes(pushes)
    return told


def _token(token: Token, now_at: float) -> Iterable[Finding]:
    kind = f" ({token.kind})" if token.kind else ""
    name = f"{token.provider} token of {token.param or 'any app'}{kind}"
    age = now_at - token.registered_at
    if token.state == "dead":
        yield bad(f"{name}: dead, {token.last_error or 'the provider knows it no more'}", "the app must register again")
    elif token.state == "suspect":
        yield warning(f"{name}: {token.failures} failures in a row, last: {token.last_error}", "watch the next pushes")
    else:
        yield good(f"{name}: live, registered {ago(age)} ago")
    if age > OLD:
        yield warning(f"{name}: {ago(age)} old", "the app may be gone from the phone")
    if token.provider == APNS and not token.kind:
        yield warning(f"{name}: the app does not say what it is for", "send both tokens, marked voip and remote")
    known = habit(token.wakes)
    if known is not None:
        yield good(f"{name}: wakes in {known.median:.1f} s, 95 of 100 times in {known.late:.1f} s ({known.count} seen)")
    elif token.pushed_at is not None:
        yield warning(f"{name}: was pushed and never woke", "is the app killed, kept from running, or offline?")


def _pushes(pushes: Sequence[Push]) -> Iterable[Finding]:
    for push in pushes:
        if push.outcome == Outcome.ACCEPTED.value:
            woke = f"woke after {push.woke_after:.1f} s" if push.woke_after is not None else "did not wake in time"
            note = good if push.woke_after is not None else warning
            yield note(f"{push.type} push by {push.provider}: accepted, {woke}")
        else:
            text = f"{push.type} push by {push.provider}: {push.outcome}, {push.status or ''} {push.reason}".rstrip()
            yield bad(text, ADVICE.get(push.outcome, ""))


ADVICE = {
    "dead_token": "the app is gone or has another token: it must register again",
    "config_error": "look at the key, the certificate, the topic and the project",
    "payload_error": "look at the message template",
    "limited": "too many pushes within a minute; push.device_limit, caller_limit and app_limit say how many may go",
    "breaker_open": "too many failures in a row; it is tried again by itself",
    "retry": "the provider had trouble, or the network; if it lasts, look at the way there",
    "deadline": "the caller had gone already",
    "refused": "the SBC did not send it: the reason stands there",
}


def dry(provider: str, name: str, result: PushResult) -> Finding:
    """What a push to a token that cannot exist has shown: the provider must refuse the token and nothing else."""
    where = f"test push to {provider} app {name or '(any)'}"
    if result.outcome in (Outcome.DEAD_TOKEN, Outcome.PAYLOAD_ERROR, Outcome.ACCEPTED):
        return good(f"{where}: the provider accepts our credential ({result.status} {result.reason})")
    text = f"{where}: {result.outcome.value}, {result.status or ''} {result.reason}".rstrip()
    return bad(text, ADVICE.get(result.outcome.value, ""))


def no_place(name: str) -> Finding:
    """A Web Push app alone: any service may be the one, so there is none to try."""
    where = f"webpush app {name or '(any)'}"
    return good(f"{where}: there is no subscription to try it with; ask about a user who has one")


def ago(seconds: float) -> str:
    """A length of time for people."""
    for size, word in ((DAY, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds / size)} {word}"
    return f"{int(seconds)} seconds"


def good(text: str) -> Finding:
    """Nothing to do."""
    return Finding("good", text)


def warning(text: str, advice: str = "") -> Finding:
    """Not wrong yet."""
    return Finding("warning", text, advice)


def bad(text: str, advice: str = "") -> Finding:
    """This keeps phones asleep."""
    return Finding("bad", text, advice)
