"""Kamailio as the upper server: registrar with digest and record-routing proxy for one domain."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.peers.authority import Identity
from tests.peers.ports import free_port
from tests.peers.program import PATIENCE, Program, require, unavailable

CONFIGURATION = Path(__file__).parent / "kamailio" / "upper.cfg"
ENVIRONMENT_PATH = {"PATH": os.environ.get("PATH", "") + ":/usr/sbin"}


class Kamailio:
    """``users`` maps names to clear passwords. ``host:port`` answers UDP and TCP, ``host:tls_port`` TLS with
    ``identity``.

    Over TLS it believes only servers that ``ca_file`` vouches for. ``advertise`` is the address it writes for UDP where
    something stands before it. ``patience``: seconds that it repeats a request nobody answers.
    """

    def __init__(
        self,
        folder: Path,
        users: Mapping[str, str],
        *,
        realm: str = "example.test",
        host: str = "127.0.0.2",
        port: int | None = None,
        algorithm: str = "MD5",
        min_expires: int = 5,
        max_expires: int = 7200,
        nonce_life: int = 300,
        open_registrar: bool = False,
        identity: Identity | None = None,
        ca_file: Path | None = None,
        advertise: str = "",
        patience: float = 6.0,
    ) -> None:
        require("kamailio", "kamcmd")
        self.host, self.port, self.realm = host, port or free_port(), realm
        self.users = dict(users)
        self.folder = folder
        tables = folder / "tables"
        tables.mkdir(parents=True, exist_ok=True)
        rows = [f"{n}:{name}:{realm}:{password}" for n, (name, password) in enumerate(users.items(), 1)]
        (tables / "subscriber").write_text(
            "\n".join(["id(int,auto) username(string) domain(string) password(string)", *rows, ""])
        )
        (tables / "version").write_text("table_name(string) table_version(int)\nsubscriber:7\n")
        self._environment = {
            "UPPER_REALM": realm,
            "UPPER_USERS": f"text://{tables}",
            "UPPER_ALGORITHM": algorithm,
            "UPPER_MIN_EXPIRES": str(min_expires),
            "UPPER_MAX_EXPIRES": str(max_expires),
            "UPPER_NONCE": str(nonce_life),
            "UPPER_PATIENCE": str(round(patience * 1000)),
        }
        self._switches = ["-A", "OPEN"] if open_registrar else []
        address = f"{self.host}:{self.port}"
        self._listen = ["-l", f"udp:{address}{'/' if advertise else ''}{advertise}", "-l", f"tcp:{address}"]
        self.tls_port = 0
        if identity is not None:
            self._serve_tls(identity, ca_file)
        self._control = folder / "kamailio_ctl"
        self.program: Program
        self.start()

    def _serve_tls(self, identity: Identity, ca_file: Path | None) -> None:
        if not list(Path("/usr/lib").glob("*/kamailio/modules/tls.so")):
            unavailable("not installed: kamailio-tls-modules (make peers)")
        self.tls_port = free_port()
        file = self.folder / "tls.cfg"
        trust = f"verify_certificate = yes\nca_list = {ca_file}" if ca_file else "verify_certificate = no"
        file.write_text(
            "[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n"
            f"private_key = {identity.key}\ncertificate = {identity.certificate}\n"
            f"[client:default]\nmethod = TLSv1.2+\nrequire_certificate = yes\n{trust}\n"
        )
        self._environment["UPPER_TLS"] = str(file)
        self._switches += ["-A", "TLS"]
        self._listen += ["-l", f"tls:{self.host}:{self.tls_port}"]

    def start(self) -> None:
        address = f"{self.host}:{self.port}"
        self._control.unlink(missing_ok=True)
        self.program = Program(
            "kamailio",
            [
                *("kamailio", "-f", CONFIGURATION, "-DD", "-E", "-m", "64", "-M", "8", "-Y", self.folder),
                *("-P", self.folder / "kamailio.pid", *self._switches, *self._listen),
            ],
            self.folder,
            environment=self._environment,
        )
        self.program.wait_for(self._answers, f"answers on {address}")

    def stop(self) -> None:
        self.program.stop()

    def restart(self) -> None:
        """Its bindings are in memory: after this it knows nobody."""
        self.stop()
        self.start()

    def ask(self, *command: str) -> str:
        """The output of one control command."""
        done = subprocess.run(
            ["kamcmd", "-s", f"unixs:{self._control}", *command],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**os.environ, **ENVIRONMENT_PATH},
        )
        return done.stdout

    def _answers(self) -> bool:
        return self._control.exists() and "uptime" in self.ask("core.uptime")

    def contacts(self, user: str) -> dict[str, int]:
        """The contacts registered for ``user``: URI to the seconds that are left."""
        dump = self.ask("ul.lookup", "location", user)
        found: dict[str, int] = {}
        for block in dump.split("Contact:")[1:]:
            address = re.search(r"Address:\s*(\S+)", block)
            left = re.search(r"Expires:\s*(-?\d+)", block)
            if address:
                found[address[1]] = int(left[1]) if left else 0
        return {contact: left for contact, left in found.items() if left > 0}

    def wait_registered(self, user: str) -> dict[str, int]:
        return self.program.wait_for(lambda: self.contacts(user), f"{user} is registered")

    def stays_registered(self, user: str, seconds: float) -> None:
        """Fails if ``user`` is without a contact at any look during ``seconds``."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.contacts(user), f"{user} lost its registration at the upper server"
            time.sleep(0.25)
