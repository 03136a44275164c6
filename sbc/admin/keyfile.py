"""The key of this host: a file from which `sbcctl` on the same machine takes its API key."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sbc.admin.keys import KEY_BYTES, make_key

KEY_FILE: Final = "admin.key"
"""Name of the file in the state directory."""

KEY_FILE_LIMIT: Final = 200
"""Bytes read of it; a key has 47 characters."""


def read_key(path: Path) -> str:
    """The key in `path`. Raises PermissionError when group or world may read it, OSError when it is not there."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & 0o077:
            raise PermissionError(f"{path} is readable by others (mode {mode & 0o777:o}): chmod 600 it, or remove it")
        return file.read(KEY_FILE_LIMIT).decode("ascii", "replace").strip()


def host_key(path: Path, random: Callable[[int], bytes]) -> str:
    """The key in `path`, made there with mode 0600 on first use. Errors as of `read_key`."""
    try:
        return read_key(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    key = make_key(random(KEY_BYTES))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
    return key
