"""What a process keeps of root's powers when its children are to load the program."""

from __future__ import annotations

import os
from pathlib import Path

from sbc.media.kernel import bpffs, capabilities
from sbc.media.kernel.loading import program
from sbc.media.offload import UnavailableError


def confine(state: str) -> Path | None:
    """Become the owner of the state directory, with the two capabilities that `load` needs and no others, for good.

    Reads what `load` will read, and reserves a place in the BPF file system, to be handed to `load`: None when whoever
    this process is now can, or cannot, get there without help. Never raises for what the kernel refuses.
    """
    owner = os.stat(state)
    place = None
    try:
        program()
        place = bpffs.reserve(state, owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None
    except (OSError, UnavailableError):
        pass  # `load` will say so
    capabilities.confine(owner.st_uid, owner.st_gid)
    return place
