"""A PostgreSQL server of our own: for tests with a whole SBC or with its store alone, and for measurements."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sbc.store.engine import open_engine
from tests.peers.program import unavailable


def programs() -> Path | None:
    """Where initdb and postgres are; None: not installed."""
    found = [shutil.which("initdb") or "", *sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)]
    return next((Path(each).resolve().parent for each in found if each and Path(each).exists()), None)


@contextmanager
def postgres(*, durable: bool = True) -> Iterator[str]:
    """The URL of an empty database on a server that listens on a Unix socket alone; `durable` as in earnest."""
    there = programs()
    if there is None:
        unavailable("not installed: postgresql (make peers)")
    assert there is not None
    account = None  # PostgreSQL refuses to run as root
    if os.geteuid() == 0:
        account = "postgres" if "postgres" in {entry.pw_name for entry in pwd.getpwall()} else "nobody"
    with tempfile.TemporaryDirectory(prefix="sbc-pg-", dir="/tmp") as folder:  # short: sockets allow 107 bytes
        if account is not None:
            shutil.chown(folder, account)
        cluster = f"{folder}/data"
        made = [there / "initdb", "-D", cluster, "-A", "trust", "-U", "sbc", "-E", "UTF8", "--locale=C"]
        subprocess.run(made, check=True, capture_output=True, user=account, cwd=folder)
        options = (
            "--listen_addresses=",
            f"--unix_socket_directories={folder}",
            "--max_wal_size=4GB",
            f"--fsync={'on' if durable else 'off'}",
        )
        server = subprocess.Popen(
            [there / "postgres", "-D", cluster, *options], user=account, cwd=folder, stderr=subprocess.DEVNULL
        )
        try:
            url = f"postgresql+psycopg://sbc@/postgres?host={folder}"
            _wait(url, server)
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # at once: clients that are left lose their connections
            server.wait(60)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            open_engine(url).connect().close()
            return
        except Exception:
            if server.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.05)
