"""What root has made for a node that will not be root: `twistd --uid` lets go of root only when the ports are bound."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from sbc.admin.keyfile import KEY_FILE
from sbc.media.control import SOCKET
from sbc.observe.settings import LogSettings
from sbc.settings import Configuration, NodeSettings
from sbc.store.settings import DatabaseSettings

SECRET_FILE = "secret.key"  # noqa: S105 -- a file's name
SQLITE_FILES = ("", "-wal", "-shm", "-journal")
"""What SQLite puts behind the name of a database for the files beside it."""


class Estate:
    """The directories and files of a node: made as root, handed to the user that it will run as.

    To be made before the node is, since what is not there then is the node's own for sure.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._state = Path(configuration[NodeSettings].state)
        url = make_url(configuration[DatabaseSettings].url)
        sqlite = url.database if url.get_backend_name() == "sqlite" else None
        self._files = [self._state / SECRET_FILE, self._state / KEY_FILE]
        if sqlite:
            self._files += [Path(sqlite + ending) for ending in SQLITE_FILES]
        if configuration[LogSettings].file:
            self._files.append(Path(configuration[LogSettings].file))
        self._made = {missing for each in (self._state, *self._files) for missing in _missing(each)}

    def hand_over(self, uid: int, gid: int) -> None:
        """Give what is root's to this user and group: the files, the directories made since, the state directory.

        A directory that was there and holds what is not ours stays as it is.
        """
        for path in sorted(self._made | set(self._files)):
            _give(path, uid, gid)
        if (self._state / SECRET_FILE).exists() and set(os.listdir(self._state)) <= self._names():
            _give(self._state, uid, gid)

    def _names(self) -> set[str]:
        return {path.name for path in self._files} | {SOCKET}


def future_user(twistd: Any) -> tuple[int, int] | None:
    """The user and group that twistd's options make of root, by number; None where nothing changes."""
    uid, gid = twistd.get("uid"), twistd.get("gid")
    if os.geteuid() != 0 or uid is None:
        return None
    return uid, pwd.getpwuid(uid).pw_gid if gid is None else gid


def _missing(path: Path) -> Iterable[Path]:
    """The directories on the way to a path that are not there yet; the path itself where it is to be one."""
    return [each for each in path.parents if not each.exists()]


def _give(path: Path, uid: int, gid: int) -> None:
    """Change the owner of a file or directory of root's that goes by this name alone: no link to somebody else's."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        found = os.fstat(opened)
        single = stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
        if found.st_uid == 0 and single:
            os.fchown(opened, uid, gid)
    finally:
        os.close(opened)
