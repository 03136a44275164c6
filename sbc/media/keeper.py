"""A process whose work is done by a child of it: when that dies by accident the next one takes over at once."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

#: Seconds that a child must live so that what comes after the next one may begin at once; else the pause doubles, up to
#: the longest. The first accident costs no pause.
STEADY = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: Children that may end by a bug, or because what they need is gone; then this process ends, too.
MAX_BUGS = 5

_PARENT_DEATH_SIGNAL = 1


def keep(work: Callable[[], None]) -> None:
    """Let children do this work until one ends in order; a SIGTERM is theirs. A child dies with this process."""
    pause, bugs = 0.0, 0
    while bugs < MAX_BUGS:
        began_at = time.monotonic()
        child = os.fork()
        if not child:
            _work(work)

        def pass_on(number: int, frame: Any, child: int = child) -> None:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                pass  # the next one is about to begin

        signal.signal(signal.SIGTERM, pass_on)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return
        bugs += code > 0
        steady = time.monotonic() - began_at >= STEADY
        time.sleep(pause)
        pause = 0.0 if steady else min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)


def die_with_parent() -> None:
    """Let this process be killed when its parent dies. The kernel forgets it when the process changes its user."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _work(work: Callable[[], None]) -> None:
    """What the child does; it does not return."""
    die_with_parent()
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - told, and the next one takes over
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)
