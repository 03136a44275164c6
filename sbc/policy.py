"""What the settings, the load and the push services that can be reached allow a push for."""

from __future__ import annotations

import time
from collections.abc import Callable

from sbc.proxy.settings import ProxySettings
from sbc.proxy.target import push_tokens
from sbc.push.decide import Decision, decide
from sbc.push.indication import Serving
from sbc.push.orders import PushType
from sbc.push.service import PushService
from sbc.push.settings import AppSettings, PushSettings
from sbc.settings import Configuration
from sbc.store.records import Subscriber
from sbc.store.records import Target as Device
from sbc.store.settings import DatabaseSettings


class Policy:
    """`load` says how busy the node is (0 to 4)."""

    def __init__(self, configuration: Callable[[], Configuration], push: PushService, load: Callable[[], int]) -> None:
        self._configuration = configuration
        self._push = push
        self._load = load

    def serving(self) -> Serving:
        """What is told to apps about the push services here (RFC 8599 section 5.4)."""
        push = self._configuration()[PushSettings]
        return Serving(
            providers=self._push.providers(),
            ready=self._push.ready,
            vapid=self._push.vapid_key(),
            send_555=push.send_555,
            short=push.short_registration,
        )

    def pushes(self, kind: PushType, device: Device, awake: bool, subscriber: Subscriber) -> bool:
        """Whether a push of that kind may go to this device now."""
        return self._decision(kind, device, awake, subscriber).push

    def why_not(self, kind: PushType, device: Device, subscriber: Subscriber) -> str:
        """Why a sleeping device is not pushed."""
        return self._decision(kind, device, False, subscriber).reason

    def _decision(self, kind: PushType, device: Device, awake: bool, subscriber: Subscriber) -> Decision:
        offline = time.time() - subscriber.user.last_seen_at
        settings = self._configuration()[PushSettings]
        ready = any(self._push.ready(token) for token in push_tokens(device))
        if ready and not subscriber.user.ha1 and self._over(device):
            return Decision(False, "its registration has run out")
        return decide(settings, kind, awake=awake, load=self._load(), ready=ready, offline_for=offline)

    def _over(self, device: Device) -> bool:
        """Whether the device's registration has run out and nobody keeps it alive, where that is the end of push."""
        configuration = self._configuration()
        own = {app.id: app.unregister for app in configuration.each(AppSettings) if app.unregister}
        allowed = next((own[token.param] for token in device.tokens if token.param in own), None)
        ends = (allowed or configuration[PushSettings].unregister) == "allow"
        return ends and device.binding.expires_at <= time.time()

    def calls_off(self) -> bool:
        """Whether a device that was pushed for a call is told when the call is over."""
        return decide(self._configuration()[PushSettings], PushType.CANCEL, awake=False, load=self._load()).push

    def keep_messages(self) -> float | None:
        """Seconds that a MESSAGE for nobody is kept; None: it is refused."""
        configuration = self._configuration()
        keeps = configuration[ProxySettings].store_messages
        return configuration[DatabaseSettings].keep_messages if keeps else None
