"""tshark as the judge: what was on the loopback wire, and whether anything of it was malformed."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.peers.ports import free_port
from tests.peers.program import Program, require, unavailable, until

MALFORMED = " || ".join(
    ["_ws.malformed", "sip.sec_mechanism.malformed"]
    + [f"sip.{field}.invalid" for field in ("Via.sent-by.port", "content_length", "retry_after", "Status-Code")]
)


class Recording:
    """Packets in ``file``. Ports in ``sip`` carry SIP, those in ``web`` HTTP that becomes a WebSocket; on others tshark
    finds out by itself."""

    def __init__(self, file: Path, *, sip: Iterable[int] = (), web: Iterable[int] = ()) -> None:
        require("tshark")
        self.file = file
        self._sip = list(sip)
        self._web = list(web)

    def read(self, condition: str = "sip", *fields: str) -> list[list[str]]:
        """``fields`` of each packet that fulfils the display filter ``condition``."""
        command = ["tshark", "-n", "-r", str(self.file), "-Y", condition, "-T", "fields"]
        for port in self._sip:
            command += ["-d", f"udp.port=={port},sip", "-d", f"tcp.port=={port},sip"]
        for port in self._web:
            command += ["-d", f"tcp.port=={port},http"]
        for field in fields or ("frame.number",):
            command += ["-e", field]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def check(self, condition: str = "sip") -> int:
        """No packet is malformed of those that fulfil ``condition``; how many SIP messages there were."""
        wrong = self.read(f"({condition}) && ({MALFORMED})", "frame.number", "_ws.col.Info")
        assert not wrong, f"tshark finds malformed packets: {wrong}"
        return len(self.read(f"({condition}) && sip"))


class Capture(Recording):
    """Everything to and from ``ports`` on the loopback interface; all of them carry SIP where ``sip`` is not given."""

    def __init__(
        self, folder: Path, ports: Iterable[int], *, sip: Iterable[int] | None = None, web: Iterable[int] = ()
    ) -> None:
        require("dumpcap")
        folder.mkdir(parents=True, exist_ok=True)
        ports = list(ports)
        super().__init__(folder / "capture.pcapng", sip=ports if sip is None else sip, web=web)
        self._mark = free_port()
        selection = " or ".join(f"port {port}" for port in [*ports, self._mark])
        self.program = Program("dumpcap", ["dumpcap", "-q", "-i", "lo", "-f", selection, "-w", self.file], folder)
        until(self._begun, "dumpcap captures")

    def _begun(self) -> bool:
        if "permission" in self.program.output():
            unavailable("dumpcap may not capture on the loopback interface")
        return "Capturing on" in self.program.output() and self._marked(b"begin")

    def read(self, condition: str = "sip", *fields: str) -> list[list[str]]:
        """As of a recording, which ends by it."""
        self.stop()
        return super().read(condition, *fields)

    def stop(self) -> None:
        if self.program.running:
            until(lambda: self._marked(b"end"), "the capture is written", step=0.2)
            self.program.stop()

    def _marked(self, word: bytes) -> bool:
        """Whether a datagram of ours is in the file: then all is that was sent before."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(mark := b"capture " + word, ("127.0.0.1", self._mark))
        return self.file.exists() and mark in self.file.read_bytes()
