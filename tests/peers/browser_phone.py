"""JsSIP or SIP.js in a headless Chromium: a phone that is a web page."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.peers.node_program import Event, NodeProgram
from tests.peers.ports import free_port
from tests.peers.program import require

SCRIPTS = {"jssip": "page.js", "sip.js": "sipjs.js"}  # by the library that it uses


class Browser(NodeProgram):
    """A page of ``origin``, with the functions of browser/page.js."""

    def __init__(self, folder: Path, *, library: str = "jssip") -> None:
        require("chromium")
        port = free_port()
        self.origin = f"http://127.0.0.1:{port}"
        # Its profile holds a socket, whose path may not be as long as that of the test's folder.
        self._profile = Path(tempfile.mkdtemp(prefix="page"))
        environment = {"HOME": str(self._profile), "TMPDIR": str(self._profile)}
        options: dict[str, object] = {"chromium": shutil.which("chromium"), "port": port, "script": SCRIPTS[library]}
        packages = ("esbuild", library, "playwright-core")
        super().__init__(folder, "browser.mjs", options, packages=packages, environment=environment)
        self.wait("ready")

    def register(self, url: str, user: str, password: str, *, realm: str = "example.test", **options: object) -> Event:
        """Registered over the WebSocket at ``url`` when this returns."""
        count = len(self.events("registered")) + 1
        self.do("start", {"url": url, "user": user, "password": password, "realm": realm, **options})
        return self.wait("registered", count=count)

    def stop(self) -> None:
        try:
            super().stop()
        finally:
            shutil.rmtree(self._profile, ignore_errors=True)
