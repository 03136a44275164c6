"""Our pushes at services on Node: its HTTP/2 for Apple's, npm's libraries for those of browsers."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.epollreactor import EPollReactor

from sbc.lab.authority import Authority
from sbc.lab.webpush import WebPush
from sbc.push import keys
from sbc.push.orders import Outcome, PushOrder, PushType
from sbc.push.ports import PushConfiguration
from sbc.push.service import PushService
from sbc.push.settings import ApnsSettings, AppSettings, PushSettings, WebPushSettings
from sbc.push.tokens import PushToken
from tests.peers.program import PATIENCE, until
from tests.peers.push_service import BUNDLE, push, run


@pytest.fixture
def reactor() -> Any:
    """One of its own: it can run only once."""
    return EPollReactor()


@pytest.fixture
def apple(reactor: Any, node_apns: Any, tmp_path: Path) -> Any:
    """``apple(streams=…, goaway=…)``: (the service on Node, our push service)."""

    def make(**how: int) -> tuple[Any, PushService]:
        authority = Authority(tmp_path / "keys", now_at=time.time())
        key = authority.apns_key()
        public = tmp_path / "signer.pem"
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public.write_bytes(authority.apns_public_key().public_bytes(serialization.Encoding.PEM, form))
        server = node_apns(public, team=authority.team_id, topic=f"{BUNDLE}.voip", **how)
        service = PushService(
            reactor,
            PushConfiguration(
                push=PushSettings(credentials=str(tmp_path / "none")),
                apps=(AppSettings(id=BUNDLE, provider="apns", key=str(key), team_id=authority.team_id),),
                apns=ApnsSettings(url=server.url, sandbox_url=server.url, ca_file=str(server.certificate)),
            ),
        )
        return server, service

    return make


def device(number: int, ending: int = 0) -> str:
    """A device token; Node answers the status that it ends in."""
    return f"{number:061x}{ending:03d}"


def told(server: Any, count: int) -> list[dict[str, Any]]:
    until(lambda: len(server.events("push")) >= count, f"{count} pushes reach Node")
    pushes: list[dict[str, Any]] = server.events("push")
    return pushes


def test_node_takes_every_push_and_never_more_at_once_than_it_allows(apple: Any) -> None:
    server, service = apple(streams=5)

    def talk() -> Deferred[Any]:
        return gatherResults([push(service, device(number), from_display="Bób") for number in range(60)])

    results = run(service, talk)
    assert {(result.outcome, result.status) for result in results} == {(Outcome.ACCEPTED, 200)}
    pushes = told(server, 60)
    assert {one["wrong"] for one in pushes} == {""}
    assert max(one["busy"] for one in pushes) <= 5
    assert {one["connection"] for one in pushes} == {1}
    assert {one["id"] for one in pushes} == {result.push_id for result in results}
    assert json.loads(pushes[0]["body"])["ndisplayname"] == "Bób"


def test_after_goaway_every_push_arrives_once(apple: Any) -> None:
    server, service = apple(goaway=8)

    def talk() -> Deferred[Any]:
        return gatherResults([push(service, device(number)) for number in range(30)])

    results = run(service, talk)
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    answered = Counter(one["path"] for one in told(server, 30))
    assert len(answered) == 30
    assert len({one["connection"] for one in server.events("push")}) > 1
    assert server.events("broken") == []


def test_node_s_refusals_are_understood(apple: Any) -> None:
    _, service = apple()

    def talk() -> Deferred[Any]:
        return gatherResults([push(service, device(status, status)) for status in (410, 429)])

    gone, many = run(service, talk)
    assert (gone.outcome, gone.reason) == (Outcome.DEAD_TOKEN, "Unregistered")
    assert (many.outcome, many.reason) == (Outcome.RETRY, "TooManyRequests")


@pytest.fixture
def browsers(reactor: Any, node_webpush: Any, tmp_path: Path) -> Any:
    """(The service on Node, our push service, our VAPID key)."""
    server = node_webpush()
    key = Authority(tmp_path / "keys", now_at=time.time()).vapid_key()
    service = PushService(
        reactor,
        PushConfiguration(
            push=PushSettings(credentials=str(tmp_path / "none"), webpush="on"),
            apps=(AppSettings(id="web", provider="webpush", key=str(key)),),
            webpush=WebPushSettings(
                subject="mailto:ops@example.com", ca_file=str(server.certificate), allow=(server.host,)
            ),
        ),
    )
    return server, service, key


def test_npm_decrypts_what_we_send_and_knows_our_signature(browsers: Any) -> None:
    server, service, key = browsers
    subscription, plain = server.subscribe(), server.subscribe(keys=False)

    def talk() -> Deferred[Any]:
        orders = [
            PushOrder(
                type=PushType.CALL, tokens=(PushToken("webpush", "", each),), call_id="c1", from_display="Bób \u2603"
            )
            for each in (subscription, plain)
        ]
        return gatherResults([service.send(order) for order in orders])

    results = run(service, talk)
    assert [(result.outcome, result.status) for result in results] == [(Outcome.ACCEPTED, 201)] * 2
    first, second = sorted(told(server, 2), key=lambda one: one["text"] is None)
    read = json.loads(first["text"])
    assert (read["ntype"], read["ncallid"], read["ndisplayname"]) == ("0", "c1", "Bób \u2603")
    assert (second["text"], second["size"]) == (None, 0)
    public = keys.vapid_key(key.read_bytes()).public
    for one in (first, second):
        assert (one["wrong"], one["from"], one["urgency"], one["ttl"], one["http"]) == ("", public, "high", "0", "2.0")
        assert len(one["topic"]) == 32
    assert service.vapid_key() == public


def test_a_subscription_that_is_gone_is_a_dead_token(browsers: Any) -> None:
    server, service, _ = browsers
    place = server.subscribe().rpartition("/push/")[0]

    def talk() -> Deferred[Any]:
        token = PushToken("webpush", "", f"{place}/push/nobody")
        return service.send(PushOrder(type=PushType.CHAT, tokens=(token,), message="hi"))

    assert run(service, talk).outcome is Outcome.DEAD_TOKEN


def test_npm_s_own_pushes_are_taken_by_the_emulated_service(reactor: Any, node_webpush: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "keys", now_at=time.time())
    lab = WebPush(reactor, authority)
    npm = node_webpush(ca=authority.ca_file)
    key = authority.vapid_key()
    vapid = keys.vapid_key(key.read_bytes())
    number = vapid.key.private_numbers().private_value.to_bytes(32, "big")
    found: list[Any] = []

    def begin(_: object) -> None:
        made = lab.subscribe(urlsafe_b64decode(vapid.public + "="))
        address, _, fragment = made.prid.partition("#")
        shown = dict(pair.partition("=")[::2] for pair in fragment.split("&"))
        secret = keys.base64url(number).decode()
        sender = {"subject": "mailto:ops@example.com", "publicKey": vapid.public, "privateKey": secret}
        npm.do("send", {"endpoint": address, "keys": shown}, '{"from": "npm"}', sender)
        look()

    def look() -> None:
        found[:] = npm.events("sent")
        if found:
            lab.stop().addCallback(lambda _: reactor.stop())
        else:
            reactor.callLater(0.05, look)

    reactor.callWhenRunning(lambda: lab.start().addCallback(begin))
    reactor.callLater(PATIENCE, reactor.crash)
    reactor.run(installSignalHandlers=False)
    assert [sent["status"] for sent in found] == [201], found
    assert [each.payload for each in lab.inbox.accepted()] == [{"from": "npm"}]
