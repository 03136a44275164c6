"""nghttpd: an HTTP/2 server not ours, to see our client's frames through foreign eyes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.peers.ports import free_port
from tests.peers.program import Program, require


class Nghttpd:
    """A server with TLS on 127.0.0.5; its log shows every frame. A POST to one of ``paths`` is answered 200."""

    def __init__(self, folder: Path, *, paths: tuple[str, ...] = ()) -> None:
        require("nghttpd", "openssl")
        self.host, self.port = "127.0.0.5", free_port()
        root = folder / "root"
        root.mkdir(parents=True, exist_ok=True)
        for path in paths:
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("")
        self.certificate, key = folder / "nghttpd.pem", folder / "nghttpd.key"
        certificate(self.certificate, key, self.host)
        self.program = Program(
            "nghttpd", ["nghttpd", "-v", "-a", self.host, "-d", root, str(self.port), key, self.certificate], folder
        )
        self.program.wait_for(lambda: "listen" in self.program.output(), "listens")

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    def frames(self) -> str:
        return self.program.output()

    def stop(self) -> None:
        self.program.stop()


def certificate(path: Path, key: Path, host: str, *names: str) -> None:
    """A self-signed certificate for the address ``host`` and ``names``, good for a day, in PEM."""
    alternative = ",".join([f"IP:{host}", *(f"DNS:{name}" for name in ("localhost", *names))])
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "1", "-subj", f"/CN={host}", "-addext", f"subjectAltName={alternative}"),
            *("-keyout", str(key), "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o600)
