"""Parties that are no phones: one that speaks SIP as a test makes it up, and one that says any bytes."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.protocol import DatagramProtocol

from sbc.lab.loop import close
from sbc.lab.party import Party, new_branch, new_tag, wire_of
from sbc.lab.world import BORDER, PHONE
from sbc.sip import Request, Response, parse
from sbc.sip.build import make_request, respond
from tests.flow.waits import PATIENCE


class Stranger:
    """A SIP party of no particular kind: it asks what a test makes up, and answers 200 to whatever it is asked."""

    def __init__(self, host: str = PHONE, *, udp: bool = True) -> None:
        self.party = Party(reactor, host, self)
        if udp:
            self.party.listen_udp()
        self.arrivals: list[Request] = []
        self.tags: list[bytes] = []

    @inlineCallbacks
    def ask(self, method: str, uri: str, port: int, *headers: tuple[bytes, bytes], to: str = "", **more: Any) -> Any:
        """The final response to a request sent to the SBC. `more`: `max_forwards`, `body`, `transport`, `from_`,
        `call_id`."""
        own = [] if any(name == b"contact" for name, _ in headers) else [(b"contact", b"<sip:stranger@%b>")]
        wire = yield self.party.wire(more.pop("transport", b"UDP"), BORDER, port)
        request = make_request(
            method.encode(),
            uri.encode(),
            via=wire.via(new_branch()),
            from_=more.pop("from_", b"<sip:stranger@example.org>;tag=" + new_tag()),
            to=(to or f"<{uri}>").encode(),
            call_id=more.pop("call_id", new_tag()),
            cseq=1,
            headers=[*((name, value % wire.address) for name, value in own), *headers],
            **more,
        )
        response = yield self.party.ask(request, wire).addTimeout(PATIENCE, reactor)
        return response

    def arrived(self, txn: Any, request: Request) -> None:
        self.arrivals.append(request)
        self.tags.append(new_tag())
        contact = (b"contact", b"<sip:stranger@%b>" % wire_of(txn).address)
        self.party.respond(txn, respond(request, 200, to_tag=self.tags[-1], headers=[contact]))

    def cancelled(self, txn: Any) -> None:
        """Answered already."""

    def acknowledged(self, ack: Request) -> None:
        self.arrivals.append(ack)


class Raw(DatagramProtocol):
    """A UDP socket that says exactly what it is told, and keeps what it hears."""

    noisy = False

    def __init__(self, host: str = PHONE) -> None:
        self.heard: list[Request | Response] = []
        self._port = reactor.listenUDP(0, self, interface=host)
        self.address = (host, self._port.getHost().port)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if datagram.strip():
            self.heard.append(parse(datagram))

    def say(self, data: bytes, port: int) -> None:
        """To the SBC."""
        self._port.write(data, (BORDER, port))

    def statuses(self) -> list[int]:
        """Of the responses heard."""
        return [message.status for message in self.heard if isinstance(message, Response)]

    def close(self) -> Deferred[None]:
        return close(self._port)
