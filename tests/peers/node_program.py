"""What runs in Node and is not ours: push services on its HTTP/2, with npm's web-push and http_ece."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.peers.nghttpd_server import certificate
from tests.peers.ports import free_port
from tests.peers.program import Program, require, unavailable

HERE = Path(__file__).parent / "browser"
Event = dict[str, Any]


class NodeProgram:
    """A script of Node that takes orders on its standard input and tells what happens on its standard output.

    ``do`` calls one of its functions; what happened is in ``events``. ``packages``: the npm packages that it needs.
    """

    def __init__(
        self,
        folder: Path,
        script: str,
        options: dict[str, object],
        *,
        packages: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        require("node")
        missing = [name for name in packages if not (HERE / "node_modules" / name).exists()]
        if missing:
            unavailable(f"not installed: npm packages {', '.join(missing)} (make peers)")
        self.program = Program(
            Path(script).stem, ["node", HERE / script, json.dumps(options)], folder, environment=environment, stdin=True
        )

    def events(self, kind: str = "") -> list[Event]:
        """Everything that happened so far, or that of one kind."""
        whole, _, _ = self.program.output().rpartition("\n")
        every = [json.loads(line) for line in whole.split("\n") if line.startswith('{"event"')]
        return [event for event in every if not kind or event["event"] == kind]

    def wait(self, kind: str, *, count: int = 1) -> Event:
        """The event of ``kind`` that is number ``count`` of them."""
        found = self.program.wait_for(
            lambda: self.events(kind)[count - 1 :], lambda: f"{kind}; seen: {self.program.output()[-3000:]}"
        )
        return found[0]

    def do(self, name: str, *arguments: object) -> None:
        stream = self.program.process.stdin
        assert stream is not None
        stream.write(json.dumps({"do": name, "with": arguments}).encode() + b"\n")
        stream.flush()

    def stop(self) -> None:
        stream = self.program.process.stdin
        if stream is not None and not stream.closed:
            stream.close()
        try:
            self.program.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.program.kill()


class NodeApns(NodeProgram):
    """Apple's push service on Node's HTTP/2, at ``url``. ``signer``: PEM file of the provider token's public key."""

    def __init__(
        self, folder: Path, signer: Path, *, team: str, topic: str, streams: int = 100, goaway: int = 0
    ) -> None:
        options = _place(folder)
        self.url, self.certificate = f"https://{options['host']}:{options['port']}", Path(str(options["certificate"]))
        more = {"signer": str(signer), "team": team, "topic": topic, "streams": streams, "goaway": goaway}
        super().__init__(folder, "apns.mjs", {**options, **more})
        self.wait("ready")


class NodeWebPush(NodeProgram):
    """A Web Push service, and browsers that have subscribed there, by npm's web-push and http_ece."""

    def __init__(self, folder: Path, *, ca: Path | None = None) -> None:
        options = _place(folder)
        self.host, self.certificate = str(options["host"]), Path(str(options["certificate"]))
        trusted = {"ca": str(ca or self.certificate)}
        super().__init__(folder, "webpush.mjs", {**options, **trusted}, packages=("http_ece", "web-push"))
        self.do("listen")
        self.wait("listening")

    def subscribe(self, *, keys: bool = True) -> str:
        """What a browser hands over: its address, and behind it its keys."""
        count = len(self.events("subscribed")) + 1
        self.do("subscribe", keys)
        made = self.wait("subscribed", count=count)
        return str(made["address"]) + str(made["fragment"])


def _place(folder: Path) -> dict[str, object]:
    """Where a service listens, with a certificate of its own."""
    require("openssl")
    folder.mkdir(parents=True, exist_ok=True)
    host, port = "127.0.0.5", free_port()
    made, key = folder / "service.pem", folder / "service.key"
    certificate(made, key, host)
    return {"host": host, "port": port, "certificate": str(made), "key": str(key)}
