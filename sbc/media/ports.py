"""Ports to lend: pairs of an even port (RTP) and the odd one above it (RTCP), in random order.  [pure]"""

from __future__ import annotations

from collections import deque
from random import Random

from sbc.sip.errors import RemoteError

#: Seconds a port rests after use, so that late packets of one call never reach the next one.
QUARANTINE = 30.0


class PortPool:
    """The even ports of a range of which the odd one above is also in the range.

    Random order (RFC 6056) makes the next port unguessable, the quarantine keeps a stranger's late packets out of a new
    call. A port handed out is either given back or in use: `len(pool)` counts the free ones, resting ones excluded.
    """

    def __init__(self, first: int, last: int, random: Random) -> None:
        self._free = list(range(first + first % 2, last, 2))
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
        return self._free.pop()

    def claim(self, port: int) -> None:
        """Take this port, as after a restart. Raises `RemoteError` 503 when it is not free."""
        try:
            self._free.remove(port)
        except ValueError:
            raise RemoteError(503, b"Media port not free") from None

    def give(self, port: int, now: float) -> None:
        """Return a port that `take` handed out; it rests for `QUARANTINE` seconds."""
        self._resting.append((now + QUARANTINE, port))
