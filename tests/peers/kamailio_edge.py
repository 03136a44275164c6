"""Kamailio as a proxy between phones and the SBC (RFC 3327, RFC 5626)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.peers.kamailio_server import ENVIRONMENT_PATH
from tests.peers.ports import free_port
from tests.peers.program import PATIENCE, Program, require

CONFIGURATION = Path(__file__).parent / "kamailio" / "edge.cfg"


class KamailioEdge:
    """``address`` (UDP and TCP) is for phones; what they send goes to the SBC at ``beyond`` (HOST:PORT, UDP)."""

    def __init__(self, folder: Path, beyond: str, *, host: str = "127.0.0.8") -> None:
        require("kamailio", "kamcmd")
        folder.mkdir(parents=True, exist_ok=True)
        self.address = f"{host}:{free_port()}"
        self._control = folder / "kamailio_ctl"
        self.program = Program(
            "kamailio",
            [
                *("kamailio", "-f", CONFIGURATION, "-DD", "-E", "-m", "64", "-M", "8", "-Y", folder),
                *("-P", folder / "kamailio.pid", "-l", f"udp:{self.address}", "-l", f"tcp:{self.address}"),
            ],
            folder,
            environment={"EDGE_NEXT": f"sip:{beyond}"},
        )
        self.program.wait_for(self._answers, f"answers on {self.address}")

    def _answers(self) -> bool:
        if not self._control.exists():
            return False
        command = ["kamcmd", "-s", f"unixs:{self._control}", "core.uptime"]
        environment = {**os.environ, **ENVIRONMENT_PATH}
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment)
        return "uptime" in done.stdout

    def stop(self) -> None:
        self.program.stop()
