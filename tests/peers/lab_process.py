"""The laboratory's push provider and phones in a process of their own, told what to do line by line.

``Lab`` is the tests' side. ``python -m tests.peers.lab_process FOLDER`` is the other: JSON lines on standard input
``{"do": word, …}``, one JSON line back for each, in order.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.program import Program, until
from tests.peers.sbc_process import ROOT

BUNDLE, TEAM = "com.example.phone", "DEF123GHIJ"
APP = f"{TEAM}.{BUNDLE}.voip"


@dataclass(frozen=True, slots=True)
class Push:
    """A push as the provider got it. ``at`` is UTC epoch seconds."""

    at: float
    token: str
    status: int
    headers: dict[str, str]
    payload: dict[str, Any]


class Lab:
    """An emulated APNs for the app BUNDLE of TEAM."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self.program = Program(
            "lab",
            [sys.executable, "-m", "tests.peers.lab_process", folder],
            folder,
            environment={"PYTHONPATH": str(ROOT)},
            stdin=True,
        )
        self._read = 0
        ready = self._answer()
        self.url, self.ca_file, self.key = ready["url"], Path(ready["ca_file"]), Path(ready["key"])

    def _answer(self) -> dict[str, Any]:
        """The next JSON line of its output; other lines (a traceback) are left for the report."""

        def lines() -> list[str]:
            whole, _, _ = self.program.output().rpartition("\n")
            return [line for line in whole.split("\n") if line.startswith("{")]

        found = self.program.wait_for(lambda: lines()[self._read :], "answers")
        self._read += 1
        answer: dict[str, Any] = json.loads(found[0])
        if "error" in answer:
            raise AssertionError(f"the lab: {answer['error']}")
        return answer

    def ask(self, do: str, **more: object) -> Any:
        with self._lock:
            stream = self.program.process.stdin
            assert stream is not None
            stream.write(json.dumps({"do": do, **more}).encode() + b"\n")
            stream.flush()
            return self._answer()["result"]

    def sections(self) -> dict[str, Any]:
        """What the configuration of an SBC must say to push through this provider."""
        return {
            "push": {"enabled": "on"},
            "push.app": [{"id": BUNDLE, "provider": "apns", "key": str(self.key), "team_id": TEAM}],
            "apns": {"url": self.url, "ca_file": str(self.ca_file)},
        }

    def pushes(self, token: str | None = None) -> list[Push]:
        """All pushes so far in order, or those for one device token."""
        every = [Push(**one) for one in self.ask("pushes")]
        return [push for push in every if token is None or push.token == token]

    def wait_push(self, token: str, count: int = 1) -> Push:
        found = until(lambda: self.pushes(token)[count - 1 :], f"push number {count} for {token}")
        return found[0]

    def plan(self, token: str, **answer: object) -> None:
        """The next push for ``token`` meets ``answer`` (words of the lab's ``Answer``)."""
        self.ask("plan", token=token, answer=answer)

    def phone(self, username: str, password: str, proxy: str, **options: Any) -> LabPhone:
        """A phone of the app, registered through ``proxy`` (HOST:PORT) when this returns."""
        return LabPhone(self, username, password, proxy, **options)

    def stop(self) -> None:
        self.program.stop(2)


class LabPhone:
    """A phone that is woken by pushes. ``dialect`` is how it hands over its token, ``manners`` how it behaves (words of
    the lab's ``Manners``, times in seconds)."""

    def __init__(
        self,
        lab: Lab,
        username: str,
        password: str,
        proxy: str,
        *,
        domain: str = "example.test",
        token: str | None = None,
        transport: str = "udp",
        dialect: str = "x-mpush",
        manners: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        host, _, port = proxy.rpartition(":")
        self.lab, self.username = lab, username
        self.token = hashlib.sha256(f"{lab.folder}{username}".encode()).hexdigest() if token is None else token
        self.status: int = lab.ask(
            "phone",
            username=username,
            password=password,
            host=host,
            port=int(port),
            domain=domain,
            token=self.token,
            transport=transport,
            dialect=dialect,
            manners=manners or {},
            **options,
        )
        assert self.status == 200, f"the phone of {username} registers: {self.status}"

    def sleep(self) -> None:
        """Gone: its sockets are closed without a word."""
        self.lab.ask("sleep", username=self.username)

    def wake(self) -> None:
        """As its user does, whatever was pushed."""
        self.lab.ask("wake", username=self.username)

    def behave(self, **manners: object) -> None:
        self.lab.ask("behave", username=self.username, **manners)

    def kinds(self) -> list[str]:
        """What happened to it, in order (words of the lab phone's diary)."""
        return [kind for kind, _ in self.lab.ask("diary", username=self.username)]

    def messages(self) -> list[str]:
        return [detail for kind, detail in self.lab.ask("diary", username=self.username) if kind == "message"]

    def requests(self, method: str) -> list[str]:
        """The requests of one method that reached it, retransmissions once, as text."""
        return [text for what, text in self.lab.ask("requests", username=self.username) if what == method]

    def wait(self, kind: str, *, count: int = 1) -> None:
        until(lambda: self.kinds().count(kind) >= count, lambda: f"{self.username}: {kind}; {self.kinds()}")


def main() -> None:
    """The other side: a reactor with the parties, standard input as its commands."""
    from twisted.internet import reactor, stdio
    from twisted.internet.defer import ensureDeferred
    from twisted.protocols.basic import LineReceiver

    from sbc.lab.apns import Apns
    from sbc.lab.authority import Authority
    from sbc.lab.script import Answer

    folder = Path(sys.argv[1])
    authority = Authority(folder / "authority", now_at=time.time(), bundle=BUNDLE, team_id=TEAM)
    apns = Apns(reactor, authority, host="127.0.0.5")

    def say(record: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()

    async def pushes() -> object:
        return [
            {
                "at": push.arrived_at,
                "token": push.token,
                "status": push.status,
                "headers": dict(push.headers),
                "payload": dict(push.payload),
            }
            for push in apns.inbox.pushes
        ]

    async def arrivals() -> object:
        return [(push.token, push.arrived_at) for push in apns.inbox.pushes]

    async def plan(token: str, answer: dict[str, Any]) -> object:
        apns.script.plan(token, Answer(**answer))
        return None

    phones: dict[str, Any] = {}

    async def phone(username: str, token: str, manners: dict[str, Any], **options: Any) -> object:
        from sbc.lab.phone import Manners, Phone
        from sbc.lab.speech import DeviceToken

        device = DeviceToken(provider="apns", app=BUNDLE, prid=token, team=TEAM) if token else None
        proxy = (str(options.pop("host")), int(options.pop("port")))
        made = Phone(reactor, username=username, token=device, proxy=proxy, manners=Manners(**manners), **options)
        phones[username] = made
        made.listen(apns.inbox)
        return (await made.start()).status

    async def sleep(username: str) -> object:
        await phones[username].sleep()
        return None

    async def wake(username: str) -> object:
        return (await phones[username].wake()).status

    async def behave(username: str, **manners: Any) -> object:
        for name, value in manners.items():
            setattr(phones[username].manners, name, value)
        return None

    async def send_message(username: str, to: str, text: str) -> object:
        return (await phones[username].send_message(to, text)).status

    async def diary(username: str) -> object:
        return [
            (entry.kind, entry.detail if isinstance(entry.detail, str) else "")
            for entry in phones[username].diary.entries
        ]

    async def requests(username: str) -> object:
        return [(seen.method, seen.request.render().decode("latin-1")) for seen in phones[username].seen]

    every = (pushes, arrivals, plan, phone, sleep, wake, behave, send_message, diary, requests)
    words = {function.__name__: function for function in every}

    async def obey(line: bytes) -> None:
        order = json.loads(line)
        try:
            say({"result": await words[order.pop("do")](**order)})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})

    class Commands(LineReceiver):
        delimiter = b"\n"
        MAX_LENGTH = 1 << 20

        def lineReceived(self, line: bytes) -> None:
            ensureDeferred(obey(line))

        def connectionLost(self, reason: object = None) -> None:
            if reactor.running:
                reactor.stop()

    def begin() -> None:
        apns.start()
        stdio.StandardIO(Commands())
        say({"url": apns.url, "ca_file": str(authority.ca_file), "key": str(authority.apns_key())})

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
