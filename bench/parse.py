"""CPU microseconds per message of parsing, checking, routing and rendering. `python bench/parse.py [rounds]`.

Median of several repetitions, process CPU time; only ratios within one run mean something on a shared machine.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from samples import INVITE, OK, REGISTER

from sbc.sip import NameAddr, Request, Via, parse
from sbc.sip.build import respond, stamp
from sbc.sip.check import check

REPEATS = 7


def microseconds(work: Callable[[], object], rounds: int) -> float:
    """Median CPU time of one call."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        for _ in range(rounds):
            work()
        times.append((time.process_time() - start) / rounds * 1e6)
    return statistics.median(times)


def keyed(data: bytes) -> object:
    """Parse, and what every message is asked for: top Via, Call-ID, CSeq, both tags."""
    message = parse(data)
    return message.via.branch, message.call_id, message.cseq, message.from_tag, message.to_tag


def routed() -> bytes:
    """Parse an INVITE and forward it: received and rport, Route popped, Max-Forwards, Record-Route, Via, new target."""
    request = parse(INVITE)
    assert isinstance(request, Request)
    _ = request.cseq
    stamp(request, b"203.0.113.9", 5060)
    request.pop_top(b"route")
    request.set(b"max-forwards", b"%d" % ((request.max_forwards or 70) - 1))
    request.uri = b"sip:bob@203.0.113.50:5066;transport=udp"
    request.push(b"record-route", b"<sip:198.51.100.1:5060;lr>")
    request.push(b"via", b"SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bK0-7d1e99-5a")
    return request.render()


def returned() -> bytes:
    """Parse a 200 and forward it: our Via taken off."""
    response = parse(OK)
    _ = response.via.branch, response.cseq
    response.pop_top(b"via")
    return response.render()


def trying() -> bytes:
    """A 100 for an INVITE that is parsed already."""
    return respond(_INVITE, 100).render()


_INVITE = parse(INVITE)
assert isinstance(_INVITE, Request)
_CONTACT = parse(REGISTER).first(b"contact") or b""
_VIA = _INVITE.first(b"via") or b""
_FROM = _INVITE.first(b"from") or b""


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    rows: list[tuple[str, Callable[[], object]]] = [
        ("parse INVITE", lambda: parse(INVITE)),
        ("parse 200", lambda: parse(OK)),
        ("parse REGISTER", lambda: parse(REGISTER)),
        ("parse + key INVITE", lambda: keyed(INVITE)),
        ("parse + key 200", lambda: keyed(OK)),
        ("parse + key REGISTER", lambda: keyed(REGISTER)),
        ("parse + check INVITE", lambda: check(parse(INVITE))),
        ("parse + check REGISTER", lambda: check(parse(REGISTER))),
        ("parse + route + forward INVITE", routed),
        ("parse + forward 200", returned),
        ("100 for an INVITE", trying),
        ("Via.parse", lambda: Via.parse(_VIA)),
        ("NameAddr.parse From", lambda: NameAddr.parse(_FROM)),
        ("NameAddr.parse Contact with push parameters", lambda: NameAddr.parse(_CONTACT)),
    ]
    for name, work in rows:
        work()
        print(f"{microseconds(work, rounds):8.2f} us  {name}")


if __name__ == "__main__":
    main()
