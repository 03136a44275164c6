"""Putting the program into the kernel, with what an earlier process of the node left there."""

from __future__ import annotations

import errno
import os
from functools import cache
from pathlib import Path
from time import CLOCK_MONOTONIC, clock_gettime

from sbc.media.kernel import calls, capabilities, elf, layout
from sbc.media.kernel.attachment import PROGRAM, Attachment
from sbc.media.kernel.bpffs import ROOT, Names, directory
from sbc.media.kernel.ipsec import Policies
from sbc.media.kernel.network import Network
from sbc.media.kernel.offload import MAX_FLOWS, KernelOffload, leased
from sbc.media.kernel.table import Table
from sbc.media.offload import UnavailableError

OBJECT = Path(__file__).with_name("relay.bpf.o")
#: The maps of the program: kind, key size, value size, entries.
MAPS = {
    "flows": (calls.HASH, layout.KEY_SIZE, layout.FLOW_SIZE, MAX_FLOWS),
    "lease": (calls.ARRAY, 4, 8, 1),
}

#: What the kernel's refusals mean.
_REFUSALS = {errno.EPERM: "CAP_BPF and CAP_NET_ADMIN are needed", errno.ENOSYS: "no bpf(2) in this kernel"}


@cache
def program() -> elf.Program:
    """The program. Raises `UnavailableError`."""
    try:
        return elf.read(OBJECT.read_bytes())
    except (OSError, elf.ObjectError) as problem:
        raise UnavailableError(str(problem)) from problem


def load(state: str, *, place: Path | None = None, keep_privileges: bool = False, tcx: bool = True) -> KernelOffload:
    """The kernel's forwarding for the node with this state directory, in the network namespace of the process.

    Needs CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN), which this thread is rid of afterwards unless they are to be
    kept. Raises `UnavailableError`. `tcx`: False for the way of older kernels; `place`: see `confine`.
    """
    code = program()
    try:
        network = Network()
    except OSError as problem:
        raise UnavailableError(str(problem)) from problem
    names: Names | None = None
    policies: Policies | None = None
    try:
        names, fleeting = _names(state, place)
        policies = Policies()
        if policies.encrypt:
            raise UnavailableError("IPsec policies of this machine would be passed by")
        offload = _load(code, network, policies, names, tcx)
    except (OSError, UnavailableError) as problem:
        network.close()
        if policies is not None:
            policies.close()
        if names is not None:
            names.clear()  # what an earlier process left would go on with nobody to look after it
            names.close()
        if isinstance(problem, UnavailableError):
            raise
        raise UnavailableError(_REFUSALS.get(problem.errno or 0) or f"the kernel says: {problem.strerror}") from problem
    offload.remark(fleeting)
    try:
        if not keep_privileges and not capabilities.drop(offload.works):
            offload.remark("CAP_BPF is kept, as this kernel demands it for every change")
    except OSError as problem:
        offload.remark(f"its privileges are kept ({problem.strerror})")
    return offload


def _load(program: elf.Program, network: Network, policies: Policies, names: Names | None, tcx: bool) -> KernelOffload:
    maps = _maps(names)
    opened = list(maps.values())
    try:
        code = calls.load_program(PROGRAM, program.linked(maps), program.license)
        opened.append(code)
        attachment = Attachment(network, names, tcx=tcx)
        attachment.attach(code)
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    if names is not None:
        _tidy(names)
    flows, lease = (Table(maps[name], *MAPS[name][1:3]) for name in ("flows", "lease"))
    return KernelOffload(flows, lease, network, policies, attachment, names)


def _names(state: str, place: Path | None) -> tuple[Names | None, str]:
    """The directory for what is to outlive the process; or why nothing can, in words for the log. The next process will
    be of the user who has the state directory."""
    try:
        if os.stat(state).st_uid != os.geteuid():
            return None, "flows end with this process, as the next one will have no powers to take them over"
        return Names(place or directory(state), reserved=place is not None), ""
    except OSError as problem:
        return None, f"flows end with this process ({problem.filename or ROOT}: {problem.strerror})"


def _tidy(names: Names) -> None:
    """Remove what nodes left that have not come back."""
    now = clock_gettime(CLOCK_MONOTONIC)
    for other in names.others():
        lease = other.map("lease")
        if lease is None:
            other.clear()
        else:
            kind, key_size, value_size, _ = MAPS["lease"]  # the same in all versions
            fits = calls.map_shape(lease)[:3] == (kind, key_size, value_size)
            if fits and now > leased(Table(lease, key_size, value_size)):
                other.clear()
            os.close(lease)
        other.close()


def _maps(names: Names | None) -> dict[str, int]:
    """Descriptors of the maps: those an earlier process left, if they are of this version, else new ones."""
    maps: dict[str, int] = {}
    try:
        for name in MAPS if names is not None else ():
            found = names.map(name) if names is not None else None
            if found is not None:
                maps[name] = found
        if set(maps) == set(MAPS) and all(_fits(name, descriptor) for name, descriptor in maps.items()):
            return maps
        while maps:
            os.close(maps.popitem()[1])
        if names is not None:
            names.clear()
        for name, shape in MAPS.items():
            kind, key_size, value_size, entries = shape
            maps[name] = calls.create_map(kind, _called(name), key_size, value_size, entries)
            if names is not None:
                names.name_map(maps[name], name)
    except OSError:
        for descriptor in maps.values():
            os.close(descriptor)
        raise
    return maps


def _fits(name: str, descriptor: int) -> bool:
    kind, key_size, value_size, _ = MAPS[name]
    return calls.map_shape(descriptor) == (kind, key_size, value_size, _called(name))


def _called(name: str) -> str:
    return f"sbc_{name}_{layout.VERSION}"
