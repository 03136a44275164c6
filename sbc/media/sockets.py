"""Opening the relay's sockets: a pair of ports on the address that a party is shown, if it is one of ours."""

from __future__ import annotations

import errno
import resource
import socket

from sbc.media.ports import PortPool
from sbc.media.sdp import literal
from sbc.sip.errors import LocalError, RemoteError

#: Pairs tried before the pool counts as exhausted: other programs may hold ports of the range.
BIND_ATTEMPTS = 16
#: Descriptors left for connections, database and files.
OTHER_FILES = 4096

_WILDCARD = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - the address shown may be a NAT's: then every interface is meant


def allow_files(needed: int) -> bool:
    """Let this process have `needed` descriptors for media besides `OTHER_FILES`, as far as the system permits.

    Returns whether it can have them all; nothing is lowered.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed + OTHER_FILES
    if wanted > soft != resource.RLIM_INFINITY:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft == resource.RLIM_INFINITY or soft >= wanted


class Sockets:
    """Opens pairs of UDP sockets on ports of a pool; `dscp` marks what they send."""

    def __init__(self, pool: PortPool) -> None:
        self._pool = pool
        self.dscp = 0
        self._elsewhere: set[str] = set()

    def pair(self, address: str, now: float) -> tuple[socket.socket, socket.socket]:
        """RTP and RTCP socket, not blocking, for a party that is shown `address`.

        Bound to that address where it is an IP literal and one of this machine's, else to all. Raises `RemoteError` 503
        when ports or descriptors are exhausted; then nothing stays open or taken. Give the port back by `release`.
        """
        for _ in range(BIND_ATTEMPTS):
            port = self._pool.take(now)
            try:
                return self._open_pair(address, port)
            except OSError as problem:
                self._pool.give(port, now)
                if problem.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise RemoteError(503, b"No descriptor free for media") from problem
                if problem.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise LocalError(f"no media socket on {address}: {problem}") from problem
        raise RemoteError(503, b"No media port free")

    def pair_on(self, address: str, port: int, now: float) -> tuple[socket.socket, socket.socket]:
        """The pair on this even port, as after a restart. Raises `RemoteError` 503 when it cannot be had."""
        self._pool.claim(port)
        try:
            return self._open_pair(address, port)
        except OSError as problem:
            self._pool.give(port, now)
            raise RemoteError(503, b"Media port not free") from problem

    def release(self, port: int, now: float) -> None:
        """The pair whose even port this is was closed."""
        self._pool.give(port, now)

    def _open_pair(self, address: str, port: int) -> tuple[socket.socket, socket.socket]:
        rtp = self._open(address, port)
        try:
            return rtp, self._open(address, port + 1)
        except OSError:
            rtp.close()
            raise

    def _open(self, address: str, port: int) -> socket.socket:
        ip = literal(address)
        version = 4 if ip is None else ip.version
        opened = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            if version == 6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, self.dscp << 2)
            else:
                opened.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, self.dscp << 2)
            self._bind(opened, address, _WILDCARD[version], port)
        except OSError:
            opened.close()
            raise
        return opened

    def _bind(self, opened: socket.socket, address: str, wildcard: str, port: int) -> None:
        if literal(address) is not None and address not in self._elsewhere:
            try:
                opened.bind((address, port))
            except OSError as problem:
                if problem.errno != errno.EADDRNOTAVAIL:
                    raise
                self._elsewhere.add(address)
            else:
                return
        opened.bind((wildcard, port))
