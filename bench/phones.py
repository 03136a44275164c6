"""Phones that sleep, wake and are called, and their callers: many at once, on two UDP sockets of this process.

One round of one user: REGISTER with a push token, INVITE from a caller, after ``hold`` seconds (the time a phone takes
to wake) REGISTER again, and the INVITE must reach the phone, which rings and answers; ACK, BYE. The server under test
hears the same messages whoever it is. Times are ``time.time()``, so that another process can compare its own.
"""

from __future__ import annotations

import heapq
import itertools
import os
import re
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

GIVE_UP = 8.0  # s for one round before it counts as failed
BUFFER = 4 * 1024 * 1024  # bytes of socket buffer, so that the load itself loses nothing
SDP = (
    "v=0\r\no=load 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 16000 RTP/AVP 0 101\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)
_number = re.compile(rb"^Call-ID: *([rc])(\d+)-", re.MULTILINE | re.IGNORECASE)
_sequence = re.compile(rb"^CSeq: *(\d+) +([A-Z]+)", re.MULTILINE | re.IGNORECASE)
_line = re.compile(rb"^(Via|Record-Route|From|To|Call-ID|CSeq|Contact) *: *(.*?)\r?$", re.MULTILINE | re.IGNORECASE)


@dataclass(slots=True)
class Round:
    """The times of one user's round; 0.0 for what did not happen."""

    registered: float = 0.0
    invited: float = 0.0
    waking: float = 0.0  # the second REGISTER left
    awake: float = 0.0  # its 200 came
    rang: float = 0.0  # the INVITE reached the phone
    answered: float = 0.0  # the caller has the 200
    ended: float = 0.0  # the BYE is answered


@dataclass(slots=True)
class Result:
    rounds: dict[int, Round] = field(default_factory=dict)
    wall: float = 0.0

    def done(self) -> list[Round]:
        return [one for one in self.rounds.values() if one.ended]

    def refused(self) -> int:
        return sum(1 for one in self.rounds.values() if not one.ended)


class Phones:
    """``token(n)`` gives user ``n`` its push token; None: users without push."""

    def __init__(
        self,
        server: tuple[str, int],
        domain: str,
        *,
        phone_host: str,
        caller_host: str,
        app: str = "DEF123GHIJ.com.example.phone.voip",
        token: Callable[[int], str] | None = None,
        expires: int = 3600,
    ) -> None:
        self._server, self._domain, self._app, self._token, self._expires = server, domain, app, token, expires
        self._phone, self._caller = _bound(phone_host), _bound(caller_host)
        self._phone_at, self._caller_at = (":".join(map(str, one.getsockname())) for one in (self._phone, self._caller))
        self._run = f"{os.getpid()}{time.time_ns() % 1_000_000}"
        self._branches = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.errors: dict[bytes, int] = {}

    # -- what can be run ----------------------------------------------------------------------------------------

    def wake(self, count: int, rate: float, *, hold: float = 0.2, settle: float = 0.05) -> Result:
        """``count`` rounds, ``rate`` of them begun each second."""
        result = Result({n: Round() for n in range(count)})
        self._result, self._hold, self._settle, self._call = result, hold, settle, True
        self._drive(count, rate, lambda: sum(1 for one in result.rounds.values() if one.ended) >= count)
        return result

    def register(self, count: int, rate: float, first: int = 0) -> Result:
        """Only the first REGISTER of each."""
        result = Result({n: Round() for n in range(first, first + count)})
        self._result, self._call = result, False
        self._drive(count, rate, lambda: False, first)
        return result

    def close(self) -> None:
        self._phone.close()
        self._caller.close()

    # -- inside -------------------------------------------------------------------------------------------------

    def _drive(self, count: int, rate: float, finished: Callable[[], bool], first: int = 0) -> None:
        self._due.clear()
        self._open = count
        started = time.monotonic()
        for n in range(count):
            self._at(started + n / rate, lambda n=first + n: self._register(n, 1))
        end = started + count / rate + GIVE_UP
        poll = select.epoll()
        for one in (self._phone, self._caller):
            poll.register(one.fileno(), select.EPOLLIN)
        while self._open > 0 and (now := time.monotonic()) < end:
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            wait = self._due[0][0] - now if self._due else 0.1
            for handle, _event in poll.poll(max(0.0, min(wait, 0.1))):
                self._drain(self._phone if handle == self._phone.fileno() else self._caller)
        poll.close()
        self._result.wall = time.monotonic() - started

    def _at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._order), what))

    def _drain(self, one: socket.socket) -> None:
        for _ in range(256):
            try:
                data = one.recv(65535)
            except BlockingIOError:
                return
            self._heard(one, data)

    def _heard(self, one: socket.socket, data: bytes) -> None:
        number, sequence = _number.search(data), _sequence.search(data)
        if number is None or sequence is None:
            return
        n, method, step = int(number[2]), sequence[2], int(sequence[1])
        state = self._result.rounds.get(n)
        if state is None:
            return
        if not data.startswith(b"SIP/2.0 "):
            if method == b"INVITE":
                self._ring(data, state)
            elif method == b"BYE":
                self._phone.sendto(_response(data, "200 OK", ""), self._server)
            return
        status = data[8:11]
        if status < b"200":
            return
        if status >= b"300":
            self.errors[status + b" " + method] = self.errors.get(status + b" " + method, 0) + 1
            self._open -= 1
        elif method == b"REGISTER" and step == 1 and not state.registered:
            state.registered = time.time()
            if self._call:
                self._at(time.monotonic() + self._settle, lambda: self._invite(n))
            else:
                state.ended = state.registered
                self._open -= 1
        elif method == b"REGISTER" and step == 2 and not state.awake:
            state.awake = time.time()
        elif method == b"INVITE":
            if not state.answered:
                state.answered = time.time()
                self._talk(n, data)
        elif method == b"BYE" and not state.ended:
            state.ended = time.time()
            self._open -= 1

    def _register(self, n: int, step: int) -> None:
        push = f";pn-provider=apns;pn-param={self._app};pn-prid={self._token(n)}" if self._token else ""
        address = f"sip:u{self._run}x{n}@{self._domain}"
        self._result.rounds[n].waking = time.time()
        self._send(
            self._phone,
            self._phone_at,
            f"REGISTER sip:{self._domain}",
            f"From: <{address}>;tag=r{n}",
            f"To: <{address}>",
            f"Call-ID: r{n}-{self._run}",
            f"CSeq: {step} REGISTER",
            f"Contact: <sip:u{self._run}x{n}@{self._phone_at}{push}>",
            f"Expires: {self._expires}",
            "Supported: path",
        )

    def _invite(self, n: int) -> None:
        self._result.rounds[n].invited = time.time()
        self._send(
            self._caller,
            self._caller_at,
            f"INVITE sip:u{self._run}x{n}@{self._domain}",
            f'From: "Load" <sip:caller@{self._domain}>;tag=c{n}',
            f"To: <sip:u{self._run}x{n}@{self._domain}>",
            f"Call-ID: c{n}-{self._run}",
            "CSeq: 1 INVITE",
            f"Contact: <sip:caller@{self._caller_at}>",
            "Content-Type: application/sdp",
            body=SDP.format(host=self._caller_at.partition(":")[0]),
        )
        self._at(time.monotonic() + self._hold, lambda: self._register(n, 2))

    def _ring(self, data: bytes, state: Round) -> None:
        if state.rang:
            return
        state.rang = time.time()
        contact = f"Contact: <sip:phone@{self._phone_at}>\r\n"
        self._phone.sendto(_response(data, "180 Ringing", contact, tag=True), self._server)
        body = SDP.format(host=self._phone_at.partition(":")[0])
        contact += "Content-Type: application/sdp\r\n"
        self._phone.sendto(_response(data, "200 OK", contact, tag=True, body=body), self._server)

    def _talk(self, n: int, answer: bytes) -> None:
        """ACK and BYE at once, along the route set."""
        fields: dict[bytes, list[bytes]] = {}
        for name, value in _line.findall(answer):
            fields.setdefault(name.lower(), []).append(value)
        target = fields[b"contact"][0].partition(b"<")[2].partition(b">")[0].decode()
        routes = [route.strip() for line in fields.get(b"record-route", []) for route in line.split(b",")]
        for step, method in ((1, "ACK"), (2, "BYE")):
            self._send(
                self._caller,
                self._caller_at,
                f"{method} {target}",
                *(f"Route: {route.decode()}" for route in reversed(routes)),
                f'From: "Load" <sip:caller@{self._domain}>;tag=c{n}',
                f"To: {fields[b'to'][0].decode()}",
                f"Call-ID: c{n}-{self._run}",
                f"CSeq: {step} {method}",
            )

    def _send(self, one: socket.socket, at: str, first: str, *lines: str, body: str = "") -> None:
        branch = f"z9hG4bK{self._run}-{next(self._branches)}"
        head = [f"{first} SIP/2.0", f"Via: SIP/2.0/UDP {at};branch={branch};rport", "Max-Forwards: 70", *lines]
        head += ["User-Agent: Load/1.0", f"Content-Length: {len(body)}", "", body]
        one.sendto("\r\n".join(head).encode(), self._server)


def _bound(host: str) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    one.bind((host, 0))
    one.setblocking(False)
    return one


def _response(request: bytes, status: str, more: str, *, tag: bool = False, body: str = "") -> bytes:
    lines = []
    for name, value in _line.findall(request):
        if name.lower() != b"contact":
            if tag and name.lower() == b"to" and b"tag=" not in value:
                value += b";tag=phone"
            lines.append(name + b": " + value)
    head = f"SIP/2.0 {status}\r\n".encode() + b"\r\n".join(lines)
    return head + f"\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode()
