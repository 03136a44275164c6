"""linphonec as a phone without a sound card; commands on its standard input, its answers in its output."""

from __future__ import annotations

import re
from pathlib import Path

from tests.peers.ports import free_port
from tests.peers.program import Program, require

NO_SOUND = "Null Filter: null device"


class Linphone:
    """A linphone registered as ``user`` through ``proxy`` (HOST:PORT) when this returns.

    ``push``: RFC 8599 parameters of its Contact URI, without the first semicolon.
    """

    def __init__(
        self,
        folder: Path,
        user: str,
        password: str,
        proxy: str,
        *,
        realm: str = "example.test",
        transport: str = "udp",
        host: str = "127.0.0.3",
        push: str = "",
        answer: bool = False,
        interval: int = 600,
        encryption: str = "none",
    ) -> None:
        require("linphonec")
        self.user, self.host = user, host
        folder.mkdir(parents=True, exist_ok=True)
        own = {name: free_port() if name == transport else 0 for name in ("udp", "tcp", "tls")}
        self.port = own[transport]
        rtp = free_port(10)
        sections: dict[str, dict[str, object]] = {
            "sip": {
                "sip_port": own["udp"],
                "sip_tcp_port": own["tcp"],
                "sip_tls_port": own["tls"],
                "verify_server_certs": 0,
                "verify_server_cn": 0,
                "guess_hostname": 0,
                "contact": f'"{user}" <sip:{user}@{host}>',
                "default_proxy": 0,
                "use_ipv6": 0,
                "bind_address": host,
                "register_only_when_network_is_up": 0,
                "inc_timeout": 60,
                "media_encryption": encryption,
                "media_encryption_mandatory": int(encryption != "none"),
            },
            "net": {"mtu": 1300},
            "rtp": {"audio_rtp_port": f"{rtp}-{rtp + 9}"},
            "sound": {
                "playback_dev_id": NO_SOUND,
                "capture_dev_id": NO_SOUND,
                "ringer_dev_id": NO_SOUND,
                "echocancellation": 0,
                "remote_ring": "/dev/null",
            },
            "misc": {"enable_simple_group_chat_message_state": 0},
            "storage": {"backend": "sqlite3", "uri": folder / "storage.db"},
            "auth_info_0": {"username": user, "passwd": password, "realm": realm},
            "proxy_0": {
                "reg_proxy": f"<sip:{proxy};transport={transport}>",
                "reg_route": f"<sip:{proxy};transport={transport}>",
                "reg_identity": f"sip:{user}@{realm}",
                "reg_expires": interval,
                "reg_sendregister": 1,
                "publish": 0,
                "dial_escape_plus": 0,
                "contact_uri_parameters": push,
            },
        }
        lines = []
        for name, values in sections.items():
            lines += [f"[{name}]", *(f"{key}={value}" for key, value in values.items()), ""]
        (folder / "rc").write_text("\n".join(lines))
        command = ["linphonec", *(["-a"] if answer else []), "-c", folder / "rc", "-d", "6", "-l", folder / "trace.log"]
        self.trace = folder / "trace.log"
        self.program = Program("linphonec", command, folder, environment={"HOME": str(folder)}, stdin=True)
        # Its standard output is buffered while it is a file: the trace tells in time.
        self.wait(r"to \[LinphoneRegistrationOk\]")

    def say(self, command: str) -> None:
        stream = self.program.process.stdin
        assert stream is not None
        stream.write(command.encode() + b"\n")
        stream.flush()

    def events(self) -> str:
        """Its trace: every change of state, and every message it sent and got."""
        return self.trace.read_text(errors="replace") if self.trace.exists() else ""

    def wait(self, pattern: str) -> None:
        """Until the trace has a line with the regular expression."""
        compiled = re.compile(pattern)
        self.program.wait_for(lambda: compiled.search(self.events()), lambda: f"{pattern}; seen: {self.states()}")

    def states(self) -> list[str]:
        return re.findall(r"moving from state [^\n]*", self.events())

    def wait_call(self, state: str) -> None:
        """Until a call is in ``state`` (Connected, StreamsRunning, End, Error …)."""
        self.wait(rf"moving from state LinphoneCall\w+ to LinphoneCall{state}\b")

    def call(self, uri: str) -> None:
        self.say(f"call {uri}")

    def answer(self) -> None:
        self.say("answer")

    def hang_up(self) -> None:
        self.say("terminate")

    def stop(self) -> None:
        self.program.kill()
