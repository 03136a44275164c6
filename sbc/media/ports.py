"""Ports to lend: pairs of an even port (RTP) and the odd one above it (RTCP), in random order.  [pure]"""

from __future__ import annotations

from collections import deque
from random import Random

from sbc.media.share import Share, pairs
from sbc.sip.errors import RemoteError

#: Seconds a port rests after use, so that late packets of one call never reach the next one.
QUARANTINE = 30.0


class PortPool:
    """The even ports of a range of which the odd one above is also in the range; lent is the part of one worker.

    Random order (RFC 6056) makes the next port unguessable, the quarantine keeps a stranger's late packets out of a new
    call. A port handed out is either given back or in use: `len(pool)` counts the free ones, resting ones excluded.
    """

    def __init__(self, first: int, last: int, random: Random, share: Share = Share()) -> None:  # noqa: B008 - immutable
        self._whole = pairs(first, last)
        self._own = share.part(self._whole)
        self._free = list(self._own)
        self._lent: set[int] = set()
        self._resting: deque[tuple[float, int]] = deque()
        self._random = random
        self.size = len(self._free)

    def __len__(self) -> int:
        return len(self._free)

    def take(self, now: float) -> int:
        """An even port. Raises `RemoteError` 503 when none is free (ports in quarantine are not)."""
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
        if not self._free:
            raise RemoteError(503, b"No media port free")
        place = self._random.randrange(len(self._free))
        self._free[place], self._free[-1] = self._free[-1], self._free[place]
        port = self._free.pop()
        self._lent.add(port)
        return port

    def claim(self, port: int) -> None:
        """Take this port, one of the whole range, as after a restart. Raises `RemoteError` 503 when it is not free."""
        if port in self._lent or port not in self._whole:
            raise RemoteError(503, b"Media port not free")
        if port in self._own:
            self._free = [each for each in self._free if each != port]
            self._resting = deque(each for each in self._resting if each[1] != port)
        self._lent.add(port)

    def give(self, port: int, now: float) -> None:
        """Return a port that `take` handed out; it rests for `QUARANTINE` seconds."""
        self._lent.discard(port)
        if port in self._own:
            self._resting.append((now + QUARANTINE, port))
