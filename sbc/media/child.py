"""The media process as its parent sees it: begun, killed, begun again after a pause."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

import sbc
from sbc.media import control
from sbc.media.indexes import SIZE
from sbc.media.settings import MediaSettings
from sbc.media.share import Share

#: Seconds that a media process must live so that the next one may begin at once; else the pause doubles, up to the
#: longest.
STEADY = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: Seconds in which the keeper of a media process that an earlier signalling process began may begin the next one.
INHERITED = 1.0

log = Logger()


class Common:
    """What the media processes of a node have in common and go on with: memory, which is a file without a name, and
    the certificate with its private key (empty: the first one makes it)."""

    def __init__(self, identity: str = "") -> None:
        self.identity = identity
        self._descriptor = -1

    def descriptor(self) -> int:
        """The file, made when it is first asked for."""
        if self._descriptor < 0:
            self._descriptor = os.memfd_create("sbc-media")
            os.ftruncate(self._descriptor, SIZE)
        return self._descriptor

    def close(self) -> None:
        """There will be no other process."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Place(NamedTuple):
    """Which one of the media processes of a node it is, and what they have in common."""

    share: Share
    common: Common


class _Ending(ProcessProtocol):
    """What it prints, and its end."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self._ended = ended

    def errReceived(self, data: bytes) -> None:
        """It met a bug."""
        log.error("the media process: {what}", what=data.decode("utf-8", "replace").rstrip())

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        self._ended(reason.getErrorMessage())


class Child:
    """One media process at a time; `died(how)` is called when it ends. All have the same memory of indexes."""

    def __init__(self, reactor: Any, state: Path, wanted: str, place: Place, died: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._state = state
        self._wanted = wanted
        self._died = died
        self._process: Any = None
        self._place = place
        self._began_at = 0.0
        self._pause = 0.0
        self._begun = False

    @property
    def runs(self) -> bool:
        """Whether there is one."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Its process id, 0 while there is none."""
        return int(self._process.pid or 0) if self._process is not None else 0

    @property
    def may_begin(self) -> bool:
        """Whether there is none and the pause after the one before is over."""
        return self._process is None and self._reactor.seconds() >= self._began_at + self._pause

    def give_way(self) -> None:
        """A media process is gone. If none was begun here, it had another keeper, which may have the next one soon: two
        would be in each other's way."""
        if not self._begun:
            self._began_at, self._pause = self._reactor.seconds(), INHERITED

    def begin(self, settings: MediaSettings) -> None:
        """Start one."""
        if not self._begun:
            self._begun, self._pause = True, 0.0
        arguments = [str(self._state), self._wanted, json.dumps(control.from_settings(settings))]
        arguments.append(json.dumps(self._place.share))
        root = str(Path(sbc.__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            self._process = self._reactor.spawnProcess(
                _Ending(self._ended),
                sys.executable,
                [sys.executable, "-m", "sbc.media.worker", *arguments],
                env={**os.environ, "PYTHONPATH": path},
                path="/",
                # nothing else of ours stays open when we die
                childFDs={0: nothing, 1: nothing, 2: "r", control.MEMORY: self._place.common.descriptor()},
            )
        finally:
            os.close(nothing)
        self._began_at = self._reactor.seconds()

    def kill(self) -> bool:
        """End it at once. False when it is root's, and we are not any more: then it is to be asked."""
        if self._process is not None:
            try:
                self._process.signalProcess("KILL")
            except ProcessExitedAlready:
                pass
            except PermissionError:
                return False
        return True

    def _ended(self, how: str) -> None:
        self._process = None
        lived = self._reactor.seconds() - self._began_at
        self._pause = 0.0 if lived >= STEADY else min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        self._died(how)
