"""Where keys and certificates are found, and which app uses which.

Looked at, in this order: ``[[push.app]]``, ``fcm.app``/``fcm.key``, then the directory ``push.credentials`` with the
known names ``fcmkey[.PACKAGE].json``, ``pushkit[.PACKAGE].p12/.pfx/.pem/.crt`` (password in ``.pwd`` beside it),
``AuthKey_KEYID.p8`` (or ``AuthKey_KEYID_TEAMID.p8``), ``vapid.pem``. One broken file stops one app and gives one
message.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from sbc.push import expiry, keys
from sbc.push.keys import BadKey, ClientCertificate, Credential, ServiceAccount, TokenKey, VapidKey
from sbc.push.settings import ApnsSettings, AppSettings, FcmSettings, PushSettings
from sbc.push.tokens import APNS, FCM, WEBPUSH

# Bytes of a key file: a PKCS#12 with its chain has about 10 kB.
MAX_FILE = 256 * 1024
# Apps on one node, declared and found.
MAX_APPS = 4000

CERTIFICATE_ENDINGS = (".p12", ".pfx", ".pem", ".crt")


@dataclass(frozen=True, slots=True)
class App:
    """One app at one provider. ``id`` is ``""`` for a credential that serves every app of its provider."""

    id: str
    provider: str
    environment: str
    credential: Credential
    source: str


@dataclass(slots=True)
class Keyring:
    """All usable credentials; ``problems``: one message for each that is not; ``warnings``: what will be one soon."""

    apps: dict[tuple[str, str], App] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def find(self, provider: str, param: str) -> App | None:
        """The app that a token names, else the credential that serves every app of the provider.

        A Web Push token by RFC 8599 names none (section 12): it belongs to the key that we announce.
        """
        return (
            self.apps.get((provider, param))
            or self.apps.get((provider, ""))
            or (self.announced() if provider == WEBPUSH and not param else None)
        )

    def announced(self) -> App | None:
        """The Web Push app whose public key REGISTER answers carry (``+sip.vapid``): the first one."""
        return next((app for app in self.apps.values() if app.provider == WEBPUSH), None)

    def providers(self) -> frozenset[str]:
        return frozenset(provider for provider, _ in self.apps)

    def add(self, app: App) -> None:
        """The first one of an id counts: what is declared comes before what is found."""
        if len(self.apps) >= MAX_APPS:
            self.problems.append(f"{app.source}: more than {MAX_APPS} apps")
            return
        self.apps.setdefault((app.provider, app.id), app)
        credential = app.credential
        # FCM tokens often name the project instead of the package.
        if isinstance(credential, ServiceAccount):
            self.apps.setdefault((app.provider, credential.project_id), app)

    def expiries(self) -> dict[str, float]:
        """UTC epoch seconds by app id of each certificate."""
        return {
            app.id: app.credential.expires_at
            for app in self.apps.values()
            if isinstance(app.credential, ClientCertificate)
        }


def load(
    push: PushSettings, apps: tuple[AppSettings, ...], apns: ApnsSettings, fcm: FcmSettings, now_at: float
) -> Keyring:
    """Read everything. Never raises for a broken credential: that is a message in ``problems``."""
    ring = Keyring()
    for declared in apps:
        _try(ring, f"[[push.app]] {declared.id}", _declared, declared, push.credentials, apns)
    for number, app_id in sorted(fcm.app.items()):
        _try(ring, f"fcm.key{number or ''}", _numbered, app_id, fcm.key.get(number, ""), push.credentials)
    for name in _listed(push.credentials):
        path = os.path.join(push.credentials, name)
        _try(ring, path, _found, path, name, apns)
    for app in ring.apps.values():
        credential = app.credential
        if isinstance(credential, ClientCertificate):
            days = expiry.days_left(credential.expires_at, now_at)
            if expiry.alarm(days) is not None:
                told = ring.problems if days <= 0 else ring.warnings
                told.append(f"{app.source}: {expiry.words(days)}")
    return ring


def _try(ring: Keyring, place: str, reader, *arguments) -> None:  # type: ignore[no-untyped-def]
    try:
        app = reader(*arguments)
    except BadKey as error:
        ring.problems.append(f"{place}: {error}")
    else:
        if app is not None:
            ring.add(app)


def _declared(app: AppSettings, directory: str, apns: ApnsSettings) -> App:
    name = app.key or app.certificate
    path = os.path.join(directory, name)
    if not os.path.exists(path):
        path = name
    content = _secret(path)
    try:
        return App(app.id, app.provider, app.environment, _credential(app, path, content, apns), path)
    except BadKey as error:
        raise BadKey(f"{path} {error}") from None


def _credential(app: AppSettings, path: str, content: bytes, apns: ApnsSettings) -> Credential:
    if app.provider == FCM:
        return keys.service_account(content)
    if app.provider == WEBPUSH:
        return keys.vapid_key(content, app.password)
    if app.key:
        return keys.token_key(content, app.team_id, app.key_id or _key_id(os.path.basename(path))[0])
    found = keys.client_certificate(content, app.password or _password(path) or apns.password)
    if found.bundle_id and found.bundle_id != app.id:
        raise BadKey(f"is for {found.bundle_id}, not for {app.id}")
    return found


def _numbered(app_id: str, value: str, directory: str) -> App:
    source = "fcm.key"
    content = value.encode()
    if not value.startswith(("{", "AAAA")):
        source = os.path.join(directory, value)
        if not os.path.exists(source):
            source = value
        content = _secret(source)
    return App(app_id, FCM, "", keys.service_account(content), source)


def _listed(directory: str) -> Iterator[str]:
    try:
        yield from sorted(os.listdir(directory))
    except OSError:
        return


def _found(path: str, name: str, apns: ApnsSettings) -> App | None:
    """The app of a file with a known name, or ``None`` for any other file."""
    stem, ending = os.path.splitext(name)
    if ending == ".json" and (stem == "fcmkey" or stem.startswith("fcmkey.")):
        return App(stem.removeprefix("fcmkey").lstrip("."), FCM, "", keys.service_account(_secret(path)), path)
    if ending in CERTIFICATE_ENDINGS and (stem == "pushkit" or stem.startswith("pushkit.")):
        credential = keys.client_certificate(_secret(path), _password(path) or apns.password)
        app_id = stem.removeprefix("pushkit").lstrip(".") or credential.bundle_id
        environment = "sandbox" if credential.sandbox_only else "production"
        return App(app_id, APNS, environment, credential, path)
    if ending == ".p8" and stem.startswith("AuthKey_"):
        key_id, team_id = _key_id(name)
        if not team_id:
            # It may be the file of a [[push.app]], which knows the team; alone it is of no use, but no mistake either.
            return None
        return App("", APNS, "production", keys.token_key(_secret(path), team_id, key_id), path)
    if name == "vapid.pem":
        return App("", WEBPUSH, "", keys.vapid_key(_secret(path), _password(path)), path)
    return None


def _key_id(name: str) -> tuple[str, str]:
    """(key id, team id) of ``AuthKey_KEYID[_TEAMID].p8``; empty what is not there."""
    if not name.startswith("AuthKey_"):
        return "", ""
    key_id, _, team_id = name.removeprefix("AuthKey_").removesuffix(".p8").partition("_")
    return key_id, team_id


def _password(path: str) -> str:
    """The first line of the ``.pwd`` file beside *path*, or ``""``."""
    beside = os.path.splitext(path)[0] + ".pwd"
    if not os.path.exists(beside):
        return ""
    return _secret(beside).decode("utf-8", "replace").partition("\n")[0].strip("\r\n\ufeff")


def _secret(path: str) -> bytes:
    """The content of a file that nobody else may read."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadKey(f"{path} is not a file")
            if status.st_mode & 0o077:
                raise BadKey(f"{path} can be read by others: chmod 600 it")
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise BadKey(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE:
        raise BadKey(f"{path} is longer than {MAX_FILE} bytes")
    return content


__all__ = ["App", "ClientCertificate", "Keyring", "ServiceAccount", "TokenKey", "VapidKey", "load"]
