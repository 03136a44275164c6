"""A push service with providers in memory: what the tests of whole pushes talk to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from sbc.push.orders import PushOrder, PushResult, PushType
from sbc.push.ports import PushConfiguration
from sbc.push.service import PushService
from sbc.push.settings import AppSettings, PushSettings
from sbc.push.tokens import PushToken
from tests.unit.push.doubles import DEVICE, P8, EvenRandom, Net, Notes, account, pem, secret

START = 1_700_000_000.0
APPLE = PushToken("apns", "com.example.phone", DEVICE)
GOOGLE = PushToken("fcm", "com.example.droid", "dEf:token", "", "android")


class World:
    """A push service, providers that answer by ``respond``, and its notes."""

    def __init__(self, folder: Path, respond: Any = lambda headers, body: (200, {}, b""), **sections: Any) -> None:
        secret(folder / "AuthKey_ABC123DEFG.p8", pem(P8))
        secret(folder / "fcmkey.com.example.droid.json", account())
        self.clock, self.notes = Clock(), Notes()
        self.net = Net(self.respond)
        self._respond = respond
        self.tokens_given = 0
        self.configuration = PushConfiguration(
            push=sections.pop("push", PushSettings(credentials=str(folder))),
            apps=(
                AppSettings(id="com.example.phone", provider="apns", key="AuthKey_ABC123DEFG.p8", team_id="TEAM123456"),
            ),
            **sections,
        )
        self.service = PushService(
            self.clock, self.configuration, recorder=self.notes, meter=self.notes,
            now_at=lambda: START + self.clock.seconds(), random=EvenRandom(), connector=lambda *_, **guard: self.net,
        )  # fmt: skip
        self.service.startService()
        self.net.run()

    def respond(self, headers: dict[str, str], body: bytes) -> Any:
        if headers[":path"] == "/token":
            self.tokens_given += 1
            return 200, {}, json.dumps({"access_token": f"T{self.tokens_given}", "expires_in": 3600}).encode()
        return self._respond(headers, body)

    def order(self, *tokens: PushToken, type: PushType = PushType.CALL, **more: Any) -> list[PushResult]:  # noqa: A002
        """Send; the list gets the result when there is one."""
        results: list[PushResult] = []
        order = PushOrder(type=type, tokens=tokens, call_id="c1", from_user="bob", to_user="alice", **more)
        self.service.send(order).addCallback(results.append)
        self.net.run()
        return results

    def wait(self, *seconds: float) -> None:
        for pause in seconds:
            self.clock.advance(pause)
            self.net.run()

    @property
    def requests(self) -> list[dict[str, str]]:
        every = [request for server in self.net.servers for request in server.requests]
        return [headers for _, headers, _ in every if headers[":path"] != "/token"]


def script(*answers: Any) -> Any:
    """Answers one after the other, then the last one for ever."""
    left = list(answers)

    def respond(headers: dict[str, str], body: bytes) -> Any:
        return left.pop(0) if len(left) > 1 else left[0]

    return respond


OK = (200, {}, b"")
