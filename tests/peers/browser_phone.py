"""JsSIP in a headless Chromium: a phone that is a web page."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.peers.ports import free_port
from tests.peers.program import Program, require, unavailable

HERE = Path(__file__).parent / "browser"
PACKAGES = ("esbuild", "jssip", "playwright-core")
START = 20.0  # s: a browser on a busy machine
Event = dict[str, Any]


class Browser:
    """A page of ``origin``. ``do`` calls a function of browser/page.js; what happened is in ``events``."""

    def __init__(self, folder: Path) -> None:
        require("node", "chromium")
        missing = [name for name in PACKAGES if not (HERE / "node_modules" / name).exists()]
        if missing:
            unavailable(f"not installed: npm packages {', '.join(missing)} (make peers)")
        port = free_port()
        self.origin = f"http://127.0.0.1:{port}"
        options = {"chromium": shutil.which("chromium"), "port": port}
        # Its profile holds a socket, whose path may not be as long as that of the test's folder.
        self._profile = Path(tempfile.mkdtemp(prefix="page"))
        environment = {"HOME": str(self._profile), "TMPDIR": str(self._profile)}
        self.program = Program(
            "browser", ["node", HERE / "browser.mjs", json.dumps(options)], folder, environment=environment, stdin=True
        )
        self.wait("ready", START)

    def events(self, kind: str = "") -> list[Event]:
        """Everything that happened so far, or that of one kind."""
        whole, _, _ = self.program.output().rpartition("\n")
        every = [json.loads(line) for line in whole.split("\n") if line.startswith('{"event"')]
        return [event for event in every if not kind or event["event"] == kind]

    def wait(self, kind: str, seconds: float = 5.0, *, count: int = 1) -> Event:
        """The event of ``kind`` that is number ``count`` of them."""
        found = self.program.wait_for(
            lambda: self.events(kind)[count - 1 :], seconds, lambda: f"{kind}; seen: {self.program.output()[-3000:]}"
        )
        return found[0]

    def do(self, name: str, *arguments: object) -> None:
        stream = self.program.process.stdin
        assert stream is not None
        stream.write(json.dumps({"do": name, "with": arguments}).encode() + b"\n")
        stream.flush()

    def register(self, url: str, user: str, password: str, *, realm: str = "example.test", **options: object) -> Event:
        """Registered over the WebSocket at ``url`` when this returns."""
        self.do("start", {"url": url, "user": user, "password": password, "realm": realm, **options})
        return self.wait("registered", 8)

    def stop(self) -> None:
        stream = self.program.process.stdin
        if stream is not None and not stream.closed:
            stream.close()
        try:
            self.program.process.wait(3)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.program.kill()
            shutil.rmtree(self._profile, ignore_errors=True)
