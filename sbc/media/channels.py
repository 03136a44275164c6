"""Opens and closes the ports of media lines."""

from __future__ import annotations

from sbc.media.end import End, join
from sbc.media.engine import Side
from sbc.media.forward import Forwarder
from sbc.media.leg import SIDES, Channel
from sbc.media.sockets import Sockets


class Channels:
    """Makes channels: four sockets each, served by `forwarder`."""

    def __init__(self, forwarder: Forwarder, sockets: Sockets) -> None:
        self._forwarder = forwarder
        self._sockets = sockets
        #: How many are open.
        self.count = 0

    def open(
        self,
        addresses: dict[Side, str],
        kind: str,
        carries: tuple[str, str],
        now: float,
        ports: dict[Side, int] | None = None,
    ) -> Channel:
        """On `ports` (even ones), else on any. Raises `RemoteError` 503 when there are none: then nothing is open."""
        channel = Channel(kind, {}, {})
        try:
            for side in SIDES:
                if ports is None:
                    rtp, rtcp = self._sockets.pair(addresses[side], now)
                else:
                    rtp, rtcp = self._sockets.pair_on(addresses[side], ports[side], now)
                channel.rtp[side], channel.rtcp[side] = End(rtp, carries[0]), End(rtcp, carries[1])
        except BaseException:
            for end in channel.rtp.values():
                self._sockets.release(end.port, now)
            for end in channel.ends():
                end.socket.close()
            raise
        self.count += 1
        for ends in (channel.rtp, channel.rtcp):
            join(ends["a"], ends["b"])
            for side in SIDES:
                self._forwarder.add(ends[side], (addresses[side], ends[side].port))
        return channel

    def close(self, channel: Channel, now: float) -> None:
        """Its ports rest, then they can be lent again."""
        self.count -= 1
        for end in channel.rtp.values():
            self._sockets.release(end.port, now)
        for end in channel.ends():
            self._forwarder.remove(end)
