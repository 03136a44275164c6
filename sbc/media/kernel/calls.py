"""The bpf(2) system call: maps, programs, links and their names in the file system, through ctypes."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from struct import pack, unpack_from

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280}
(
    MAP_CREATE,
    MAP_LOOKUP,
    MAP_UPDATE,
    MAP_DELETE,
    _MAP_NEXT,
    PROGRAM_LOAD,
    OBJECT_PIN,
    OBJECT_GET,
) = range(8)
OBJECT_INFO = 15
MAP_TAKE = 21
MAP_LOOKUP_BATCH = 24
LINK_CREATE = 28
LINK_UPDATE = 29

HASH, ARRAY = 1, 2
_NO_PREALLOCATION = 1
_SCHED_CLS = 3  # BPF_PROG_TYPE_SCHED_CLS
_TCX_INGRESS = 46
_LOG_SIZE = 1 << 16
_SPACE = bytes(80)

_libc = ctypes.CDLL(None, use_errno=True)

#: What a system call's argument is kept in.
Buffer = ctypes.Array[ctypes.c_char]


def buffer(content: bytes) -> Buffer:
    """Memory of this content that the kernel may read and write."""
    return ctypes.create_string_buffer(content, len(content))


def bpf(command: int, attributes: Buffer) -> int:
    """One call; `attributes` is changed in place. Raises `OSError`."""
    number = _NUMBERS.get(os.uname().machine)
    if number is None:
        raise OSError(f"no bpf(2) known for {os.uname().machine}")
    result: int = _libc.syscall(number, command, attributes, len(attributes))
    if result < 0:
        problem = ctypes.get_errno()
        raise OSError(problem, os.strerror(problem))
    return result


def create_map(kind: int, name: str, key_size: int, value_size: int, entries: int) -> int:
    """A descriptor of a new map; a hash takes memory as it fills."""
    flags = _NO_PREALLOCATION if kind == HASH else 0
    head = pack("=IIIIIII16s", kind, key_size, value_size, entries, flags, 0, 0, name.encode("ascii"))
    return bpf(MAP_CREATE, buffer(head + _SPACE))


def map_shape(descriptor: int) -> tuple[int, int, int, str]:
    """Kind, key size, value size and name of a map."""
    info = _info(descriptor)
    kind, _, key_size, value_size = unpack_from("=IIII", info)
    return kind, key_size, value_size, info[24:40].rstrip(b"\0").decode("ascii", "replace")


def load_program(name: str, code: bytes, license: bytes) -> int:  # noqa: A002 - the field's name
    """A descriptor of a program for TC. Raises `OSError`, with the verifier's last words if it was that."""
    instructions, text = buffer(code), buffer(license + b"\0")
    for log in (None, ctypes.create_string_buffer(_LOG_SIZE)):
        told = (0, 0, 0) if log is None else (1, len(log), ctypes.addressof(log))
        head = pack(
            "=IIQQIIQII16s",
            _SCHED_CLS,
            len(code) // 8,
            ctypes.addressof(instructions),
            ctypes.addressof(text),
            *told,
            0,
            0,
            name.encode("ascii"),
        )
        try:
            return bpf(PROGRAM_LOAD, buffer(head + _SPACE))
        except OSError as problem:
            if problem.errno == errno.EPERM:  # the verifier says EACCES
                raise
            words = "" if log is None else log.value.decode("ascii", "replace").strip()
            if words:
                raise OSError(problem.errno, f"{problem.strerror}: {words[-300:]}") from problem
            refused = problem
    raise refused


def attach_tcx(program: int, ifindex: int) -> int:
    """A descriptor of a link: the program sees what arrives on the interface as long as somebody has the link."""
    return bpf(LINK_CREATE, buffer(pack("=IIII", program, ifindex, _TCX_INGRESS, 0) + _SPACE))


def replace_program(link: int, program: int) -> None:
    """Put another program in the place of the one that a link attaches."""
    bpf(LINK_UPDATE, buffer(pack("=IIII", link, program, 0, 0) + _SPACE))


def link_interface(link: int) -> int:
    """The interface of a TCX link; 0 when it is gone."""
    return int(unpack_from("=I", _info(link), 16)[0])


def pin(descriptor: int, path: Path) -> None:
    """Give a map, program or link a name in a BPF file system; it lives as long as that."""
    name = buffer(os.fsencode(path) + b"\0")
    bpf(OBJECT_PIN, buffer(pack("=QII", ctypes.addressof(name), descriptor, 0) + _SPACE))


def pinned(path: Path) -> int:
    """A descriptor of what has this name."""
    name = buffer(os.fsencode(path) + b"\0")
    return bpf(OBJECT_GET, buffer(pack("=QII", ctypes.addressof(name), 0, 0) + _SPACE))


def mount_bpffs(path: Path) -> None:
    """Mount a BPF file system that only its owner may use. Raises `OSError`."""
    if _libc.mount(b"bpf", os.fsencode(path), b"bpf", 0, b"mode=0700"):
        problem = ctypes.get_errno()
        raise OSError(problem, os.strerror(problem))


def _info(descriptor: int) -> bytes:
    info = ctypes.create_string_buffer(256)
    bpf(OBJECT_INFO, buffer(pack("=IIQ", descriptor, len(info), ctypes.addressof(info)) + _SPACE))
    return info.raw
