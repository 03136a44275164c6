"""What the kernel says of its interfaces and routes, asked and told over rtnetlink sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from sbc.media.kernel import rtnetlink
from sbc.media.kernel.layout import Way
from sbc.media.kernel.rtnetlink import Interface, Route

_DATAGRAM = 1 << 18
#: Ways remembered between two changes of the routes.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Change:
    """What was told since the last look: interfaces that cannot send any more, those that are not there any more, and
    whether ways may lead elsewhere now."""

    down: frozenset[int]
    gone: frozenset[int]
    routes: bool


class Network:
    """The interfaces and routes of this process' network namespace."""

    def __init__(self) -> None:
        self._asking = _open(0)
        self._hearing = _open(rtnetlink.GROUPS)
        self._hearing.setblocking(False)
        self._ways: dict[tuple[str, str], Way | None] = {}
        self.interfaces = {each.index: each for each in self._list()}

    def fileno(self) -> int:
        """Readable when something changed."""
        return self._hearing.fileno()

    def way(self, source: str, destination: str) -> Way | None:
        """How to send from here to there; None when the destination is local or cannot be reached, or the interface is
        no Ethernet or down. Both are address literals of one family."""
        known = source, destination
        if known not in self._ways:
            if len(self._ways) >= _REMEMBERED:
                self._ways.clear()
            self._ways[known] = self._find(source, destination)
        return self._ways[known]

    def look(self) -> Change:
        """What changed. Reads all that is there."""
        down, gone, routes = set[int](), set[int](), False
        for kind, body in self._heard():
            if kind not in (rtnetlink.NEW_LINK, rtnetlink.DELETED_LINK):
                routes = True
                continue
            told = rtnetlink.interface(body)
            if kind == rtnetlink.DELETED_LINK and not told.enslaved:  # a bridge tells so of a port that it lets go
                gone.add(told.index)
                self.interfaces.pop(told.index, None)
            else:
                routes = routes or self.interfaces.get(told.index) != told
                self.interfaces[told.index] = told
            (down.discard if told.running and told.index not in gone else down.add)(told.index)
        if down or routes:
            self._ways.clear()
        return Change(frozenset(down), frozenset(gone), routes)

    def change(self, request: bytes) -> None:
        """Have the kernel do something. Raises `OSError`."""
        self._asking.send(request)
        for kind, body in rtnetlink.messages(self._asking.recv(_DATAGRAM)):
            problem = rtnetlink.failure(body) if kind == rtnetlink.ERROR else 0
            if problem:
                raise OSError(problem, os.strerror(problem))

    def close(self) -> None:
        """No more questions."""
        self._asking.close()
        self._hearing.close()

    def _find(self, source: str, destination: str) -> Way | None:
        found = self._ask(rtnetlink.ask_route(destination, source))
        out = None if found is None else self.interfaces.get(found.ifindex)
        if found is None or out is None or not out.ethernet or not out.running:
            return None
        return Way(out.index, min(found.mtu or out.mtu, out.mtu), found.router or destination)

    def _ask(self, request: bytes) -> Route | None:
        try:
            self._asking.send(request)
            return rtnetlink.route(self._asking.recv(_DATAGRAM))
        except OSError:  # an answer that comes too late must not be taken for the next one
            self._asking.close()
            self._asking = _open(0)
            return None

    def _list(self) -> Iterator[Interface]:
        self._asking.send(rtnetlink.ask_interfaces())
        while True:
            for kind, body in rtnetlink.messages(self._asking.recv(_DATAGRAM)):
                if kind == rtnetlink.NEW_LINK:
                    yield rtnetlink.interface(body)
                elif kind in (rtnetlink.DONE, rtnetlink.ERROR):
                    return

    def _heard(self) -> Iterator[tuple[int, bytes]]:
        while True:
            try:
                data = self._hearing.recv(_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno != errno.ENOBUFS:
                    raise
                yield 0, b""  # more changed than fits: anything may have
                self.interfaces = {each.index: each for each in self._list()}
                continue
            yield from rtnetlink.messages(data)


def _open(groups: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        opened.settimeout(2.0)
        opened.bind((0, groups))
    except OSError:
        opened.close()
        raise
    return opened
