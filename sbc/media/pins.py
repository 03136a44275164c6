"""Which ends the kernel forwards for (see `offload.py`), and their counts."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from sbc.media.addresses import Address
from sbc.media.offload import Counts, Flow, Offload

if TYPE_CHECKING:
    from sbc.media.end import End

NOTHING = Counts()


class Pin:
    """A pinned end: its flow, whose ports are our own, and what of the flow's counts its reception has already."""

    __slots__ = ("counted", "flow", "own")

    def __init__(self, flow: Flow, own: Container[Address]) -> None:
        self.flow = flow
        self.own = own
        self.counted = NOTHING


class Pins:
    """The ends of a forwarder that are pinned, by local address. Without an offload none ever is."""

    def __init__(self) -> None:
        self.offload: Offload | None = None
        self._ends: dict[Address, End] = {}
        self._given_up: list[tuple[End, Container[Address]]] = []
        self.dscp = 0

    def __len__(self) -> int:
        return len(self._ends)

    def pair(self, end: End, own: Container[Address]) -> None:
        """This end is connected to its party now; pin both ways if the other end is, too. `own` contains the addresses
        of our own ports: a stream between two legs of this relay is forwarded by it, as its parties may yet move."""
        if self.offload is not None and end.connected is not None and end.peer.connected is not None:
            for each in (end, end.peer):
                self._pin(each, own)

    def part(self, end: End) -> None:
        """This end loses its party: neither way is forwarded by the kernel any more."""
        for each in (end, end.peer):
            if each.pin is not None:
                pin, each.pin = each.pin, None
                self._ends.pop(pin.flow.local, None)
                assert self.offload is not None
                self._add(each, pin, self.offload.unpin(pin.flow))
                each.reception.interrupted()

    def refresh(self) -> None:
        """Bring the receptions of pinned ends up to date, and try again what was given up: there may be a way now."""
        given_up, self._given_up = self._given_up, []
        for each, own in given_up:
            self._pin(each, own)
            if each.pin is None and _flow(each, self.dscp) is not None:
                self._given_up.append((each, own))
        if self.offload is None or not self._ends:
            return
        for local, counts in self.offload.counts().items():
            end = self._ends.get(local)
            if end is not None and end.pin is not None:
                self._add(end, end.pin, counts)

    def look(self) -> None:
        """Take back what the offload gave up."""
        if self.offload is None:
            return
        for flow, counts in self.offload.look():
            end = self._ends.pop(flow.local, None)
            if end is not None and end.pin is not None:
                self._add(end, end.pin, counts)
                self._given_up.append((end, end.pin.own))
                end.pin = None
                end.reception.interrupted()

    def _pin(self, end: End, own: Container[Address]) -> None:
        flow = _flow(end, self.dscp)
        if end.pin is None and flow is not None and self.offload is not None:
            if flow.source not in own and flow.destination not in own and self.offload.pin(flow):
                end.pin = Pin(flow, own)
                self._ends[flow.local] = end

    def _add(self, end: End, pin: Pin, counts: Counts) -> None:
        before, reception = pin.counted, end.reception
        reception.packets += counts.packets - before.packets
        reception.bytes += counts.bytes - before.bytes
        reception.lost = max(0, reception.lost + counts.lost - before.lost)
        if counts.packets != before.packets:
            reception.jitter_units = counts.jitter * reception.rate
        pin.counted = counts


def _flow(end: End, dscp: int) -> Flow | None:
    """What the kernel would have to forward of this end's packets; None when that is nothing it can."""
    peer = end.peer
    if end.connected is None or peer.connected is None or end.source is None or peer.destination is None:
        return None
    if not end.streams or any(len(each) > 3 and each[3] for each in (end.source, peer.destination)):  # link-local
        return None
    return Flow(
        local=end.connected.getsockname()[:2],
        source=end.source[:2],
        sender=peer.connected.getsockname()[:2],
        destination=peer.destination[:2],
        dscp=dscp,
        rates=dict(end.reception.clocks),
    )
