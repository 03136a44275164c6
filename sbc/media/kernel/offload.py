"""An `Offload` by a program in the kernel: flows are entries of its map."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Mapping
from time import CLOCK_MONOTONIC, clock_gettime

from sbc.media.addresses import Address
from sbc.media.kernel import layout
from sbc.media.kernel.attachment import Attachment
from sbc.media.kernel.bpffs import Names
from sbc.media.kernel.ipsec import Policies
from sbc.media.kernel.layout import Way
from sbc.media.kernel.network import Network
from sbc.media.kernel.rtnetlink import Interface
from sbc.media.kernel.table import Table
from sbc.media.offload import Counts, Flow

#: Seconds that flows go on when no process looks after them: what a restart may take at most.
LEASE = 600.0
#: Seconds after which the lease is renewed; it is looked at whenever flows are.
RENEWED = 60.0
#: Flows at once. There are not more even ports on an address.
MAX_FLOWS = 65_536
_LEASE_KEY = bytes(4)


def leased(lease: Table) -> float:
    """Until when flows go on by themselves, in seconds of the monotonic clock."""
    return int.from_bytes(lease.get(_LEASE_KEY) or b"", "little") / 1e9


class KernelOffload:
    """Flows by the name under which the program finds them. `survives`: whether they go on when the process dies."""

    name = "kernel"

    def __init__(
        self,
        flows: Table,
        lease: Table,
        network: Network,
        policies: Policies,
        attachment: Attachment,
        names: Names | None,
    ) -> None:
        self.attachment = attachment
        self.survives = names is not None
        self._remarks: list[str] = []
        self._policies = policies
        self._news = select.epoll()
        for each in (network.fileno(), policies.fileno()):
            if each >= 0:
                self._news.register(each, select.EPOLLIN)
        self._flows, self._lease = flows, lease
        self._network, self._names = network, names
        self._pinned: dict[bytes, Flow] = {}
        self._renewed = 0.0
        self._left = {name: layout.read(name, value) for name, value in flows.items()}
        self._left_at = {flow.local[1]: name for name, flow in self._left.items()}
        if self._left:
            self._renew()

    @property
    def account(self) -> str:
        """See `Offload.account`: by what, at which interfaces, and what is not as it should be."""
        at, without = (_named(each.values()) for each in (self.attachment.interfaces, self.attachment.refused))
        told = [f"eBPF by {self.attachment.how} at {at}", *self._remarks]
        if without:
            told.append(f"not at {without}, which came when the powers for that were gone")
        if self._policies.encrypt:
            told.append("resting, as IPsec policies would be passed by")
        return "; ".join(told)

    def remark(self, words: str) -> None:
        """Something for the `account`; nothing if empty."""
        if words:
            self._remarks.append(words)

    def pin(self, flow: Flow) -> bool:
        """See `Offload.pin`."""
        name = layout.key(flow.local)
        left = self._left.pop(name, None)
        way = self._way(flow) if layout.alike(flow) else None
        counted = bytes(layout.COUNTED.size)
        if left == flow:
            counted = (self._flows.get(name) or bytes(layout.FLOW_SIZE))[layout.FIXED.size :]
        if way is None or not self._put(name, layout.fixed(flow, way) + counted):
            if left is not None:
                self._flows.take(name)
            return False
        self._pinned[name] = flow
        self._renew()
        return True

    def unpin(self, flow: Flow) -> Counts:
        """See `Offload.unpin`."""
        name = layout.key(flow.local)
        if self._pinned.pop(name, None) is None:
            return Counts()
        value = self._flows.take(name)
        return Counts() if value is None else layout.counts(value)

    def counts(self) -> Mapping[Address, Counts]:
        """See `Offload.counts`."""
        self._renew()
        pinned = self._pinned
        return {pinned[name].local: layout.counts(value) for name, value in self._flows.items() if name in pinned}

    def left(self, port: int) -> Flow | None:
        """See `Offload.left`."""
        return self._left.get(self._left_at.get(port, b""))

    def settle(self) -> None:
        """See `Offload.settle`."""
        for name in self._left:
            self._flows.take(name)
        self._left.clear()

    def fileno(self) -> int:
        """See `Offload.fileno`."""
        return self._news.fileno()

    def look(self) -> Iterable[tuple[Flow, Counts]]:
        """See `Offload.look`."""
        change = self._network.look()
        for ifindex in change.gone:
            self.attachment.gone(ifindex)
        if change.routes:
            self.attachment.complete()
        self._policies.look()
        if self._policies.encrypt:
            self.settle()
        if change.routes or change.down or self._policies.encrypt:
            lost = [flow for name, flow in self._pinned.items() if not self._goes_on(name, flow)]
            return [(flow, self.unpin(flow)) for flow in lost]
        return []

    def close(self) -> None:
        """See `Offload.close`."""
        for name in [name for name, _ in self._flows.items()]:
            self._flows.take(name)
        self._pinned.clear()
        self._left.clear()
        if self._names is not None:
            self._names.clear()
        self.attachment.close()
        for table in (self._flows, self._lease):
            os.close(table.descriptor)
        if self._names is not None:
            self._names.close()
        self._news.close()
        self._network.close()
        self._policies.close()

    def works(self) -> bool:
        """Whether flows can be changed with the powers the process has now."""
        try:
            self._flows.get(bytes(layout.KEY_SIZE))
            self._renewed = 0.0
            self._renew()
        except PermissionError:
            return False
        return True

    def _put(self, name: bytes, value: bytes) -> bool:
        """False when there is no room."""
        try:
            self._flows.put(name, value)
        except OSError:
            return False
        return True

    def _way(self, flow: Flow) -> Way | None:
        """Where its packets are to go; None also when there is no way to who sends them, or no program on it, or
        packets may have to be encrypted."""
        back = self._network.way(flow.local[0], flow.source[0])
        if back is None or back.ifindex not in self.attachment.interfaces or self._policies.encrypt:
            return None
        return self._network.way(flow.sender[0], flow.destination[0])

    def _goes_on(self, name: bytes, flow: Flow) -> bool:
        """Whether the way of a pinned flow is still the one it was pinned with."""
        value = self._flows.get(name)
        way = self._way(flow)
        return value is not None and way is not None and layout.way(value) == way

    def _renew(self) -> None:
        now = clock_gettime(CLOCK_MONOTONIC)
        if now - self._renewed >= RENEWED or not self._renewed:
            self._renewed = now
            self._lease.put(_LEASE_KEY, int((now + LEASE) * 1e9).to_bytes(8, "little"))


def _named(interfaces: Iterable[Interface]) -> str:
    return ", ".join(sorted(each.name for each in interfaces))
