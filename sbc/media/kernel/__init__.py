"""Forwarding in the kernel: an `Offload` (`sbc/media/offload.py`) by an eBPF program at the ingress of interfaces.

In: flows, as the relay pins them. Out: their packets, forwarded without it, and their counts. What is made here needs
nothing but the kernel and Python: no compiler, no library.

Read `relay.bpf.c` first, the program; `make bpf` makes `relay.bpf.o` of it, which is part of the package. `load` puts
it into the kernel (`loading.py`: maps and program by `calls.py`, `attachment.py` to interfaces, `bpffs.py` so that they
outlive the process, `capabilities.py` to let go of root's powers then, `ipsec.py` to see what forbids it all) and
answers with an `offload.py`, whose flows are entries of a `table.py`. Who has that done by children is to `confine`
himself first (`confinement.py`). `network.py` says which interface leads to a party, and when that changes. Pure are
`layout.py` (flows as bytes), `elf.py` (the object file) and `rtnetlink.py` (the messages of `network.py`).
"""

from sbc.media.kernel.confinement import confine
from sbc.media.kernel.loading import load

__all__ = ["confine", "load"]
