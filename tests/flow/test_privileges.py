"""`twistd --uid --gid`: started as root on a machine where nothing is there yet, served as somebody else."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import sbc
from sbc.lab.border import TWISTD

NOBODY = "nobody"
LIMIT = 90.0  # s to start or to end; two on an idle machine
QUESTION = (
    "OPTIONS sip:127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKp;rport\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: p\r\nCSeq: 1 OPTIONS\r\n"
    "Content-Length: 0\r\n\r\n"
)


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answered(port, child):
    """The status line of an OPTIONS to the SBC, once it serves."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind(("127.0.0.1", 0))
        asking.settimeout(0.3)
        question = QUESTION.format(port=port, own=asking.getsockname()[1]).encode()
        until = time.monotonic() + LIMIT
        while time.monotonic() < until and child.poll() is None:
            asking.sendto(question, ("127.0.0.1", port))
            try:
                return asking.recv(2000).split(b"\r\n")[0]
            except OSError:
                continue
    return b""


PACKAGES = [each for each in sys.path if each.endswith("site-packages")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(sbc.__file__).parents[1]), *PACKAGES])}


def interpreter():
    """A Python that others than root may read: the one of these tests may be in root's home."""
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for each in (sys.executable, system):
        environment = ENVIRONMENT if each == system else os.environ
        try:
            subprocess.run([each, "-c", "import alembic, sbc.service"], check=True, user=NOBODY, env=environment,
                           capture_output=True, cwd="/")  # fmt: skip
        except (OSError, subprocess.CalledProcessError):
            continue
        return each
    pytest.skip(f"no Python of this version and its packages that {NOBODY} may read")


@pytest.fixture
def directory():
    if os.geteuid() != 0:
        pytest.skip("not root: nothing to let go of")
    with tempfile.TemporaryDirectory(prefix="sbc-root-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.parametrize("state", ["there", "absent", "made by root"])
def test_root_leaves_nothing_that_the_node_cannot_use(directory, state):
    port, admin = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    place = directory / "deep" / "state" if state == "absent" else directory / "state"
    path = directory / "sbc.toml"
    path.write_text(
        f'[node]\nname = "n"\nstate = "{place}"\n[database]\nurl = "sqlite:///{place}/sbc.db"\n'
        f'[admin]\nlisten = "127.0.0.1:{admin}"\n[[listen]]\nuri = "udp:127.0.0.1:{port}"\n'
    )
    if state != "absent":
        place.mkdir()
    command = [interpreter(), "-c", TWISTD, "-n", "--pidfile="]
    plugin = ["sbc", "--config", str(path)]
    if state == "made by root":
        run(command + plugin, port)
        assert owners(place) == {0}
    run([*command, "--uid", NOBODY, "--gid", str(pwd.getpwnam(NOBODY).pw_gid), *plugin], port)
    assert owners(place) == {pwd.getpwnam(NOBODY).pw_uid}
    assert {each.stat().st_mode & 0o077 for each in place.iterdir()} == {0}
    assert path.stat().st_uid == 0
    assert directory.stat().st_uid == 0


def owners(place):
    return {each.stat().st_uid for each in (place, *place.iterdir())}


def run(command, port):
    """Start it, ask it, end it."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT)
    try:
        status = answered(port, child)
    finally:
        child.send_signal(signal.SIGTERM)
        output, _ = child.communicate(timeout=LIMIT)
    assert status == b"SIP/2.0 200 OK", output.decode()[-3000:]


def test_a_directory_with_other_peoples_files_stays_as_it_is(directory):
    from sbc.ownership import Estate
    from sbc.sections import SECTIONS
    from sbc.settings import load

    text = f'[node]\nstate = "{directory}"\n[database]\nurl = "sqlite:///{directory}/sbc.db"\n'
    theirs = directory / "theirs"
    theirs.write_text("x")
    (directory / "admin.key").hardlink_to(theirs)
    estate = Estate(load(text, SECTIONS, path="sbc.toml"))
    (directory / "secret.key").write_text("x")
    (directory / "sbc.db").symlink_to(theirs)
    estate.hand_over(12345, 12345)
    assert (directory / "secret.key").stat().st_uid == 12345
    assert (theirs.stat().st_uid, directory.stat().st_uid) == (0, 0)
