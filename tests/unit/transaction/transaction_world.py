"""Two hops, a table and a clock: what the transaction tests talk with."""

from __future__ import annotations

from sbc.sip import Message, Request, Response, parse
from sbc.sip.build import make_request, respond
from sbc.transaction import Effect, Send, ServerTransaction, TransactionTable
from sbc.transaction.effects import NewRequest
from sbc.transaction.wheel import TICK


class Wire:
    """A hop."""

    def __init__(self, name: str, *, reliable: bool = False) -> None:
        self.name = name
        self.reliable = reliable

    def __repr__(self) -> str:
        return self.name


def request(method: bytes = b"INVITE", branch: bytes = b"z9hG4bK1", **headers: bytes) -> Request:
    """A request as the table wants it; keyword headers replace its own (`call_id=…`)."""
    made = make_request(
        method,
        b"sip:bob@example.com",
        via=b"SIP/2.0/UDP 192.0.2.1:5060;branch=" + branch,
        from_=b"<sip:ann@example.com>;tag=a",
        to=b"<sip:bob@example.com>",
        call_id=b"call-1",
        cseq=1,
    )
    for name, value in headers.items():
        made.set(name.replace("_", "-").encode(), value)
    return made


class World:
    """A table with a clock. What the table wants sent is in `sent` as `(seconds, hop, first word …)`."""

    def __init__(self, limit: int = 1000) -> None:
        self.table = TransactionTable(limit=limit)
        self.now = 1000.0
        self.started = self.now
        self.udp = Wire("udp")
        self.tcp = Wire("tcp", reliable=True)
        self.sent: list[tuple[float, Wire, Message]] = []

    @property
    def seconds(self) -> float:
        """Since the world began."""
        return round(self.now - self.started, 3)

    def note(self, effects: list[Effect]) -> list[Effect]:
        """Put what is to be sent into `sent`, return the rest."""
        rest = []
        for effect in effects:
            if isinstance(effect, Send):
                assert isinstance(effect.hop, Wire)
                self.sent.append((self.seconds, effect.hop, parse(effect.data)))
            else:
                rest.append(effect)
        return rest

    def receive(self, message: Message, hop: Wire | None = None) -> list[Effect]:
        """The message arrives; it goes over the wire, so nothing is shared with the sender."""
        return self.note(self.table.receive(parse(message.render()), hop or self.udp, self.now))

    def asked(self, message: Request, hop: Wire | None = None) -> ServerTransaction:
        """A new request arrives."""
        (effect,) = self.receive(message, hop)
        assert isinstance(effect, NewRequest)
        return effect.txn

    def answer(self, txn: ServerTransaction, status: int, to_tag: bytes = b"b") -> None:
        """The user answers."""
        assert self.note(self.table.respond(txn, respond(txn.request, status, to_tag=to_tag), self.now)) == []

    def pass_time(self, seconds: float) -> list[Effect]:
        """Let time go by, woken as the table asks for it."""
        end = self.now + seconds
        effects: list[Effect] = []
        while (deadline := self.table.deadline()) is not None and deadline <= end:
            self.now = max(deadline, self.now)
            effects += self.note(self.table.expire(self.now))
        self.now = end
        return effects

    def take_sent(self) -> list[str]:
        """What was sent since the last call: methods and statuses."""
        out = []
        for _, _, message in self.sent:
            assert isinstance(message, Request | Response)
            out.append(message.method.decode() if isinstance(message, Request) else str(message.status))
        self.sent.clear()
        return out

    def take_times(self) -> list[float]:
        """When it was sent, rounded to the tick before: the wheel may be late by one."""
        times = [at for at, _, _ in self.sent]
        self.sent.clear()
        return times


def about(times: list[float], expected: list[float]) -> bool:
    """True when each time is the expected one or late by no more than two ticks."""
    return len(times) == len(expected) and all(
        -1e-6 <= got - want <= 2 * TICK for got, want in zip(times, expected, strict=True)
    )
