"""rtpengine in user space."""

from __future__ import annotations

import socket
from pathlib import Path

from sbc.media.rtpengine import bencode
from tests.peers.ports import free_port
from tests.peers.program import PATIENCE, Program, require

PORTS = 200


class Rtpengine:
    """One daemon that relays on ``host``; its ng protocol is at ``address``."""

    def __init__(self, folder: Path, *, host: str = "127.0.0.9", ports: tuple[int, int] | None = None) -> None:
        require("rtpengine")
        self.host = host
        self.address = ("127.0.0.1", free_port())
        first = free_port(PORTS)
        first, last = ports or (first, first + PORTS - 1)
        self.program = Program(
            f"rtpengine{self.address[1]}",
            ["rtpengine", "--config-file=none", "--table=-1", f"--interface={host}", f"--listen-ng={self.name}",
             f"--port-min={first}", f"--port-max={last}", "--num-threads=1",
             "--endpoint-learning=heuristic", "--foreground", "--log-stderr"],
            folder,
        )  # fmt: skip
        self.program.wait_for(self.answers, "answers a ping")

    @property
    def name(self) -> str:
        """As in a configuration."""
        return f"{self.address[0]}:{self.address[1]}"

    def answers(self) -> bool:
        """Whether it answers a ping."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.2)
            try:
                asking.connect(self.address)
                asking.send(b"1 d7:command4:pinge")
                return b"pong" in asking.recv(1000)
            except OSError:
                return False

    def ask(self, command: str, description: bytes, protocol: str) -> bytes:
        """The description that it makes of an offer or answer of one call, as the other party is to see it."""
        fields = {
            "command": command,
            "call-id": "x",
            "from-tag": "a",
            "to-tag": "b",
            "sdp": description,
            "ICE": "remove",
        }
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(self.address)
            asking.send(command.encode() + b" " + bencode.encode({**fields, "transport-protocol": protocol}))
            reply = bencode.decode(asking.recv(65_535).partition(b" ")[2])
        assert reply["result"] == b"ok", reply
        return bytes(reply["sdp"])

    def kill(self) -> None:
        """SIGKILL."""
        self.program.kill()

    def stop(self) -> None:
        self.program.stop()
