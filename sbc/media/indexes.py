"""How far SRTP streams have come, in memory that outlives a media process.  [pure]

Who goes on with keys of a process before must know the packet index (RFC 3711 section 3.3.1: roll-over counter and
sequence number) that each stream has reached. Too low a counter decrypts nothing; a report sealed under an index that
was used before, or a packet that is believed twice, would be worse. Told by messages it would be known too late, so
each packet writes it down where the next process finds it. Indexes are no secret; keys are elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sbc.media.share import Share

#: Synchronisation sources of one direction: each costs a cipher context of half a KiB, and a sender may name any.
MAX_SOURCES = 64
#: Directions of ports that a node can have keys for: what 2000 calls between parties that both encrypt need.
MAX_PAGES = 16_384

#: Of a row: the source (with `_USED`), the index of the RTP packet that is due next, the SRTCP index used last.
_SOURCE, _DUE, _REPORT, _ROW = 0, 1, 2, 3
_USED = 1 << 32
_CELLS = _ROW * MAX_SOURCES
_EMPTY = memoryview(bytes(8 * _CELLS)).cast("Q")
#: Bytes of the memory of a node's media processes; what is not used of it takes no room. The tags of all pages come
#: first.
SIZE = 8 * (1 + _CELLS) * MAX_PAGES


class Page:
    """The sources of one direction, by their four bytes. `number` is -1 for a page that nobody else will see; `tag`
    tells whether it is still the one that somebody remembers."""

    __slots__ = ("_rows", "cells", "number", "tag")

    def __init__(self, cells: memoryview | None = None, number: int = -1, tag: int = 0) -> None:
        self.number, self.tag = number, tag
        self.cells = memoryview(bytearray(8 * _CELLS)).cast("Q") if cells is None else cells
        self._rows: dict[bytes, int] = {}
        for row in range(0, _CELLS, _ROW):
            if self.cells[row] & _USED:
                self._rows[(self.cells[row] & 0xFFFFFFFF).to_bytes(4, "big")] = row

    def __contains__(self, source: bytes) -> bool:
        return source in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._rows)

    def due(self, source: bytes) -> int:
        """The index of its next packet; 0 when there was none."""
        row = self._rows.get(source)
        return 0 if row is None else self.cells[row + _DUE]

    def reach(self, source: bytes, index: int) -> int:
        """The packet of this index was dealt with. Returns the place of `due` among the cells."""
        row = self._rows[source] if source in self._rows else self._add(source)
        if index >= self.cells[row + _DUE]:
            self.cells[row + _DUE] = index + 1
        return row + _DUE

    def report(self, source: bytes) -> int:
        """The highest index of its SRTCP packets; 0 when there was none."""
        row = self._rows.get(source)
        return 0 if row is None else self.cells[row + _REPORT]

    def reach_report(self, source: bytes, index: int) -> None:
        """The SRTCP packet of this index was dealt with."""
        row = self._rows[source] if source in self._rows else self._add(source)
        self.cells[row + _REPORT] = max(index, self.cells[row + _REPORT])

    def _add(self, source: bytes) -> int:
        row = self._rows[source] = _ROW * len(self._rows)
        self.cells[row] = _USED | int.from_bytes(source, "big")
        return row


class Book:
    """The pages of a process, in `memory` of `SIZE` bytes; without one nothing in it outlives the process. `random(n)`
    are n random bytes. Of the pages that nobody uses a `share` is this process's to take."""

    def __init__(
        self,
        memory: memoryview | None = None,
        random: Callable[[int], bytes] = bytes,
        share: Share = Share(),  # noqa: B008 - immutable
    ) -> None:
        self._cells = memoryview(b"").cast("Q") if memory is None else memory.cast("B").cast("Q")
        self._random = random
        self._own = range(0) if memory is None else share.part(range(MAX_PAGES))
        self._free = [number for number in self._own if not self._cells[number]]
        self._held: set[int] = set()

    def take(self) -> Page:
        """An empty page; one that nobody else will see when there are no others."""
        if not self._free:
            return Page()
        number = self._free.pop()
        self._held.add(number)
        tag = self._cells[number] = int.from_bytes(self._random(7), "big") or 1
        cells = self._page(number)
        cells[:] = _EMPTY
        return Page(cells, number, tag)

    def find(self, number: int, tag: int) -> Page | None:
        """The page of another process, which has ended or parted from it; None when it is used for something else."""
        if not tag or number in self._held or not 0 <= number < MAX_PAGES or number >= len(self._cells):
            return None
        if self._cells[number] != tag:
            return None
        self._held.add(number)
        return Page(self._page(number), number, tag)

    def part(self, page: Page) -> None:
        """Another process goes on with it."""
        self._held.discard(page.number)

    def give(self, page: Page) -> None:
        """It is not needed any more."""
        if page.number in self._held:
            self._held.discard(page.number)
            self._cells[page.number] = 0
            if page.number in self._own:  # else its owner has it again when that begins anew
                self._free.append(page.number)

    def _page(self, number: int) -> memoryview:
        start = MAX_PAGES + number * _CELLS
        return self._cells[start : start + _CELLS]


def estimate(due: int, sequence: int) -> int:
    """The index of a packet with this sequence number, when the highest index so far is below `due` by one (RFC 3711
    section 3.3.1; before the first half of the numbers is over, the counter is zero whatever comes, as in libsrtp)."""
    highest = due - 1
    if highest <= 0x8000:
        return sequence
    step = (sequence - highest) & 0xFFFF
    forward = step < 0x8000 or (step == 0x8000 and highest & 0xFFFF < 0x8000)
    return highest + step if forward else highest + step - 0x10000
