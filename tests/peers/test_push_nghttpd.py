"""Our HTTP/2 client against nghttp2's server: another implementation reads our frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.epollreactor import EPollReactor

from sbc.lab.authority import Authority
from sbc.push.orders import Outcome
from sbc.push.ports import PushConfiguration
from sbc.push.service import PushService
from sbc.push.settings import ApnsSettings, AppSettings, PushSettings
from tests.peers.nghttpd_server import Nghttpd
from tests.peers.push_service import BUNDLE, push, run

DEVICES = [f"{number:02x}" * 32 for number in range(150)]


@pytest.fixture
def server(nghttpd: Callable[..., Nghttpd]) -> Nghttpd:
    return nghttpd(paths=tuple(f"/3/device/{device}" for device in DEVICES))


@pytest.fixture
def reactor() -> Any:
    """One of its own: it can run only once."""
    return EPollReactor()


@pytest.fixture
def service(reactor: Any, server: Nghttpd, tmp_path: Path) -> PushService:
    authority = Authority(tmp_path / "keys", now_at=time.time())
    key = authority.apns_key()
    return PushService(
        reactor,
        PushConfiguration(
            push=PushSettings(credentials=str(tmp_path / "none")),
            apps=(AppSettings(id=BUNDLE, provider="apns", key=str(key), team_id=authority.team_id),),
            apns=ApnsSettings(url=server.url, sandbox_url=server.url, ca_file=str(server.certificate)),
        ),
    )


def test_a_hundred_and_fifty_pushes_on_one_connection(server: Nghttpd, service: PushService) -> None:
    def talk() -> Deferred[Any]:
        return gatherResults([push(service, device, from_display="Bób") for device in DEVICES])

    results = run(service, talk)
    assert {(result.outcome, result.status) for result in results} == {(Outcome.ACCEPTED, 200)}
    frames = server.frames()
    assert frames.count("SETTINGS frame") >= 2
    assert "recv PRIORITY frame" not in frames
    assert "[ERROR]" not in frames
    assert frames.count("apns-push-type: voip") == len(DEVICES)
    assert f":path: /3/device/{DEVICES[-1]}" in frames
    assert "apns-topic: com.example.phone.voip" in frames


def test_an_unknown_device_is_no_dead_token(server: Nghttpd, service: PushService) -> None:
    """A plain 404 says nothing about the token."""

    def talk() -> Deferred[Any]:
        return push(service, "ff" * 32)

    result = run(service, talk)
    assert (result.outcome, result.status) == (Outcome.PAYLOAD_ERROR, 404)


def test_a_cut_connection_is_replaced_within_the_push(server: Nghttpd, service: PushService) -> None:
    def talk() -> Deferred[Any]:
        first = push(service, DEVICES[0])

        def cut(result: Any) -> Deferred[Any]:
            connections = [origin for provider in service._providers.values() for origin in provider.origins()]
            for connection in list(connections[0]._connections):
                connection.transport.abortConnection()
            return push(service, DEVICES[1])

        return first.addCallback(cut)

    assert run(service, talk).outcome is Outcome.ACCEPTED
