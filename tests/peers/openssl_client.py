"""``openssl s_client``: TLS by hand."""

from __future__ import annotations

import re
from pathlib import Path

from tests.peers.program import Program, require, until


class OpensslClient:
    """One connection to ``address`` (HOST:PORT), open until ``stop``; what comes in is in ``output``."""

    def __init__(self, folder: Path, address: str, *options: str) -> None:
        require("openssl")
        command = ["openssl", "s_client", "-connect", address, "-showcerts", "-nocommands", *options]
        self.program = Program("openssl", command, folder, stdin=True)

    @property
    def output(self) -> str:
        return self.program.output()

    def established(self) -> str:
        """The protocol version of the finished handshake; fails when it did not come about."""
        self.program.wait_for(lambda: "Verify return code" in self.output, "the handshake ends")
        version = re.search(r"New, (TLSv[\d.]+), Cipher is", self.output)
        assert version, self.output
        return version[1]

    def refused(self) -> str:
        """What it says when no handshake comes about."""
        until(lambda: not self.program.running, lambda: f"openssl ends: {self.output}")
        assert "New, TLS" not in self.output, self.output
        return self.output

    def send(self, text: str) -> None:
        stream = self.program.process.stdin
        assert stream is not None
        stream.write(text.replace("\n", "\r\n").encode())
        stream.flush()

    def wait(self, text: str) -> None:
        self.program.wait_for(lambda: text in self.output, f"{text!r} arrives")

    def stop(self) -> None:
        self.program.stop(1)
