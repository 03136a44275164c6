"""What the attacks share: an SBC that bans nobody, raw streams, mutations, and what its memory and tables hold."""

from __future__ import annotations

import gc
import os
import random
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from sbc.lab.world import BORDER
from tests.flow.scene import Calls, pause

FULL = os.environ.get("SBC_TESTS") == "full"
TORTURE = Path(__file__).parent.parent / "torture"
ATTACKER = "127.0.0.9"
SECURITY = {"security": "ban = false\nsource_rate = 0"}
"""Nobody is banned nor limited: what is tested is what stands behind the bans."""


PIECES = (
    *(b"\r\n", b"\r", b"\n", b"\0", b'"', b"<", b">", b";", b",", b":", b"%00", b"[", b"]", b" ", b"\xff", b"*"),
    *(b"9" * 40, b"-1", b"sip:", b"SIP/2.0", b"a" * 2_000, b"Via: x\r\n", b"l: 4\r\n", b"%s%n", b"\r\n "),
)
"""What is put into messages: all that means something to a parser."""


def messages() -> dict[str, bytes]:
    """Every message of RFC 4475 and RFC 5118 by its name."""
    return {path.name: path.read_bytes() for path in sorted(TORTURE.glob("rfc*/*"))}


def mutants(seeds: list[bytes], count: int, chance: random.Random) -> Any:
    """So many messages with bytes changed, cut out, repeated and put in, one to eight times each."""
    for _ in range(count):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(data) + 1)
            kind = chance.randrange(4)
            if kind == 0 and at < len(data):
                data[at] = chance.randrange(256)
            elif kind == 1:
                del data[at : at + chance.randint(1, 40)]
            elif kind == 2:
                data[at:at] = data[at : at + chance.randint(1, 200)] * chance.randint(1, 4)
            else:
                data[at:at] = chance.choice(PIECES)
        yield bytes(data)


def resident(pid: int | str = "self") -> int:
    """Bytes of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


class Stream(Protocol):
    """A TCP connection that says any bytes and keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.closed = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.closed = True


class Hostile(Calls):
    """A test with an SBC under attack. What it refused stands in its metrics."""

    timeout = 900 if FULL else 170

    def attacked(self, **more: Any) -> Deferred[Any]:
        return self.begin(**{**SECURITY, **more})

    def refused(self, what: str) -> int:
        """How often something was refused for this reason."""
        return int(self.sbc.metrics.refused.values.get((what,), 0))

    @inlineCallbacks
    def stream(self, host: str = ATTACKER, port: int = 0) -> Any:
        """A connection to the SBC."""
        endpoint = HostnameEndpoint(reactor, BORDER, port or self.world.sip, bindAddress=(host, 0))
        stream = yield connectProtocol(endpoint, Stream())
        self.addCleanup(lambda: stream.transport.abortConnection() or pause(0.01))
        return stream

    def later(self, seconds: float) -> None:
        """Every transaction that began before is over."""
        self.sbc.driver.clock = lambda: time.monotonic() + seconds
        self.sbc.driver.tick()
        self.sbc.driver.tick()

    @inlineCallbacks
    def works(self) -> Any:
        """Afterwards a call goes through, and nothing of ours was found wrong."""
        self.assertEqual(self.refused("bug"), 0)
        phone = yield self.awake()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, len(phone.saw("INVITE"))), (200, 1))

    def request(self, method: str = "OPTIONS", uri: str = "", *lines: str, body: bytes = b"", tail: str = "") -> bytes:
        """A request of the attacker's, well formed but for what `lines` and `tail` put into it."""
        number = random.randrange(1 << 40)
        length = "" if any(line.lower().startswith(("content-length", "l:")) for line in lines) else len(body)
        named = {line.partition(":")[0].strip().lower() for line in lines}
        usual = {
            "via": f"SIP/2.0/UDP {ATTACKER}:9;branch=z9hG4bK{number};rport",
            "from": "<sip:x@example.org>;tag=1",
            "to": f"<{uri or 'sip:' + BORDER}>",
            "call-id": f"{number}@attack",
            "cseq": f"1 {method}",
            "max-forwards": "70",
            **({"content-length": str(length)} if length != "" else {}),
        }
        head = [f"{method} {uri or 'sip:' + BORDER} SIP/2.0"]
        head += [f"{name}: {value}" for name, value in usual.items() if name not in named]
        return "\r\n".join([*head, *lines, "", ""]).encode("latin-1") + body


def settle() -> None:
    """Give back what can be given back."""
    gc.collect()
