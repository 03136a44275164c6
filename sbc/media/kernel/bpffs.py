"""Names of maps and links in a BPF file system: what has one there outlives the process that made it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from hashlib import blake2s
from pathlib import Path
from time import sleep

from sbc.media.kernel import calls
from sbc.media.offload import UnavailableError

#: Where the BPF file system is mounted by custom.
ROOT = Path("/sys/fs/bpf")
#: How often, and after how many seconds each time, another process is asked to let go of the directory: one that tidies
#: up has it for a moment.
TRIES, PAUSE = 20, 0.05
_DIRECTORY, _LINK = "sbc-", "link-"


class Names:
    """The directory of one node. One process at a time has it; a lock, gone with its process, keeps others out."""

    def __init__(self, path: Path, tries: int = TRIES, *, reserved: bool = False) -> None:
        """Raises `OSError` when there can be no such directory, `UnavailableError` when another process has it.
        `reserved`: the path comes from `reserve`, so that it is no link of somebody else's."""
        self.path = path
        self._flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if reserved else os.O_NOFOLLOW)
        for left in reversed(range(tries)):
            self.path.mkdir(mode=0o700, exist_ok=True)
            try:
                self._lock = self._lock_it()
                return
            except (BlockingIOError, FileNotFoundError):
                sleep(PAUSE if left else 0)
        raise UnavailableError(f"another process has {self.path}")

    def _lock_it(self) -> int:
        """The directory's descriptor, once nobody else has it. Raises `OSError`."""
        opened = os.open(self.path, self._flags)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(opened)
            if found.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, f"{self.path} is somebody else's")
            if found.st_ino != os.stat(self.path).st_ino:  # removed meanwhile by who had it
                raise FileNotFoundError(errno.ENOENT, str(self.path))
        except OSError:
            os.close(opened)
            raise
        return opened

    def map(self, name: str) -> int | None:
        """A descriptor of the map of this name, if there is one."""
        return _get(self.path / name)

    def links(self) -> Iterator[tuple[int, int]]:
        """The interfaces that links were made for, and descriptors of these links. What is no link any more loses its
        name."""
        for path in sorted(self.path.glob(f"{_LINK}*")):
            number, link = path.name.removeprefix(_LINK), _get(path)
            if link is None or not number.isdigit():
                path.unlink()
            else:
                yield int(number), link

    def name_map(self, descriptor: int, name: str) -> None:
        """Let a map outlive this process."""
        calls.pin(descriptor, self.path / name)

    def name_link(self, descriptor: int, ifindex: int) -> None:
        """Let the link of this interface outlive this process."""
        calls.pin(descriptor, self.path / f"{_LINK}{ifindex}")

    def forget_link(self, ifindex: int) -> None:
        """Remove the name of the link of this interface."""
        (self.path / f"{_LINK}{ifindex}").unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all names: what they named goes with the process."""
        for path in self.path.iterdir():
            path.unlink()

    def others(self) -> Iterator[Names]:
        """The directories of nodes that have no process now; each is to be closed."""
        for path in sorted(self.path.parent.glob(f"{_DIRECTORY}*")):
            try:
                yield Names(path, tries=1)
            except (OSError, UnavailableError):
                continue

    def close(self) -> None:
        """Let others have the directory; it goes if it is empty."""
        try:
            self.path.rmdir()
        except OSError:
            pass
        os.close(self._lock)


def directory(state: str) -> Path:
    """Where the node with this state directory has its names: in the first BPF file system that it may write to. One is
    mounted if there is none. Raises `OSError`."""
    mounted = _mounted()
    if not mounted:
        calls.mount_bpffs(ROOT)
        mounted = [ROOT]
    name = f"{_DIRECTORY}{blake2s(os.path.realpath(state).encode(), digest_size=6).hexdigest()}"
    for root in mounted:
        if os.access(root, os.W_OK | os.X_OK, effective_ids=True):
            return root / name
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(mounted[0]))


def reserve(state: str, uid: int, gid: int) -> Path | None:
    """As root: see to it that there is a BPF file system, and make that directory this user's. The answer is a way into
    it for this process and its children, once they are that user and may not go the usual one; None for root. Raises
    `OSError`."""
    path = directory(state)
    if not uid:
        return None
    if not path.exists():
        path.mkdir(mode=0o700)
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if os.fstat(opened).st_uid == 0:  # else they wrote there, and nothing in it is to be trusted
        for name in os.listdir(opened):
            os.chown(name, uid, gid, dir_fd=opened, follow_symlinks=False)
        os.fchown(opened, uid, gid)
    return Path(f"/proc/self/fd/{opened}")


def _get(path: Path) -> int | None:
    try:
        return calls.pinned(path)
    except OSError:
        return None


def _mounted() -> list[Path]:
    """Where BPF file systems are, the usual place first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        ours, _, theirs = line.partition(" - ")
        if theirs.split()[0] == "bpf":
            found.append(Path(ours.split()[4]))
    return sorted(found, key=lambda each: each != ROOT)
