"""What ``sbcctl lab`` runs: the push services, or one phone, until they are interrupted.

In: the reactor, a directory that both share, options. Out: lines for people, through `echo`; ``lab.json`` in the
directory.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks

from sbc.lab.apns import Apns
from sbc.lab.authority import Authority
from sbc.lab.call import IncomingCall
from sbc.lab.devices import DeviceLine, listen
from sbc.lab.diary import Diary, Entry
from sbc.lab.fcm import Fcm
from sbc.lab.loop import Timer
from sbc.lab.phone import Manners, Phone
from sbc.lab.received import ReceivedPush
from sbc.lab.speech import DeviceToken
from sbc.lab.webpush import WebPush

NOTES = "lab.json"  # where the services say how phones find them
SUBSCRIPTIONS = 8  # Web Push subscriptions made for phones in other processes
Echo = Callable[[str], object]


@inlineCallbacks
def serve(
    reactor: Any, directory: Path, bundle: str, ports: tuple[int, int, int, int], now_at: float, echo: Echo
) -> Any:
    """The three services; fires when the reactor is about to stop."""
    authority = Authority(directory, now_at=now_at, bundle=bundle)
    apns = Apns(reactor, authority, port=ports[0])
    fcm = Fcm(reactor, authority, port=ports[1])
    webpush = WebPush(reactor, authority, port=ports[2])
    services = (apns, fcm, webpush)
    line = DeviceLine(reactor, [service.inbox for service in services], port=ports[3])
    for party in (*services, line):
        yield party.start()
    subscriptions = [webpush.subscribe(authority.vapid_public_key()).prid for _ in range(SUBSCRIPTIONS)]
    notes = {"bundle": bundle, "devices": line.port, "subscriptions": subscriptions}
    (directory / NOTES).write_text(json.dumps(notes, indent=2), encoding="utf-8")
    echo(configuration(authority, apns, fcm))
    for service in services:
        service.inbox.watch(lambda push: echo(describe(push)))
    yield _interrupted(reactor)
    yield gatherResults([party.stop() for party in (*services, line)])


def configuration(authority: Authority, apns: Apns, fcm: Fcm) -> str:
    """The sections of ``etc/sbc.toml`` that lead to these services."""
    account = authority.service_account(fcm.token_uri)
    quoted = json.dumps
    ca = quoted(str(authority.ca_file))
    app = quoted(authority.bundle)
    return "\n".join(
        [
            "# put this into etc/sbc.toml",
            "[[push.app]]",
            f"id = {app}",
            'provider = "apns"',
            f"key = {quoted(str(authority.apns_key()))}",
            f"team_id = {quoted(authority.team_id)}",
            "[[push.app]]",
            f"id = {app}",
            'provider = "fcm"',
            f"key = {quoted(str(account))}",
            "[[push.app]]",
            f"id = {app}",
            'provider = "webpush"',
            f"key = {quoted(str(authority.vapid_key()))}",
            "[push]",
            'webpush = "on"',
            "[apns]",
            f"url = {quoted(apns.url)}",
            f"ca_file = {ca}",
            "[fcm]",
            f"url = {quoted(fcm.url)}",
            f"ca_file = {ca}",
            "[webpush]",
            'subject = "mailto:lab@example.com"',
            f"ca_file = {ca}",
            'allow = ["127.0.0.1"]',
            "",
        ]
    )


def describe(push: ReceivedPush) -> str:
    """One line about a push."""
    answer = f"{push.status} {push.reason}".strip() if push.status else f"({push.reason})"
    return f"{push.provider}: …{push.token[-12:]} {answer} {json.dumps(push.payload, ensure_ascii=False)}"


def carry(
    reactor: Any, directory: Path, proxy: str, sleep_after: float, account: Mapping[str, Any], echo: Echo
) -> Deferred[Any]:
    """One phone; fires when the reactor is about to stop."""
    host, _, port = proxy.rpartition(":")
    try:
        notes = json.loads((directory / NOTES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        echo(f"{directory / NOTES} is not there: start `sbcctl lab providers` first")
        raise SystemExit(1) from None
    token = DeviceToken(provider=account["provider"], app=notes["bundle"], prid=_prid(account["provider"], notes))
    phone = Phone(
        reactor,
        username=account["user"],
        password=account["password"],
        proxy=(host, int(port)),
        host=account["host"],
        domain=account["domain"],
        transport=account["transport"],
        dialect=account["dialect"],
        token=token,
        manners=Manners(wake_delay=account["wake_delay"], answer_delay=account["answer_after"]),
    )
    nap = _Nap(phone, sleep_after, echo)
    address = token.prid.partition("#")[0]
    hang_up = listen(reactor, notes["devices"], [address], phone.pushed, lambda why: echo(f"no pushes any more: {why}"))
    phone.start().addErrback(lambda reason: echo(f"cannot register: {reason.getErrorMessage()}"))

    def stop(_: object) -> Deferred[None]:
        nap.end()
        hang_up()
        return phone.stop()

    return _interrupted(reactor).addCallback(stop)


class _Nap:
    """Tells what happens to a phone, and lets it sleep when nothing does."""

    def __init__(self, phone: Phone, after: float, echo: Echo) -> None:
        self._phone = phone
        self._after = after
        self._echo = echo
        self._timer: Timer | None = None
        self._began = phone.reactor.seconds()
        phone.diary = Diary(phone.reactor.seconds, self._happened)

    def _happened(self, entry: Entry) -> None:
        said = {"registered": "registered", "refused": "not registered: ", "push": "a push arrived"}.get(entry.kind)
        if entry.kind == "refused":
            said = f"{said}{getattr(entry.detail, 'status', entry.detail)}"
        elif entry.kind == "message":
            said = f"message: {entry.detail}"
        elif entry.kind in ("ended", "invite") and isinstance(entry.detail, IncomingCall):
            said = _about(entry.kind, entry.detail)
        self._echo(f"{entry.at - self._began:8.2f} s  {said or entry.kind}")
        if entry.kind in ("registered", "ended", "message"):
            self._later()

    def end(self) -> None:
        """Do not fall asleep any more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _later(self) -> None:
        self.end()
        self._timer = self._phone.reactor.callLater(self._after, self._sleep)

    def _sleep(self) -> None:
        if any(not call.over for call in self._phone.calls):
            return
        if self._phone.awake:
            self._phone.sleep()


def _about(kind: str, call: IncomingCall) -> str:
    if kind == "invite":
        return f"call from {(call.invite.first(b'from') or b'').decode('utf-8', 'replace')}"
    media = call.media
    packets = f", {media.sent} packets sent, {media.received} received" if media is not None else ""
    why = call.diary.last("ended")
    return f"call over{packets}" if why is None else f"call over by {why.detail}{packets}"


def _prid(provider: str, notes: Mapping[str, Any]) -> str:
    if provider == "webpush":
        return str(secrets.choice(notes["subscriptions"]))
    if provider == "fcm":
        return f"{secrets.token_hex(8)}:APA91b{secrets.token_hex(40)}"
    return secrets.token_hex(32)


def _interrupted(reactor: Any) -> Deferred[None]:
    stopping: Deferred[None] = Deferred()
    reactor.addSystemEventTrigger("before", "shutdown", stopping.callback, None)
    return stopping
