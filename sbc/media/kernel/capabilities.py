"""What of root's powers the kernel's forwarding needs (capabilities(7)), and letting go of it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from struct import Struct

_NET_ADMIN, _SYS_ADMIN, _PERFMON, _BPF = 12, 21, 38, 39
#: What loading needs.
_NEEDED = (_NET_ADMIN, _BPF)
#: What is of use for it; SYS_ADMIN stands for all of it.
_LOADING = (*_NEEDED, _SYS_ADMIN, _PERFMON)
_VERSION = 0x20080522
_SETS = Struct("=6I")  # effective, permitted, inheritable: low words, then high words
_KEEP, _NO_NEW, _AMBIENT, _AMBIENT_LOWER, _AMBIENT_CLEAR = 8, 38, 47, 3, 4  # prctl

_libc = ctypes.CDLL(None, use_errno=True)


def confine(uid: int, gid: int) -> None:
    """Be this user from now on, if root, and keep what loading needs, as far as it is there; nothing that is executed
    will have more. For a process with one thread."""
    if os.geteuid() == 0 and uid:
        _libc.prctl(_KEEP, 1, 0, 0, 0)
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    sets = _get()
    low, high = (sum(1 << each % 32 for each in _NEEDED if each // 32 == place) for place in (0, 1))
    low, high = sets[1] & low, sets[4] & high
    _set([low, low, 0, high, high, 0])
    _libc.prctl(_AMBIENT, _AMBIENT_CLEAR, 0, 0, 0)
    _libc.prctl(_NO_NEW, 1, 0, 0, 0)


def drop(works: Callable[[], bool]) -> bool:
    """Let go of what only loading needed, for good; what `works` without it. Where that says no (before Linux 5.19,
    where bpf(2) is closed to ordinary users), CAP_BPF stays and False is returned. Changes this thread only."""
    before = _get()
    bare = _without(before, _LOADING)
    _set([bare[0], before[1], before[2], bare[3], before[4], before[5]])  # for a try, only the effective ones
    kept = () if works() else (_BPF,)
    _set(_without(before, [each for each in _LOADING if each not in kept]))
    for each in _LOADING:
        if each not in kept:
            _libc.prctl(_AMBIENT, _AMBIENT_LOWER, each, 0, 0)
    return not kept


def _without(sets: list[int], capabilities: tuple[int, ...] | list[int]) -> list[int]:
    left = list(sets)
    for each in capabilities:
        for place in range(3):
            left[place + (3 if each > 31 else 0)] &= ~(1 << each % 32)
    return left


def _get() -> list[int]:
    """The thread's sets, as `_SETS` has them: effective, permitted, inheritable; low words first."""
    header, data = ctypes.create_string_buffer(_header()), ctypes.create_string_buffer(_SETS.size)
    _check(_libc.capget(header, data))
    return list(_SETS.unpack(data.raw))


def _set(sets: list[int]) -> None:
    header, data = ctypes.create_string_buffer(_header()), ctypes.create_string_buffer(_SETS.pack(*sets))
    _check(_libc.capset(header, data))


def _header() -> bytes:
    return Struct("=Ii").pack(_VERSION, 0)


def _check(result: int) -> None:
    if result:
        problem = ctypes.get_errno()
        raise OSError(problem, os.strerror(problem))
