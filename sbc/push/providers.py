"""The three providers behind one interface: where to send, with which authorization, in which words.

What is common to all (tries, deadlines, breakers, records) is in ``sender``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from random import Random
from typing import Any, Protocol

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec

from sbc.push import apns, fcm, webpush
from sbc.push.bearers import AccessToken, ProviderTokens, VapidTokens, Waiter
from sbc.push.connect import Connector, Place
from sbc.push.credentials import App
from sbc.push.keys import ClientCertificate, ServiceAccount, TokenKey, VapidKey
from sbc.push.orders import Outcome, PushOrder
from sbc.push.origins import Origin
from sbc.push.ports import PushConfiguration
from sbc.push.stock import Templates
from sbc.push.tokens import SANDBOX, PushToken
from sbc.push.waiting import CALL
from sbc.push.wire import Answer, Post, Verdict
from sbc.push.wording import keywords, push_type

# Web Push services with open connections at once; browsers use about five, an inventive user may name any number.
MAX_WEB_ORIGINS = 200
# Seconds for the OAuth server to answer.
ACCESS_WITHIN = 5.0


class RefusedError(Exception):
    """We do not send this: the text says why."""


class Provider(Protocol):
    """See the module. ``authorization`` is empty when it is not ready: then ``wait`` for it."""

    def origin(self, app: App, token: PushToken) -> Origin: ...
    def authorization(self, app: App, token: PushToken, now_at: float) -> bytes | None: ...
    def wait(self, app: App, now_at: float, waiter: Waiter) -> None: ...
    def renew(self, app: App, token: PushToken, now_at: float) -> bool: ...
    def build(
        self, order: PushOrder, token: PushToken, app: App, push_id: str, authorization: bytes, ttl: int, now_at: float
    ) -> Post: ...
    def classify(self, answer: Answer, now_at: float) -> Verdict: ...
    def configure(self, configuration: PushConfiguration, templates: Templates, connector: Connector) -> None: ...
    def keep(self, apps: Collection[App]) -> None: ...
    def warm(self, apps: Collection[App], now_at: float) -> None: ...
    def stop(self) -> None: ...
    def origins(self) -> Collection[Origin]: ...


class _Base:
    """What providers share: their origins, by place and identity."""

    def __init__(self, reactor: Any, random: Random) -> None:
        self._reactor, self._random = reactor, random
        self.configuration: PushConfiguration
        self.templates: Templates
        self._connector: Connector
        self._connections = 1
        self._origins: OrderedDict[tuple[Place, str], Origin] = OrderedDict()

    def configure(self, configuration: PushConfiguration, templates: Templates, connector: Connector) -> None:
        """Another configuration. Connections that were made as it says stay open."""
        connections = self._connections_of(configuration)
        if self._origins and (connector is not self._connector or connections != self._connections):
            self.stop()
        self.configuration, self.templates = configuration, templates
        self._connector, self._connections = connector, connections

    def keep(self, apps: Collection[App]) -> None:
        """Close the connections that none of *apps* needs."""

    def _connections_of(self, configuration: PushConfiguration) -> int:
        return 1

    def _keep(self, wanted: Collection[tuple[Place, str]]) -> None:
        for key in [key for key in self._origins if key not in wanted]:
            self._origins.pop(key).stop()

    def _origin(self, place: Place, identity: str = "", **how: Any) -> Origin:
        """The origin of this place and identity, made as *how* says where there is none yet."""
        origin = self._origins.get((place, identity))
        if origin is None:
            origin = self._origins[place, identity] = Origin(
                self._reactor, self._connector, place, random=self._random, **how
            )
            origin.start()
        return origin

    def origins(self) -> Collection[Origin]:
        return self._origins.values()

    def stop(self) -> None:
        for origin in self._origins.values():
            origin.stop()
        self._origins.clear()

    def wait(self, app: App, now_at: float, waiter: Waiter) -> None:
        waiter(b"", Verdict(Outcome.CONFIG_ERROR, "no authorization"))


class ApnsProvider(_Base):
    """Apple. One origin for each server and each team's key or each certificate."""

    def __init__(self, reactor: Any, random: Random) -> None:
        super().__init__(reactor, random)
        self._tokens = ProviderTokens()

    def _connections_of(self, configuration: PushConfiguration) -> int:
        return configuration.apns.connections

    def _place(self, sandbox: bool) -> Place:
        urls = self.configuration.apns
        return Place.of(urls.sandbox_url if sandbox else urls.url)

    def keep(self, apps: Collection[App]) -> None:
        identities = {app.credential.fingerprint for app in apps}
        self._keep({(self._place(sandbox), identity) for sandbox in (False, True) for identity in identities})

    def origin(self, app: App, token: PushToken) -> Origin:
        return self._at(app, (token.environment or app.environment) == SANDBOX)

    def _at(self, app: App, sandbox: bool) -> Origin:
        credential = app.credential
        return self._origin(
            self._place(sandbox),
            credential.fingerprint,
            certificate=credential.pem if isinstance(credential, ClientCertificate) else b"",
            connections=self._connections,
            plain_http2=True,
        )

    def warm(self, apps: Collection[App], now_at: float) -> None:
        for app in apps:
            self._at(app, app.environment == SANDBOX)
            if isinstance(app.credential, TokenKey):
                self._tokens.get(app.credential, now_at)

    def authorization(self, app: App, token: PushToken, now_at: float) -> bytes | None:
        credential = app.credential
        return self._tokens.get(credential, now_at) if isinstance(credential, TokenKey) else None

    def renew(self, app: App, token: PushToken, now_at: float) -> bool:
        return isinstance(app.credential, TokenKey) and self._tokens.renew(app.credential, now_at)

    def build(
        self, order: PushOrder, token: PushToken, app: App, push_id: str, authorization: bytes, ttl: int, now_at: float
    ) -> Post:
        return apns.build(
            order,
            token,
            self.templates.apns,
            self.configuration.push,
            push_id=push_id,
            authorization=authorization,
            ttl=ttl,
            now_at=now_at,
        )

    def classify(self, answer: Answer, now_at: float) -> Verdict:
        return apns.classify(answer, now_at)


class FcmProvider(_Base):
    """Google. One origin for the service, one for each OAuth server, one access token for each service account."""

    def __init__(self, reactor: Any, random: Random) -> None:
        super().__init__(reactor, random)
        self._access: dict[str, AccessToken] = {}
        self._urls: dict[str, tuple[Place, bytes]] = {}

    def configure(self, configuration: PushConfiguration, templates: Templates, connector: Connector) -> None:
        super().configure(configuration, templates, connector)
        self._urls.clear()

    def _connections_of(self, configuration: PushConfiguration) -> int:
        return configuration.fcm.connections

    def keep(self, apps: Collection[App]) -> None:
        places = {self._url(app)[0] for app in apps} | {Place.of(_account(app).token_uri) for app in apps}
        self._keep({(place, "") for place in places})
        accounts = {app.credential.fingerprint for app in apps}
        self._access = {name: token for name, token in self._access.items() if name in accounts}

    def stop(self) -> None:
        super().stop()
        # A token under way is lost with its connection.
        self._access = {}

    def _url(self, app: App) -> tuple[Place, bytes]:
        project = _account(app).project_id
        url = self._urls.get(project)
        if url is None:
            base, path = fcm.split_url(self.configuration.fcm.url, project)
            url = self._urls[project] = (Place.of(base), path)
        return url

    def origin(self, app: App, token: PushToken) -> Origin:
        return self._origin(self._url(app)[0], connections=self._connections)

    def warm(self, apps: Collection[App], now_at: float) -> None:
        for app in apps:
            self._origin(self._url(app)[0], connections=self._connections)
            # The first call must not wait for Google's OAuth server.
            self._token(app).ready(now_at)

    def _token(self, app: App) -> AccessToken:
        account = _account(app)
        token = self._access.get(account.fingerprint)
        if token is None:
            place = Place.of(account.token_uri)

            def send(post: Post, done: Any) -> None:
                self._origin(place, warm=False).post(post, CALL, ACCESS_WITHIN, done)

            token = self._access[account.fingerprint] = AccessToken(account, send)
        return token

    def authorization(self, app: App, token: PushToken, now_at: float) -> bytes | None:
        return self._token(app).ready(now_at)

    def wait(self, app: App, now_at: float, waiter: Waiter) -> None:
        self._token(app).wait(now_at, waiter)

    def renew(self, app: App, token: PushToken, now_at: float) -> bool:
        self._token(app).renew()
        return True

    def build(
        self, order: PushOrder, token: PushToken, app: App, push_id: str, authorization: bytes, ttl: int, now_at: float
    ) -> Post:
        return fcm.build(
            order,
            token,
            self.templates.fcm,
            self.configuration.push,
            self.configuration.fcm,
            path=self._url(app)[1],
            push_id=push_id,
            authorization=authorization,
            ttl=ttl,
        )

    def classify(self, answer: Answer, now_at: float) -> Verdict:
        return fcm.classify(answer, now_at)


def _account(app: App) -> ServiceAccount:
    assert isinstance(app.credential, ServiceAccount)
    return app.credential


class WebPushProvider(_Base):
    """Any Web Push service, chosen by the browser's subscription: hence the guard in the connector."""

    def __init__(self, reactor: Any, random: Random) -> None:
        super().__init__(reactor, random)
        self._tokens = VapidTokens()

    def keep(self, apps: Collection[App]) -> None:
        if not apps:
            self._keep(())

    def origin(self, app: App, token: PushToken) -> Origin:
        place = Place.of(self._subscription(token).origin)
        if not place.secure and not self._connector.exempt(place.host):
            raise RefusedError("the subscription's address is not https")
        if (place, "") in self._origins:
            self._origins.move_to_end((place, ""))
        elif len(self._origins) >= MAX_WEB_ORIGINS:
            self._origins.popitem(last=False)[1].stop()
        return self._origin(place, warm=False)

    def _subscription(self, token: PushToken) -> webpush.Subscription:
        try:
            return webpush.subscription(token.prid)
        except ValueError as error:
            raise RefusedError(str(error)) from None

    def warm(self, apps: Collection[App], now_at: float) -> None:
        """Which services will be needed is not known before."""

    def _tokens_for(self, app: App, token: PushToken) -> tuple[VapidKey, str, str]:
        assert isinstance(app.credential, VapidKey)
        return app.credential, self._subscription(token).origin, self.configuration.webpush.subject

    def authorization(self, app: App, token: PushToken, now_at: float) -> bytes | None:
        return self._tokens.get(*self._tokens_for(app, token), now_at)

    def renew(self, app: App, token: PushToken, now_at: float) -> bool:
        self._tokens.renew(*self._tokens_for(app, token))
        return True

    def build(
        self, order: PushOrder, token: PushToken, app: App, push_id: str, authorization: bytes, ttl: int, now_at: float
    ) -> Post:
        to = self._subscription(token)
        sealed = b""
        if to.key:
            values = keywords(
                order,
                token,
                self.configuration.push,
                push_id=push_id,
                push_type=push_type(order, self.configuration.push),
                ttl=ttl,
            )
            clear = self.templates.webpush.render(values, webpush.LIMIT)
            try:
                sealed = http_ece.encrypt(  # type: ignore[no-untyped-call]
                    clear,
                    private_key=ec.generate_private_key(ec.SECP256R1()),
                    dh=to.key,
                    auth_secret=to.secret,
                    version="aes128gcm",
                )
            except (ValueError, http_ece.ECEException) as error:
                raise RefusedError(f"the subscription's key cannot be used: {error}") from None
        return webpush.build(order, to, authorization=authorization, sealed=sealed, ttl=ttl)

    def classify(self, answer: Answer, now_at: float) -> Verdict:
        return webpush.classify(answer, now_at)
