"""A whole world on loopback addresses: push services, an upper server, a real SBC process between them, and phones.

In: a directory, users, more configuration. Out: started parties as attributes; phones made on demand; everything
stopped by one `stop`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import inlineCallbacks

from sbc.lab.apns import Apns
from sbc.lab.authority import Authority
from sbc.lab.border import Border, free_port
from sbc.lab.fcm import Fcm
from sbc.lab.phone import Phone
from sbc.lab.received import Inbox
from sbc.lab.speech import DeviceToken
from sbc.lab.upper import Upper
from sbc.lab.webpush import WebPush

BORDER, UPPER, PHONE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
PROVIDERS = ("apns", "fcm", "webpush")
UDP_AWAKE = 1.5  # s the SBC takes a silent UDP phone for awake; short, for somebody may wait for it
MEDIA_PORTS = 200  # of the SBC's relay


class World:
    """One SBC and everything around it. `users` are accounts of the upper server, name to password.

    `providers` are the services the SBC is configured for; `sections` is appended to its configuration (TOML, whole
    sections that are not there yet: not node, listen, upper, database, registrar, media, admin, push, push.app, apns,
    fcm, webpush); `settings` adds lines to those sections, by name: ``{"push": 'chat = "off"'}``.
    """

    def __init__(
        self,
        reactor: Any,
        directory: Path,
        *,
        users: Mapping[str, str],
        providers: Sequence[str] = PROVIDERS,
        settings: Mapping[str, str] | None = None,
        sections: str = "",
    ) -> None:
        self.reactor = reactor
        self.directory = directory
        self.providers = tuple(providers)
        self.authority = Authority(directory, now_at=time.time())
        self.apns = Apns(reactor, self.authority)
        self.fcm = Fcm(reactor, self.authority)
        self.webpush = WebPush(reactor, self.authority)
        self.upper = Upper(reactor, host=UPPER, users=users)
        self.phones: list[Phone] = []
        self.sip = free_port(BORDER)
        self.admin = free_port(BORDER)
        self._settings = dict(settings or {})
        self._sections = sections
        self._relay = 20_000 + 2 * secrets.randbelow(4_000)
        self._border: Border | None = None

    @property
    def border(self) -> Border:
        """The SBC process; a new one after each `restart`."""
        assert self._border is not None, "the world is not started"
        return self._border

    @property
    def output(self) -> str:
        """The last that the SBC printed; empty when it was never started."""
        return self._border.output[-4000:] if self._border is not None else ""

    @inlineCallbacks
    def start(self, *, border: bool = True) -> Any:
        """Everything but phones; `border` False leaves the SBC to `restart`."""
        for provider in self.providers:
            yield self.service(provider).start()
        yield self.upper.start()
        if border:
            yield self.restart()

    @inlineCallbacks
    def restart(self, *, crash: bool = False) -> Any:
        """Stop the SBC (or kill it, as a crash does) when it runs, and start it again on the same ports and
        database."""
        if self._border is not None and crash:
            self._border.kill()
            yield self._border.diary.when("ended")
        elif self._border is not None:
            yield self._border.stop()
        database = self.directory / "sbc.db"
        text = self.configuration(database)
        self._border = Border(self.reactor, self.directory, text, admin=(BORDER, self.admin), database=database)
        yield self._border.start()

    @inlineCallbacks
    def stop(self) -> Any:
        """Take everything down, whatever happened."""
        for phone in self.phones:
            yield phone.stop()
        if self._border is not None:
            yield self._border.stop()
        yield self.upper.stop()
        for provider in self.providers:
            yield self.service(provider).stop()

    def service(self, provider: str) -> Apns | Fcm | WebPush:
        """The emulated service of that name."""
        services: dict[str, Apns | Fcm | WebPush] = {"apns": self.apns, "fcm": self.fcm, "webpush": self.webpush}
        return services[provider]

    def inbox(self, provider: str) -> Inbox:
        """What that service got."""
        return self.service(provider).inbox

    def token(self, provider: str) -> DeviceToken:
        """A new device's token."""
        if provider == "webpush":
            prid = self.webpush.subscribe(self.authority.vapid_public_key()).prid
        elif provider == "fcm":
            prid = f"{secrets.token_hex(8)}:APA91b{secrets.token_hex(40)}"
        else:
            prid = secrets.token_hex(32)
        return DeviceToken(provider=provider, app=self.authority.bundle, prid=prid, team=self.authority.team_id)

    def phone(self, username: str, *, provider: str = "apns", **more: Any) -> Phone:
        """A phone of that user behind the SBC, with a token of its own (`provider` ``""``: without one). More: see
        `Phone`."""
        more.setdefault("password", self.upper.rules.users[username])
        more.setdefault("domain", self.upper.domain)
        more.setdefault("realm", self.upper.rules.realm)
        more.setdefault("host", PHONE)
        token = self.token(provider) if provider else None
        more.setdefault("proxy", (BORDER, self.sip))
        phone = Phone(self.reactor, username=username, token=token, **more)
        if provider:
            phone.listen(self.inbox(provider))
        self.phones.append(phone)
        return phone

    def configuration(self, database: Path) -> str:
        """The SBC's configuration file."""
        first = self._relay
        ca = f"ca_file = {quoted(self.authority.ca_file)}"
        sections = {
            "node": f'name = "lab"\nstate = {quoted(self.directory / "state")}\n{self._stop()}',
            "[listen] ": f'uri = "udp:{BORDER}:{self.sip}"',
            "[listen]": f'uri = "tcp:{BORDER}:{self.sip}"',
            "[upper]": f'name = "pbx"\nuri = {quoted(self.upper.uri)}\ndomain = {quoted(self.upper.domain)}',
            "database": f"url = {quoted(f'sqlite:///{database}')}",
            "registrar": f'udp_awake = "{UDP_AWAKE}s"',
            "media": f'relay = "always"\nports = "{first}-{first + MEDIA_PORTS - 1}"',
            "admin": f'listen = "{BORDER}:{self.admin}"',
            "push": f'webpush = "{"on" if "webpush" in self.providers else "off"}"',
            **{f"[push.app]{' ' * count}": self._app(name) for count, name in enumerate(self.providers)},
            "apns": f"url = {quoted(self.apns.url)}\n{ca}",
            "fcm": f"url = {quoted(self.fcm.url)}\n{ca}",
            "webpush": f'subject = "mailto:lab@example.com"\n{ca}\nallow = ["127.0.0.1"]',
        }
        texts = [f"[{name.rstrip()}]\n{text}\n{self._settings.get(name, '')}" for name, text in sections.items()]
        return "\n".join([*texts, self._sections])

    def _stop(self) -> str:
        """Calls end with the world, unless somebody wants to see them go on."""
        return "" if "stop" in self._settings.get("node", "") else 'stop = "end"'

    def _app(self, provider: str) -> str:
        authority = self.authority
        lines = [f"id = {quoted(authority.bundle)}", f"provider = {quoted(provider)}"]
        if provider == "apns":
            lines += [f"key = {quoted(authority.apns_key())}", f"team_id = {quoted(authority.team_id)}"]
        elif provider == "fcm":
            lines.append(f"key = {quoted(authority.service_account(self.fcm.token_uri))}")
        else:
            lines.append(f"key = {quoted(authority.vapid_key())}")
        return "\n".join(lines)


def quoted(value: object) -> str:
    """A TOML basic string; JSON's escapes are a part of TOML's."""
    return json.dumps(str(value))
