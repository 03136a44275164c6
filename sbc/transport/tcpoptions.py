"""Socket options of every stream: no Nagle delay, dead peers noticed by the kernel."""

import socket
from typing import Any

KEEP_ALIVE_IDLE = 60
"""Seconds of silence before the kernel probes; below the idle time of most NATs for TCP."""
KEEP_ALIVE_INTERVAL = 15
"""Seconds between probes."""
KEEP_ALIVE_PROBES = 4
"""Unanswered probes after which the connection is dead."""
USER_TIMEOUT_MS = 30_000
"""Milliseconds that sent bytes may stay unacknowledged: a phone that lost its network is known as gone within the
32 s of a SIP transaction."""


def keep_alive(transport: Any) -> None:
    """Set the options on a TCP transport; in-memory transports, which have no socket, are left alone."""
    if not hasattr(transport, "setTcpNoDelay"):
        return
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    opened: socket.socket | None = getattr(transport, "socket", None)
    if opened is None:
        return
    for name, value in (
        ("TCP_KEEPIDLE", KEEP_ALIVE_IDLE),
        ("TCP_KEEPINTVL", KEEP_ALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEP_ALIVE_PROBES),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            try:
                opened.setsockopt(socket.IPPROTO_TCP, option, value)
            except OSError:
                return  # the peer is gone already; the transport will say so
