"""The push service: what the rest of the product calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from random import Random, SystemRandom
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from sbc.push import credentials, expiry, limits, stock
from sbc.push.breaker import THRESHOLD, Breaker
from sbc.push.connect import Connector
from sbc.push.credentials import App, Keyring
from sbc.push.keys import VapidKey
from sbc.push.limits import Limits
from sbc.push.orders import Outcome, PushOrder, PushResult, PushType
from sbc.push.ports import Meter, PushConfiguration, Recorder, Silent, Status
from sbc.push.providers import ApnsProvider, FcmProvider, Provider, WebPushProvider
from sbc.push.recent import Recent
from sbc.push.sender import Sending, Surroundings
from sbc.push.tokens import APNS, FCM, IOS, WEBPUSH, AppRules, PushToken, UserAgentRule, choose, problem_of

__all__ = ["Outcome", "PushConfiguration", "PushOrder", "PushResult", "PushService", "PushType", "Recorder"]

# Outcomes after which another token of the same device is tried: this one, or its app, is of no use.
_NEXT_TOKEN = frozenset((Outcome.DEAD_TOKEN, Outcome.CONFIG_ERROR, Outcome.BREAKER_OPEN))
# Why no push goes out for anything but a call.
CALLS_ALONE = "the device gave a VoIP token alone, which Apple takes for calls only"
# Breakers kept: one for each app and provider, in Web Push for each service.
MAX_BREAKERS = 5000
# Seconds between two looks at the dates of certificates.
LOOK_AT_DATES = 3600.0


class PushService(Service):
    """Sends pushes. ``send`` may be called at any time between ``startService`` and ``stopService``.

    *recorder* and *meter* are told of every push (``ports``). *now_at* gives UTC epoch seconds. *own_addresses* are IP
    addresses of this SBC itself, where no Web Push subscription may lead. *connector* makes what opens connections.
    """

    name = "push"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        configuration: PushConfiguration,
        *,
        recorder: Recorder | None = None,
        meter: Meter | None = None,
        now_at: Callable[[], float] = time.time,
        random: Random | None = None,
        own_addresses: Collection[str] = (),
        connector: Callable[..., Connector] = Connector,
    ) -> None:
        silent = Silent()
        self._reactor, self._own, self._make_connector = reactor, own_addresses, connector
        self._random = random or SystemRandom()
        self._around = Surroundings(reactor, now_at, self._random, recorder or silent, meter or silent, self._suspended)
        self._breakers: dict[tuple[str, str, str], Breaker] = {}
        self._providers: dict[str, Provider] = {
            name: make(reactor, self._random)
            for name, make in ((APNS, ApnsProvider), (FCM, FcmProvider), (WEBPUSH, WebPushProvider))
        }
        self._connectors: dict[str, tuple[object, Connector]] = {}
        self._limits = Limits({})
        self._recent = Recent()
        self._expiry = expiry.Watch()
        self._looking = LoopingCall(self._look_at_dates)
        self._looking.clock = reactor
        self._templates: stock.Templates | None = None
        self.keyring = Keyring()
        self._stopped = False
        self._rules = AppRules()
        self.problems: tuple[str, ...] = ()
        self.reload(configuration)

    # Configuration.

    def reload(self, configuration: PushConfiguration, *, anew: Collection[str] = ()) -> tuple[str, ...]:
        """Take a new configuration and read keys, certificates and templates again; answer what is wrong with them.

        Connections whose credentials have not changed stay open, but for those of the providers in *anew*. Pushes under
        way end on the connections they are on. Breakers start anew: the operator may have mended the cause.
        """
        self.configuration = configuration
        push = configuration.push
        self._templates = stock.load(push.credentials, self._templates)
        self.keyring = credentials.load(
            push, configuration.apps, configuration.apns, configuration.fcm, self._around.now_at()
        )
        problems = [*self._templates.problems, *self.keyring.problems]
        self._around.ttl = push.ttl
        self._around.remove_dead = configuration.remove_on.push_failure
        self._breakers.clear()
        rates = {limits.DEVICE: push.device_limit, limits.CALLER: push.caller_limit, limits.APP: push.app_limit}
        if rates != self._limits.rates:
            self._limits = Limits(rates)
        for name, provider in self._providers.items():
            if name in anew:
                provider.stop()
            provider.configure(configuration, self._templates, self._connector_for(name, problems))
            provider.keep(self._apps(name))
        self._rules = self._read_rules()
        self.problems = tuple(problems)
        for problem in problems:
            self._log.warn("push: {problem}", problem=problem)
        self._look_at_dates()
        if self.running:
            self._warm()
        return self.problems

    def _look_at_dates(self) -> None:
        for told in self._expiry.due(self.keyring.expiries(), self._around.now_at()):
            self._log.warn("push: {told}", told=told)

    def _read_rules(self) -> AppRules:
        push = self.configuration.push
        return AppRules(
            user_agents=tuple(
                UserAgentRule.of(app.user_agent, app.id, app.provider, app.environment)
                for app in self.configuration.apps
                if app.user_agent
            ),
            webpush=push.webpush == "on",
            ios_by_fcm=push.fcm in ("ios", "ios_always"),
            team_id=push.team_id,
            suffix=push.team_id_suffix,
            providers=frozenset(provider for provider in self.keyring.providers() if self.enabled(provider)),
            websocket=push.websocket,
        )

    def _connector_for(self, name: str, problems: list[str]) -> Connector:
        """What opens the connections of a provider: the same as before where nothing about it has changed."""
        web = self.configuration.webpush
        path = {APNS: self.configuration.apns.ca_file, FCM: self.configuration.fcm.ca_file, WEBPUSH: web.ca_file}[name]
        guard: dict[str, Any] = {"guarded": True, "allow": web.allow, "own": self._own} if name == WEBPUSH else {}
        pem = b""
        if path:
            try:
                with open(path, "rb") as file:
                    pem = file.read(credentials.MAX_FILE)
            except OSError as error:
                problems.append(f"{name}.ca_file: {path}: {error}")
        what = (pem, tuple(guard.items()))
        known = self._connectors.get(name)
        if known is not None and known[0] == what:
            return known[1]
        try:
            made = self._make_connector(self._reactor, ca_pem=pem, **guard)
        except ValueError as error:
            problems.append(f"{name}.ca_file: {path}: {error}")
            made = self._make_connector(self._reactor, **guard)
        self._connectors[name] = what, made
        return made

    def _apps(self, provider: str) -> list[App]:
        """The apps of a provider that is enabled, each credential once."""
        if not self.enabled(provider):
            return []
        apps = (app for key, app in self.keyring.apps.items() if key[0] == provider)
        return list({app.credential.fingerprint: app for app in apps}.values())

    def _warm(self) -> None:
        for name, provider in self._providers.items():
            provider.warm(self._apps(name), self._around.now_at())

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._stopped = False
        self._warm()
        self._looking.start(LOOK_AT_DATES, now=False)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        self._stopped = True
        if self._looking.running:
            self._looking.stop()
        for provider in self._providers.values():
            provider.stop()

    # What others ask before they send.

    def enabled(self, provider: str) -> bool:
        """Whether the operator wants *provider* to be used."""
        push = self.configuration.push
        if push.enabled == "off":
            return False
        level = {APNS: push.apns, FCM: push.fcm, WEBPUSH: push.webpush}.get(provider, "off")
        return level != "off"

    def providers(self) -> frozenset[str]:
        """The providers that are enabled and have a usable credential: what Feature-Caps promises."""
        return self._rules.providers

    def ready(self, token: PushToken) -> bool:
        """Whether *token* could be pushed: its provider is enabled and its app has a usable credential."""
        return self.enabled(token.provider) and self.keyring.find(token.provider, token.param) is not None

    def rules(self) -> AppRules:
        """How tokens are read from REGISTER (``dialects.read``). Made once for each configuration: every REGISTER
        asks.
        """
        return self._rules

    def vapid_key(self) -> str:
        """The public VAPID key for ``+sip.vapid``, or ``""``."""
        app = self.keyring.announced() if self.enabled(WEBPUSH) else None
        return app.credential.public if app is not None and isinstance(app.credential, VapidKey) else ""

    def status(self) -> list[Status]:
        """One row for each connection place, for ``pushstat`` and the API. No secrets."""
        return [
            {
                "provider": name,
                "server": origin.place.authority.decode(),
                "connected": origin.connected,
                "waiting": origin.waiting,
                "error": origin.last_error,
            }
            for name, provider in self._providers.items()
            for origin in provider.origins()
        ]

    def expiries(self) -> dict[str, float]:
        """Days left of each certificate, by app id; negative when it is over."""
        now_at = self._around.now_at()
        return {name: expiry.days_left(ends_at, now_at) for name, ends_at in self.keyring.expiries().items()}

    def open_breakers(self) -> list[tuple[str, str, str]]:
        """(provider, app, why) of each app that is suspended just now."""
        now = self._reactor.seconds()
        return [
            (provider, app, breaker.reason)
            for (provider, app, _), breaker in self._breakers.items()
            if breaker.is_open(now)
        ]

    # Sending.

    def send(self, order: PushOrder) -> Deferred[PushResult]:
        """Push to one device. The Deferred always fires with a result, at the order's deadline at the latest."""
        if self._stopped:
            return self._refused(order, None, "shutting down")
        token = self._choose(order)
        if token is None:
            usable = any(self.enabled(each.provider) for each in order.tokens)
            return self._refused(order, None, CALLS_ALONE if usable else "the device has no token that may be used")
        # Most tokens come from REGISTER and were checked there, some from the API.
        problem = problem_of(token)
        if problem:
            return self._refused(order, token, problem)
        if self.keyring.find(token.provider, token.param) is None:
            return self._refused(order, token, f"no credentials for {token.provider} app {token.param}")
        if order.type is PushType.CANCEL:
            self._recent.forget((order.once, token.provider, token.prid))
        once = order.once and order.type is not PushType.CANCEL
        sending = self._once(order, token) if once else self._dispatch(order, token)
        return sending.addCallback(self._another, order) if len(order.tokens) > 1 else sending

    def _once(self, order: PushOrder, token: PushToken) -> Deferred[PushResult]:
        """One push for this request and device, however many ask for it."""
        key = (order.once, token.provider, token.prid)
        known = self._recent.result(key, self._reactor.seconds())
        if known is not None:
            return succeed(known)
        joined: Deferred[PushResult] = Deferred()

        def told(result: PushResult) -> None:
            # What kept that push from being accepted may have been its own: its caller gone, its time over.
            if result.accepted:
                joined.callback(result)
            else:
                self.send(order).chainDeferred(joined)

        if self._recent.joins(key, told):
            return joined

        def ended(result: PushResult) -> PushResult:
            self._recent.ended(key, result, self._reactor.seconds())
            return result

        return self._dispatch(order, token).addCallback(ended)

    def _dispatch(self, order: PushOrder, token: PushToken) -> Deferred[PushResult]:
        limited = self._limits.refuses(order, token, self._reactor.seconds())
        if limited:
            return self._refused(order, token, limited, Outcome.LIMITED)
        app = self.keyring.find(token.provider, token.param)
        assert app is not None
        return Sending(self._around, self._providers[token.provider], app, self._breaker(token), order, token).start()

    def _another(self, result: PushResult, order: PushOrder) -> PushResult | Deferred[PushResult]:
        """A device with several tokens is not lost with one of them."""
        if result.outcome not in _NEXT_TOKEN or result.token is None:
            return result
        tried = (result.token.provider, result.token.prid)
        rest = tuple(token for token in order.tokens if (token.provider, token.prid) != tried and self.ready(token))
        return self.send(replace(order, tokens=rest)) if rest else result

    def _choose(self, order: PushOrder) -> PushToken | None:
        usable = [token for token in order.tokens if self.enabled(token.provider)]
        if len(usable) > 1:
            # An iPhone known to both providers: Apple's own way, unless ios_always.
            always = self.configuration.push.fcm == "ios_always"
            usable.sort(key=lambda token: (token.kind == IOS) is not always)
            known = [token for token in usable if self.keyring.find(token.provider, token.param) is not None]
            usable = known or usable
        return choose(usable, call=order.type is PushType.CALL)

    def _suspended(self, app: App, reason: str) -> None:
        self._log.error(
            "push: {provider} app {app} is suspended: {reason}", provider=app.provider, app=app.id, reason=reason
        )

    def _breaker(self, token: PushToken) -> Breaker:
        place = token.prid.split("/", 3)[2] if token.provider == WEBPUSH and token.prid.count("/") > 2 else ""
        key = (token.provider, token.param, place)
        breaker = self._breakers.get(key)
        if breaker is None:
            if len(self._breakers) >= MAX_BREAKERS:
                self._breakers.clear()
            threshold = self.configuration.fcm.max_failures if token.provider == FCM else THRESHOLD
            breaker = self._breakers[key] = Breaker(threshold)
        return breaker

    def _refused(
        self, order: PushOrder, token: PushToken | None, reason: str, outcome: Outcome = Outcome.REFUSED
    ) -> Deferred[PushResult]:
        result = PushResult(outcome=outcome, reason=reason, token=token)
        provider, app = (token.provider, token.param) if token is not None else ("", "")
        self._around.meter.pushed(provider, app, order.type, result)
        now_at = self._around.now_at()
        self._around.recorder.push_finished(order, result, provider=provider, app=app, sent_at=now_at, state="")
        return succeed(result)
