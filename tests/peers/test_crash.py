"""The SBC is killed under load, on either engine: whoever was answered 200 is known afterwards."""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from sbc.store.engine import open_engine
from tests.peers.postgres_server import postgres
from tests.peers.program import until

PHONES = "127.0.0.4"
RATE = 250
"""REGISTERs a second."""
_answered = re.compile(rb"^SIP/2.0 200.*?^Call-ID: *r(\d+)@", re.DOTALL | re.MULTILINE | re.IGNORECASE)


class Load:
    """Phones that register with a push token, each once, and again every second while nobody answers."""

    def __init__(self, border) -> None:
        self.border = (border.host, border.port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((PHONES, 0))
        self.socket.setblocking(False)
        self.sent: dict[int, float] = {}
        self.accepted: set[int] = set()

    def run(self, seconds: float) -> None:
        """New phones come all the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._register(len(self.sent))
            self.hear(1 / RATE)
            late = time.monotonic() - 1.0
            for number in [one for one, at in self.sent.items() if at < late and one not in self.accepted][:5]:
                self._register(number)

    def hear(self, seconds: float) -> None:
        """Take what has been answered."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self.socket], [], [], left)[0]:
            found = _answered.search(self.socket.recv(65536))
            if found is not None:
                self.accepted.add(int(found[1]))

    def _register(self, number: int) -> None:
        self.sent[number] = time.monotonic()
        host, port = self.socket.getsockname()
        lines = (
            "REGISTER sip:example.test SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bKr{number}x{time.monotonic_ns()};rport",
            "Max-Forwards: 70",
            f"From: <sip:p{number}@example.test>;tag=t{number}",
            f"To: <sip:p{number}@example.test>",
            f"Call-ID: r{number}@load",
            f"CSeq: {int(time.monotonic() * 10)} REGISTER",
            f"Contact: <sip:p{number}@{host}:{port}>",
            "Expires: 600",
            f"X-MPUSH: p:i:com.example.phone:{number:064x}",
            "Content-Length: 0",
            "",
            "",
        )
        self.socket.sendto("\r\n".join(lines).encode(), self.border)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request) -> Iterator[str]:
    """The database of the SBC; empty: its own. It must outlive the SBC, so tests name it first."""
    if request.param == "sqlite":
        yield ""
        return
    with postgres() as found:
        yield found


def test_killed_under_load_nothing_that_was_answered_is_lost(url, kamailio, sbc, lab):
    upper = kamailio(open_registrar=True)
    sections = {**lab.sections(), "security": {"allow": ["127.0.0.0/8"]}}
    border = sbc(upper, sections={**sections, "database": {"url": url}} if url else sections)
    engine = open_engine(url or f"sqlite:///{border.database}")

    def known() -> set[int]:
        """Who has a device with a token and a registration at the upper server."""
        query = (
            "select u.username from users u join bindings b on b.user_id = u.id"
            " join push_tokens t on t.binding_id = b.id"
            " join upper_registrations r on r.user_id = u.id where r.state = 'registered' and b.push"
        )
        with engine.connect() as connection:
            return {int(name[1:]) for (name,) in connection.execute(text(query))}

    load = Load(border)
    until(lambda: load.run(0.5) or len(load.accepted) > 50, "there is load")
    before = len(load.accepted)
    border.kill()
    load.hear(0.3)  # what was on its way
    answered = set(load.accepted)

    border.start()

    assert answered <= known()
    load.run(2.0)
    until(lambda: load.hear(0.2) or (load.accepted >= answered and len(load.accepted) > before + 50), "it goes on")
    assert load.accepted <= known()
    load.socket.close()
    engine.dispose()
