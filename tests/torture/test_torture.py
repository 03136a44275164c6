"""All messages of RFC 4475 and RFC 5118 and what becomes of them at the door."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbc.sip import ParseError, Request, Response, parse
from sbc.sip.build import respond
from sbc.sip.check import check

HERE = Path(__file__).parent

# file -> (status or None for "fit to be routed", our reason, the section and what it demands). "may": the section
# leaves the choice; what is chosen here stands first. What comes behind the door is asked of a running SBC in
# test_running.
OUTCOMES: dict[str, tuple[int | None, str, str]] = {
    # RFC 4475 section 3.1.1: valid
    "rfc4475/wsinv.dat": (None, "", "3.1.1.1 well formed to everybody; a proxy leaves the unknown header unchanged"),
    "rfc4475/intmeth.dat": (None, "", "3.1.1.2 no % is an escape but in the URI; a proxy forwards it or says 404"),
    "rfc4475/esc01.dat": (None, "", "3.1.1.3 %HEX of URIs means the character, undone once; nowhere else"),
    "rfc4475/escnull.dat": (None, "", "3.1.1.4 the name must not end at the zero byte; two different Contacts"),
    "rfc4475/esc02.dat": (None, "", "3.1.1.5 another method than REGISTER, names stay as they are, two Contacts"),
    "rfc4475/lwsdisp.dat": (None, "", "3.1.1.6 no blank between name and <: accepted, against the grammar"),
    "rfc4475/longreq.dat": (None, "", "3.1.1.7 well formed, however long names, values and lists are"),
    "rfc4475/dblreq.dat": (
        None,
        "",
        "3.1.1.8 the REGISTER is handled; what is behind it is ignored, never forwarded",
    ),
    "rfc4475/semiuri.dat": (None, "", "3.1.1.9 the user is all before the @, semicolon and escaped @ included"),
    "rfc4475/transports.dat": (None, "", "3.1.1.10 Vias below the top one mean nothing, whatever their transports"),
    "rfc4475/mpart01.dat": (
        None,
        "",
        "3.1.1.11 framed by Content-Length, zero bytes included",
    ),
    "rfc4475/unreason.dat": (None, "", "3.1.1.12 any UTF-8 in the reason phrase"),
    "rfc4475/noreason.dat": (None, "", "3.1.1.13 no reason phrase; the blank before it is there"),
    # 3.1.2: invalid
    "rfc4475/badinv01.dat": (400, "Empty Parameter", "3.1.2.1 separators with nothing between them: 400"),
    "rfc4475/clerr.dat": (
        400,
        "Body Shorter Than Content-Length",
        "3.1.2.2 400 on UDP; a stream waits, then closes",
    ),
    "rfc4475/ncl.dat": (
        400,
        "Bad Content-Length",
        "3.1.2.3 an error on UDP; a stream is closed, also for no number",
    ),
    "rfc4475/scalar02.dat": (400, "Bad CSeq", "3.1.2.4 400 for CSeq; may: 400 for Max-Forwards and expiry as well"),
    "rfc4475/scalarlg.dat": (400, "Bad CSeq", "3.1.2.5 a response: discarded"),
    "rfc4475/quotbal.dat": (400, "Unbalanced Quotes", "3.1.2.6 400; may: guess where the quotes end"),
    "rfc4475/ltgtruri.dat": (400, "Bad URI", "3.1.2.7 400 is always right; may: ignore them, and not forward them"),
    "rfc4475/lwsruri.dat": (400, "Bad URI", "3.1.2.8 400; may: ignore the blank"),
    "rfc4475/lwsstart.dat": (400, "Bad URI", "3.1.2.9 may: refuse it; ignore the blanks, and not forward them"),
    "rfc4475/trws.dat": (400, "Bad Request Line", "3.1.2.10 may: refuse it; ignore the blanks, and not forward them"),
    "rfc4475/escruri.dat": (400, "Headers In Request-URI", "3.1.2.11 may: 400; ignore them, and never act on them"),
    "rfc4475/baddate.dat": (None, "", "3.1.2.12 not refused by who does not use the date"),
    "rfc4475/regbadct.dat": (400, "Bad Address", "3.1.2.13 400; may: guess the brackets"),
    "rfc4475/badaspec.dat": (400, "Bad URI", "3.1.2.14 400; may: ignore the blanks"),
    "rfc4475/baddn.dat": (
        400,
        "Bad Display Name",
        "3.1.2.15 400; may: guess the quotes, and forward them",
    ),
    "rfc4475/badvers.dat": (505, "Version Not Supported", "3.1.2.16 505"),
    "rfc4475/mismatch01.dat": (400, "CSeq Names Another Method", "3.1.2.17 400"),
    "rfc4475/mismatch02.dat": (501, "CSeq Names Another Method", "3.1.2.18 501, better than 400 above all at a proxy"),
    "rfc4475/bigcode.dat": (400, "Bad Status Line", "3.1.2.19 a response: dropped"),
    # 3.2 transaction layer
    "rfc4475/badbranch.dat": (None, "", "3.2.1 may: matched as in RFC 2543; 400"),
    # 3.3 application layer
    "rfc4475/insuf.dat": (400, "Missing Call-ID", "3.3.1 nothing breaks; at best 400"),
    "rfc4475/unkscm.dat": (416, "Unsupported URI Scheme", "3.3.2 416; To says nothing of where to route"),
    "rfc4475/novelsc.dat": (416, "Unsupported URI Scheme", "3.3.3 416 where the scheme is never taken, else 404"),
    "rfc4475/unksm2.dat": (None, "", "3.3.4 fit for proxies; a registrar wants sip in To: 400"),
    "rfc4475/bext01.dat": (
        None,
        "",
        "3.3.5 420 that lists, as a proxy, Proxy-Require, as an endpoint, Require",
    ),
    "rfc4475/invut.dat": (None, "", "3.3.6 as any other INVITE to a proxy; 415 is the callee's"),
    "rfc4475/regaut01.dat": (
        None,
        "",
        "3.3.7 a proxy forwards the header as it is; a registrar challenges or ignores it",
    ),
    "rfc4475/multi01.dat": (400, "Too Many CSeq", "3.3.8 400"),
    "rfc4475/mcl01.dat": (400, "Several Content-Length", "3.3.9 an error on UDP; a stream is closed"),
    "rfc4475/bcast.dat": (
        None,
        "",
        "3.3.10 well formed; a proxy never sends it to the broadcast address",
    ),
    "rfc4475/zeromf.dat": (None, "", "3.3.11 483 by a proxy; an endpoint answers it as any other"),
    "rfc4475/cparam01.dat": (None, "", "3.3.12 the parameter is the header's and never shows in the bound URI"),
    "rfc4475/cparam02.dat": (None, "", "3.3.13 the parameter is the URI's and shows in the bound URI"),
    "rfc4475/regescrt.dat": (None, "", "3.3.14 the bound URI keeps its escaped Route"),
    "rfc4475/sdp01.dat": (None, "", "3.3.15 406 or 400 are the callee's, who alone knows what it can answer with"),
    # 3.4 backward compatibility
    "rfc4475/inv2543.dat": (None, "", "3.4.1 may: taken without branch, From tag, Content-Length and Max-Forwards"),
    # RFC 5118
    "rfc5118/ipv6-good": (None, "", "4.1 well formed"),
    "rfc5118/ipv6-bad": (400, "Bad Port", "4.2 no brackets: 400"),
    "rfc5118/port-ambiguous": (
        None,
        "",
        "4.3 well formed; 5070, meant for a port, is of the address",
    ),
    "rfc5118/port-unambiguous": (None, "", "4.4 well formed, the port is 5070"),
    "rfc5118/via-received-param-with-delim": (None, "", "4.5 read with brackets, against the grammar"),
    "rfc5118/via-received-param-no-delim": (None, "", "4.5 read without brackets, and written so"),
    "rfc5118/ipv6-in-sdp": (None, "", "4.6 well formed; no brackets in SDP"),
    "rfc5118/mult-ip-in-header": (None, "", "4.7 well formed"),
    "rfc5118/mult-ip-in-sdp": (None, "", "4.8 well formed; each medium has an address of its own"),
    "rfc5118/ipv4-mapped-ipv6": (None, "", "4.9 well formed, in headers and in SDP"),
    "rfc5118/ipv6-bug-abnf-3-colons": (None, "", "4.10 tolerated; the colon too many is ignored"),
    "rfc5118/ipv6-correct-abnf-2-colons": (None, "", "4.10 well formed"),
}


def judged(name: str) -> tuple[int | None, str, Request | Response | None]:
    """Status, reason and, as far as there is one, the message."""
    message: Request | Response | None = None
    try:
        message = parse((HERE / name).read_bytes())
        check(message)
    except ParseError as error:
        return error.status, error.reason.decode(), error.request or message
    return None, "", message


def test_the_table_names_every_file() -> None:
    files = {f"{path.parent.name}/{path.name}" for path in HERE.glob("rfc*/*")}
    assert files == set(OUTCOMES)


@pytest.mark.parametrize("name", sorted(OUTCOMES))
def test_outcome(name: str) -> None:
    status, reason, why = OUTCOMES[name]
    assert judged(name)[:2] == (status, reason), why


@pytest.mark.parametrize("name", sorted(name for name, (status, _, _) in OUTCOMES.items() if status is None))
def test_fit_messages_leave_as_they_came(name: str) -> None:
    data = (HERE / name).read_bytes()
    message = parse(data)
    whole = message.has(b"content-length") and message.body == data.partition(b"\r\n\r\n")[2]
    rendered = message.render()
    if whole:
        assert rendered == data
    again = parse(rendered)
    assert (again.names(), again.body, again.start_line()) == (message.names(), message.body, message.start_line())


@pytest.mark.parametrize("name", sorted(name for name, (status, _, _) in OUTCOMES.items() if status is not None))
def test_every_unfit_request_can_be_answered(name: str) -> None:
    status, _, message = judged(name)
    if not isinstance(message, Request):
        assert name in ("rfc4475/bigcode.dat", "rfc4475/scalarlg.dat")
        return
    assert status is not None
    answer = parse(respond(message, status, to_tag=b"us").render())
    assert isinstance(answer, Response)
    assert answer.status == status
    assert answer.lines(b"via") == message.lines(b"via")
