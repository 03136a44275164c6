"""baresip as a phone without a sound card: it sends a tone and writes down what it hears."""

from __future__ import annotations

import json
import socket
import threading
import wave
from pathlib import Path
from typing import Any

from tests.peers.ports import free_port
from tests.peers.program import Program, require, until

MODULES = Path("/usr/lib/baresip/modules")
Event = dict[str, Any]
HEAD = 44  # bytes before the sound in a WAV file


def loudest(frames: bytes) -> float:
    """The peak of 16-bit samples, 0 … 1."""
    return max((abs(sample) for sample in memoryview(frames[: len(frames) // 2 * 2]).cast("h")), default=0) / 32768


class Baresip:
    """A baresip registered as ``user`` through ``outbound`` (HOST:PORT). It answers by itself when ``answer`` is set.

    ``parameters`` are added to the account's line, e.g. ``mediaenc=srtp-mand``.
    """

    def __init__(
        self,
        folder: Path,
        user: str,
        password: str,
        outbound: str,
        *,
        realm: str = "example.test",
        transport: str = "udp",
        host: str = "127.0.0.1",
        answer: bool = False,
        register: bool = True,
        interval: int = 60,
        parameters: tuple[str, ...] = (),
    ) -> None:
        require("baresip")
        self.user, self.realm, self.host, self.folder = user, realm, host, folder
        self.port = free_port(2)  # TLS, where used, takes the second
        self.pitch = 440 + self.port % 400  # Hz, of what it says
        self._control_port = free_port()
        self.events: list[Event] = []
        self._answers: dict[str, Event] = {}
        self._token = 0
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._configure(
            f'<sip:{user}@{realm}>;auth_user={user};auth_pass={password};outbound="sip:{outbound};transport={transport}"'
            f";regint={interval if register else 0};audio_codecs=PCMU,PCMA;answermode={'auto' if answer else 'manual'}"
            + "".join(f";{parameter}" for parameter in parameters)
        )
        self.program = Program("baresip", ["baresip", "-f", folder, "-v"], folder, environment={"HOME": str(folder)})
        self._socket = self.program.wait_for(self._connect, "listens for commands")
        threading.Thread(target=self._read, daemon=True).start()
        if register:
            # from the log: the event may be over before the command connection is there
            self.program.wait_for(lambda: "200 OK" in self.program.output(), f"{user} is registered")

    def _configure(self, account: str) -> None:
        rtp = free_port(20)
        lines = [
            "poll_method epoll",
            f"sip_listen {self.host}:{self.port}",
            "sip_verify_server no",
            "call_local_timeout 120",
            "call_max_calls 4",
            "audio_player aubridge,line",
            f"audio_source ausine,{self.pitch}",
            "audio_alert aubridge,line",
            "ausrc_srate 48000",
            "ausrc_channels 2",
            "audio_txmode poll",
            f"snd_path {self.folder}",
            f"rtp_ports {rtp}-{rtp + 19}",
            f"net_interface {self.host}",
            f"module_path {MODULES}",
            *(f"module {name}.so" for name in ("g711", "ausine", "sndfile", "aubridge", "srtp", "dtls_srtp", "uuid")),
            "module_tmp account.so",
            "module_app menu.so",
            "module_app ctrl_tcp.so",
            f"ctrl_tcp_listen 127.0.0.1:{self._control_port}",
        ]
        (self.folder / "config").write_text("\n".join([*lines, ""]))
        (self.folder / "accounts").write_text(account + "\n")
        (self.folder / "contacts").write_text("")

    def _connect(self) -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", self._control_port), 2)
        except OSError:
            return None

    def _read(self) -> None:
        """Netstrings of JSON: events, and answers to commands."""
        stream = self._socket.makefile("rb")
        self._socket.settimeout(None)
        try:
            while True:
                length = b""
                while (byte := stream.read(1)) != b":":
                    if not byte:
                        return
                    length += byte
                message = json.loads(stream.read(int(length)))
                stream.read(1)
                if message.get("response"):
                    self._answers[message.get("token", "")] = message
                else:
                    self.events.append(message)
        except (OSError, ValueError):
            return

    def command(self, name: str, parameters: str = "") -> str:
        with self._lock:
            self._token += 1
            token = str(self._token)
            body = json.dumps({"command": name, "params": parameters, "token": token}).encode()
            self._socket.sendall(b"%d:%s," % (len(body), body))
        answer = until(lambda: self._answers.pop(token, None), f"baresip answers {name}")
        return str(answer.get("data", ""))

    def wait(self, kind: str, *, after: int = 0) -> Event:
        """The first event of ``kind`` among those from index ``after`` on."""
        return self.program.wait_for(
            lambda: next((event for event in self.events[after:] if event.get("type") == kind), None),
            lambda: f"event {kind}; seen: {self.kinds()}",
        )

    def kinds(self) -> list[str]:
        return [str(event.get("type")) for event in self.events]

    def call(self, uri: str) -> None:
        self.command("dial", uri)

    def accept(self) -> None:
        self.command("accept")

    def hang_up(self) -> None:
        self.command("hangup")

    def heard(self) -> list[tuple[float, float]]:
        """For each recording of what arrived: (seconds, loudness 0 … 1). Loudness of silence is 0."""
        found = []
        for path in sorted(self.folder.glob("dump-*dec.wav")):
            with wave.open(str(path)) as recording:
                frames = recording.readframes(recording.getnframes())
                found.append((recording.getnframes() / recording.getframerate(), loudest(frames)))
        return found

    def hears(self) -> float:
        """Seconds of sound that its youngest recording holds so far."""
        youngest = max(self.folder.glob("dump-*dec.wav"), default=None)
        if youngest is None or len(head := youngest.open("rb").read(HEAD)) < HEAD:
            return 0.0
        return (youngest.stat().st_size - HEAD) / int.from_bytes(head[28:32], "little")  # bytes a second

    def loudness(self) -> float:
        """Of the youngest recording so far, 0 … 1."""
        youngest = max(self.folder.glob("dump-*dec.wav"), default=None)
        return loudest(youngest.read_bytes()[HEAD:]) if youngest else 0.0

    def stop(self) -> None:
        try:
            self._socket.close()
        except OSError:
            pass
        self.program.stop()
