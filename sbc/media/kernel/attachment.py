"""The program at the ingress of interfaces: by links (TCX, Linux 6.6), else as a filter of a clsact qdisc."""

from __future__ import annotations

import errno
import os

from sbc.media.kernel import calls, rtnetlink
from sbc.media.kernel.bpffs import Names
from sbc.media.kernel.network import Network
from sbc.media.kernel.rtnetlink import Interface

PROGRAM = "sbc_relay"
#: What an older kernel says to the attempt to make a link.
_UNKNOWN = (errno.EINVAL, errno.EOPNOTSUPP)


class Attachment:
    """Where a program is attached: `interfaces` by index, `how`: `tcx` or `clsact`; `refused`: interfaces that appeared
    later and stay without it."""

    def __init__(self, network: Network, names: Names | None, *, tcx: bool = True) -> None:
        self.interfaces: dict[int, Interface] = {}
        self.refused: dict[int, Interface] = {}
        self.how = "tcx" if tcx else "clsact"
        self._network, self._names = network, names
        self._links: dict[int, int] = {}
        self._program = -1

    def attach(self, program: int) -> None:
        """Attach it to all interfaces that can have flows; takes over the links of an earlier process. Raises `OSError`
        when it can be attached to none; else the descriptor is ours."""
        left = {} if self._names is None else dict(self._names.links())
        problem: OSError | None = None
        for each in self._lacking():
            try:
                self._attach(each, program, left.pop(each.index, None))
            except OSError as refused:
                problem = refused
            else:
                self.interfaces[each.index] = each
        for ifindex, link in left.items():
            self._forget(ifindex, link)
        if not self.interfaces:
            raise problem or OSError(errno.ENODEV, "no Ethernet interface")
        self._program = program

    def complete(self) -> None:
        """Attach it to interfaces that appeared since. A link (not a filter) can be made without powers by whoever has
        the program."""
        for each in self._lacking():
            if each.index not in self.refused:
                try:
                    self._attach(each, self._program, None)
                except OSError:
                    self.refused[each.index] = each
                else:
                    self.interfaces[each.index] = each

    def gone(self, ifindex: int) -> None:
        """The interface is not there any more."""
        self.interfaces.pop(ifindex, None)
        self.refused.pop(ifindex, None)
        link = self._links.pop(ifindex, None)
        if link is not None:
            self._forget(ifindex, link)

    def close(self) -> None:
        """Detach. A filter stays: it may only be removed with powers that are not kept; it finds no flow."""
        for ifindex in list(self._links):
            self.gone(ifindex)
        os.close(self._program)

    def _lacking(self) -> list[Interface]:
        """Interfaces that can have flows, and have no program yet."""
        found = [each for each in self._network.interfaces.values() if each.ethernet and not each.enslaved]
        return [each for each in found if each.index not in self.interfaces]

    def _attach(self, interface: Interface, program: int, left: int | None) -> None:
        if self.how == "tcx":
            try:
                self._links[interface.index] = self._link(interface.index, program, left)
            except OSError as problem:
                if problem.errno not in _UNKNOWN or self._links:
                    raise
                self.how = "clsact"
            else:
                return
        try:
            self._network.change(rtnetlink.add_clsact(interface.index))
        except FileExistsError:
            pass
        self._network.change(rtnetlink.set_filter(interface.index, program, PROGRAM))

    def _link(self, ifindex: int, program: int, left: int | None) -> int:
        if left is not None:
            try:
                if calls.link_interface(left) == ifindex:
                    calls.replace_program(left, program)
                    return left
            except OSError:
                pass
            self._forget(ifindex, left)
        link = calls.attach_tcx(program, ifindex)
        if self._names is not None:
            self._names.name_link(link, ifindex)
        return link

    def _forget(self, ifindex: int, link: int) -> None:
        if self._names is not None:
            self._names.forget_link(ifindex)
        os.close(link)
