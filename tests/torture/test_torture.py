"""All messages of RFC 4475 and RFC 5118 and what becomes of them at the door."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbc.sip import ParseError, Request, Response, parse
from sbc.sip.build import respond
from sbc.sip.check import check

HERE = Path(__file__).parent

# file -> (status or None for "fit to be routed", our reason, what the RFC asks for)
OUTCOMES: dict[str, tuple[int | None, str, str]] = {
    # RFC 4475 section 3.1.1: valid
    "rfc4475/wsinv.dat": (None, "", "3.1.1.1 legal folding, blanks, compact forms, odd case"),
    "rfc4475/intmeth.dat": (None, "", "3.1.1.2 every character a token may have; 501 or 405 is the handler's"),
    "rfc4475/esc01.dat": (None, "", "3.1.1.3 escaped characters stay escaped"),
    "rfc4475/escnull.dat": (None, "", "3.1.1.4 an escaped zero byte is a legal user"),
    "rfc4475/esc02.dat": (None, "", "3.1.1.5 a method is not unescaped: this is no REGISTER"),
    "rfc4475/lwsdisp.dat": (None, "", "3.1.1.6 no blank between display name and <"),
    "rfc4475/longreq.dat": (None, "", "3.1.1.7 long values"),
    "rfc4475/dblreq.dat": (None, "", "3.1.1.8 the rest of the datagram is ignored"),
    "rfc4475/semiuri.dat": (None, "", "3.1.1.9 semicolons in the user part"),
    "rfc4475/transports.dat": (None, "", "3.1.1.10 Vias of all transports, known or not"),
    "rfc4475/mpart01.dat": (None, "", "3.1.1.11 binary parts in the body"),
    "rfc4475/unreason.dat": (None, "", "3.1.1.12 UTF-8 in the reason phrase"),
    "rfc4475/noreason.dat": (None, "", "3.1.1.13 an empty reason phrase"),
    # 3.1.2: invalid
    "rfc4475/badinv01.dat": (400, "Empty Parameter", "3.1.2.1 semicolons and commas too many"),
    "rfc4475/clerr.dat": (400, "Body Shorter Than Content-Length", "3.1.2.2 Content-Length beyond the datagram"),
    "rfc4475/ncl.dat": (400, "Bad Content-Length", "3.1.2.3 negative Content-Length"),
    "rfc4475/scalar02.dat": (400, "Bad CSeq", "3.1.2.4 numbers out of range in a request"),
    "rfc4475/scalarlg.dat": (400, "Bad CSeq", "3.1.2.5 numbers out of range in a response: dropped"),
    "rfc4475/quotbal.dat": (400, "Unbalanced Quotes", "3.1.2.6 quotes not closed"),
    "rfc4475/ltgtruri.dat": (400, "Bad URI", "3.1.2.7 brackets around the Request-URI"),
    "rfc4475/lwsruri.dat": (400, "Bad URI", "3.1.2.8 a blank inside the Request-URI"),
    "rfc4475/lwsstart.dat": (400, "Bad URI", "3.1.2.9 two blanks in the request line"),
    "rfc4475/trws.dat": (400, "Bad Request Line", "3.1.2.10 blanks at the end of the request line"),
    "rfc4475/escruri.dat": (400, "Headers In Request-URI", "3.1.2.11 headers in the Request-URI"),
    "rfc4475/baddate.dat": (None, "", "3.1.2.12 Date not in GMT: a proxy passes it on"),
    "rfc4475/regbadct.dat": (400, "Bad Address", "3.1.2.13 Contact with URI headers and no brackets"),
    "rfc4475/badaspec.dat": (400, "Bad URI", "3.1.2.14 blanks inside the brackets"),
    "rfc4475/baddn.dat": (400, "Bad Display Name", "3.1.2.15 display name that needs quotes: must not be propagated"),
    "rfc4475/badvers.dat": (505, "Version Not Supported", "3.1.2.16 SIP/7.0"),
    "rfc4475/mismatch01.dat": (400, "CSeq Names Another Method", "3.1.2.17 methods disagree"),
    "rfc4475/mismatch02.dat": (
        501,
        "CSeq Names Another Method",
        "3.1.2.18 methods disagree, unknown method: better 501",
    ),
    "rfc4475/bigcode.dat": (400, "Bad Status Line", "3.1.2.19 status of ten digits: dropped"),
    # 3.2 transaction layer
    "rfc4475/badbranch.dat": (None, "", "3.2.1 a branch that is only the cookie: matched as in RFC 2543"),
    # 3.3 application layer
    "rfc4475/insuf.dat": (400, "Missing Call-ID", "3.3.1 mandatory headers missing"),
    "rfc4475/unkscm.dat": (416, "Unsupported URI Scheme", "3.3.2 unknown scheme in the Request-URI"),
    "rfc4475/novelsc.dat": (416, "Unsupported URI Scheme", "3.3.3 known but atypical scheme in the Request-URI"),
    "rfc4475/unksm2.dat": (None, "", "3.3.4 unknown schemes elsewhere: the registrar's matter"),
    "rfc4475/bext01.dat": (None, "", "3.3.5 Proxy-Require: 420 is the proxy's"),
    "rfc4475/invut.dat": (None, "", "3.3.6 unknown content type: 415 is the callee's"),
    "rfc4475/regaut01.dat": (None, "", "3.3.7 unknown authorization scheme: challenged as if there were none"),
    "rfc4475/multi01.dat": (400, "Too Many CSeq", "3.3.8 several values where one may be"),
    "rfc4475/mcl01.dat": (400, "Several Content-Length", "3.3.9 two Content-Lengths"),
    "rfc4475/bcast.dat": (
        None,
        "",
        "3.3.10 second Via names broadcast: a response to nothing of ours, never sent there",
    ),
    "rfc4475/zeromf.dat": (None, "", "3.3.11 Max-Forwards 0: 483 is the proxy's"),
    "rfc4475/cparam01.dat": (None, "", "3.3.12 unknown Contact parameter outside brackets"),
    "rfc4475/cparam02.dat": (None, "", "3.3.13 unknown Contact parameter inside brackets"),
    "rfc4475/regescrt.dat": (None, "", "3.3.14 escaped Route in a Contact, inside brackets"),
    "rfc4475/sdp01.dat": (None, "", "3.3.15 Accept nobody fulfils: 406 is the callee's"),
    # 3.4 backward compatibility
    "rfc4475/inv2543.dat": (None, "", "3.4.1 an INVITE of RFC 2543: no branch, no tag, no Max-Forwards"),
    # RFC 5118
    "rfc5118/ipv6-good": (None, "", "4.1 an IPv6 reference in brackets"),
    "rfc5118/ipv6-bad": (400, "Bad Port", "4.2 an IPv6 address without brackets"),
    "rfc5118/port-ambiguous": (None, "", "4.3 the port became part of the address: still a legal address"),
    "rfc5118/port-unambiguous": (None, "", "4.4 port behind the brackets"),
    "rfc5118/via-received-param-with-delim": (None, "", "4.5 received with brackets"),
    "rfc5118/via-received-param-no-delim": (None, "", "4.5 received without brackets"),
    "rfc5118/ipv6-in-sdp": (None, "", "4.6 IPv6 in SDP"),
    "rfc5118/mult-ip-in-header": (None, "", "4.7 IPv4 and IPv6 in the Vias"),
    "rfc5118/mult-ip-in-sdp": (None, "", "4.8 IPv4 and IPv6 in SDP"),
    "rfc5118/ipv4-mapped-ipv6": (None, "", "4.9 IPv4-mapped addresses"),
    "rfc5118/ipv6-bug-abnf-3-colons": (None, "", "4.10 three colons, as the grammar once said: be liberal"),
    "rfc5118/ipv6-correct-abnf-2-colons": (None, "", "4.10 two colons"),
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


def test_wsinv_reads_as_the_rfc_says() -> None:
    request = parse((HERE / "rfc4475/wsinv.dat").read_bytes())
    assert isinstance(request, Request)
    assert [(via.transport, via.host, via.branch) for via in request.vias] == [
        (b"UDP", b"192.0.2.2", b"390skdjuw"),
        (b"TCP", b"spindle.example.com", b"z9hG4bK9ikj8"),
        (b"UDP", b"192.168.255.111", b"z9hG4bK30239"),
    ]
    assert (request.cseq.number, request.cseq.method, request.max_forwards) == (9, b"INVITE", 68)
    assert (request.from_tag, request.to_tag) == (b"98asjd8", b"1918181833n")
    assert request.from_.name == 'J Rosenberg \\"'
    assert request.contacts[0].params == {b"newparam": b"newvalue", b"secondparam": None, b"q": b"0.33"}
    assert request.first(b"newfangledheader") == b"newfangled value continued newfangled value"


def test_an_escaped_method_is_another_method() -> None:
    request = parse((HERE / "rfc4475/esc02.dat").read_bytes())
    assert isinstance(request, Request)
    assert request.method == b"RE%47IST%45R"


def test_the_user_stays_one_word_whatever_it_escapes() -> None:
    request = parse((HERE / "rfc4475/esc01.dat").read_bytes())
    assert isinstance(request, Request)
    assert (request.parsed_uri.username, request.parsed_uri.address) == ("sips:user@example.com", "example.net")
    assert request.to.uri.username == "user"


def test_an_escaped_zero_byte_is_another_user() -> None:
    request = parse((HERE / "rfc4475/escnull.dat").read_bytes())
    assert request.to.uri.username == "null-%00-null"
    assert len({contact.uri.username for contact in request.contacts}) == 2


def test_received_is_read_with_and_without_brackets() -> None:
    for name, received in (("with", b"[2001:db8::9:255]"), ("no", b"2001:db8::9:255")):
        request = parse((HERE / f"rfc5118/via-received-param-{name}-delim").read_bytes())
        assert request.via.received == received
        assert request.via.host == b"[2001:db8::9:1]"
