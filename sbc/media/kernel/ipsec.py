"""Whether this machine encrypts what it sends by IPsec policies: what is forwarded at the ingress passes them by."""

from __future__ import annotations

import socket

from sbc.media.kernel import rtnetlink

_NETLINK_XFRM = 6
_NEW_POLICY, _GET_POLICY = 0x13, 0x15
_QUESTION = bytes(64)  # struct xfrm_userpolicy_id: any
_DIRECTION = 160  # of struct xfrm_userpolicy_info; those of single sockets have other ones
_OUT = 1
_DATAGRAM = 1 << 18


def encrypts() -> bool:
    """Whether there is a policy for what goes out. Needs CAP_NET_ADMIN. Raises `OSError`, `TimeoutError` among them."""
    try:
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_XFRM)
    except OSError:
        return False  # no IPsec in this kernel
    with asking:
        asking.settimeout(2.0)
        asking.send(rtnetlink.ask_all(_GET_POLICY, _QUESTION))
        while True:
            for kind, body in rtnetlink.messages(asking.recv(_DATAGRAM)):
                if kind in (rtnetlink.DONE, rtnetlink.ERROR):
                    return False
                if kind == _NEW_POLICY and len(body) > _DIRECTION and body[_DIRECTION] == _OUT:
                    return True
