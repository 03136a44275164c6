"""Ports that nobody else takes: each is locked by a file until ``given_back``, or the end of this process."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Below the kernel's ephemeral range (32768 …) and away from the relay's default ports (20000 …).
FIRST, LAST = 10_000, 19_999
_choice = random.SystemRandom()
_held: list[int] = []  # open lock files; closing one would release its port


def _claim(first: int, count: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"sbc-test-ports.{os.getuid()}"
    folder.mkdir(exist_ok=True)
    taken = []
    for port in range(first, first + count):
        handle = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o600)
        taken.append(handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            break
        if not _bindable(port):
            break
    else:
        _held.extend(taken)
        return True
    for handle in taken:
        os.close(handle)
    return False


@contextmanager
def given_back() -> Iterator[None]:
    """The ports taken meanwhile are free again at the end; whoever used them must have stopped."""
    before = len(_held)
    try:
        yield
    finally:
        for handle in _held[before:]:
            os.close(handle)
        del _held[before:]


def _bindable(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))  # any address: whoever holds it on one of 127.0.0.x is found too
            except OSError:
                return False
    return True


def free_port(count: int = 1) -> int:
    """The first of ``count`` consecutive ports free for UDP and TCP on every address."""
    for _ in range(1000):
        first = _choice.randrange(FIRST, LAST - count)
        if _claim(first, count):
            return first
    raise RuntimeError(f"no {count} consecutive free ports in {FIRST}-{LAST}")
