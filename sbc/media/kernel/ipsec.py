"""Whether this machine encrypts what it sends by IPsec policies: what is forwarded at the ingress passes them by."""

from __future__ import annotations

import errno
import socket
from struct import Struct

from sbc.media.kernel import rtnetlink

_NETLINK_XFRM = 6
_NEW_POLICY, _DELETED_POLICY, _GET_POLICY, _CHANGED_POLICY, _EXPIRED_POLICY, _NO_POLICIES = (
    0x13, 0x14, 0x15, 0x19, 0x1B, 0x1D,
)  # fmt: skip
#: Changes of policies, and ends of those that have a time (XFRMNLGRP_POLICY, XFRMNLGRP_EXPIRE).
_GROUPS = 1 << 3 | 1 << 1
_QUESTION = bytes(64)  # struct xfrm_userpolicy_id: any
_ID_SIZE = len(_QUESTION)
_NUMBER_AND_DIRECTION = Struct("=156xIB")  # of struct xfrm_userpolicy_info; single sockets have other directions
_HARD = 168  # of struct xfrm_user_polexpire
_POLICY = 7  # XFRMA_POLICY
_OUT = 1
_DATAGRAM = 1 << 18


class Policies:
    """The policies for what goes out, as they come and go. To be made while CAP_NET_ADMIN is there: who is let go of it
    later still hears of changes. Raises `OSError`, `TimeoutError` among them."""

    def __init__(self) -> None:
        self._out: set[int] = set()
        self._missed = False
        self._hearing: socket.socket | None = None
        try:
            hearing = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_XFRM)
        except OSError:
            return  # no IPsec in this kernel
        try:
            hearing.bind((0, _GROUPS))
            hearing.settimeout(2.0)
            hearing.send(rtnetlink.ask_all(_GET_POLICY, _QUESTION))
            while self._take(hearing.recv(_DATAGRAM)):
                pass
            hearing.setblocking(False)
        except OSError:
            hearing.close()
            raise
        self._hearing = hearing

    @property
    def encrypt(self) -> bool:
        """Whether there is one; also when there were more changes than could be heard."""
        return self._missed or bool(self._out)

    def fileno(self) -> int:
        """Readable when something changed; -1 when nothing ever does."""
        return -1 if self._hearing is None else self._hearing.fileno()

    def look(self) -> None:
        """Hear what changed."""
        while self._hearing is not None:
            try:
                self._take(self._hearing.recv(_DATAGRAM))
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno != errno.ENOBUFS:
                    raise
                self._missed = True

    def close(self) -> None:
        """Hear no more."""
        if self._hearing is not None:
            self._hearing.close()

    def _take(self, data: bytes) -> bool:
        """Messages that the kernel sent; False after the last one of an answer."""
        for kind, body in rtnetlink.messages(data):
            if kind in (rtnetlink.DONE, rtnetlink.ERROR):
                return False
            self.told(kind, body)
        return True

    def told(self, kind: int, body: bytes) -> None:
        """One message."""
        if kind == _NO_POLICIES:
            self._out.clear()
        elif kind == _DELETED_POLICY:
            whole = rtnetlink.attributes(body[_ID_SIZE:]).get(_POLICY, b"")
            self._out.discard(_number(whole))
        elif kind == _EXPIRED_POLICY and len(body) > _HARD and body[_HARD]:
            self._out.discard(_number(body))
        elif kind in (_NEW_POLICY, _CHANGED_POLICY) and (number := _number(body)):
            self._out.add(number)


def _number(policy: bytes) -> int:
    """What names a policy for what goes out; 0 for any other."""
    if len(policy) < _NUMBER_AND_DIRECTION.size:
        return 0
    number, direction = _NUMBER_AND_DIRECTION.unpack_from(policy)
    return int(number) if direction == _OUT else 0
