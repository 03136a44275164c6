"""A browser without a network: puts a request into the site, gives back what comes out."""

import json
from dataclasses import dataclass

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.server import Site

from sbc.admin.access import Access
from sbc.admin.keys import ApiKey, Keyring, digest, make_key
from sbc.admin.routes import Router
from sbc.admin.server import BoundedRequest, Door, QuietSite
from sbc.admin.shared_key import SharedKey

WRITER = make_key(b"w" * 32)
READER = make_key(b"r" * 32)


@dataclass
class Page:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Browser:
    def __init__(self, routes, now_at=1_700_000_000.0):
        self.clock = Clock()
        keyring = Keyring((ApiKey("ops", digest(WRITER), "write"), ApiKey("eyes", digest(READER), "read")))
        self.access = Access(keyring)
        self.shared = SharedKey()
        door = Door(Router(routes), self.access, self.clock.seconds, lambda: now_at, self.shared)
        self.site: Site = QuietSite(door, requestFactory=BoundedRequest, timeout=60, reactor=self.clock)

    def send(self, data, peer="127.0.0.1"):
        transport = StringTransport(peerAddress=IPv4Address("TCP", peer, 50000))
        channel = self.site.buildProtocol(transport.getPeer())
        channel.makeConnection(transport)
        channel.dataReceived(data)
        return transport, channel

    def ask(self, method, path, *, body=None, key=None, headers=None, peer="127.0.0.1", raw=None):
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        lines = {"Host": "127.0.0.1:8080", "Connection": "close", "Content-Length": str(len(content))}
        if body is not None:
            lines["Content-Type"] = "application/json"
        if key is not None:
            lines["Authorization"] = f"Bearer {key}"
        lines |= headers or {}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        transport, _ = self.send(head.encode() + b"\r\n" + content, peer)
        return read_page(transport.value())

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.ask("POST", path, body=body, **more)


def read_page(data):
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Page(int(first.split()[1]), headers, body)
