"""What the messages of RFC 4475 and RFC 5118 say, value by value, as the section of each describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sbc.media import sdp
from sbc.sip import Request, Response, Uri, parse, same
from sbc.sip.build import stamp
from sbc.transaction.table import server_key
from sbc.transport.resolver import Resolver

HERE = Path(__file__).parent


def read(name: str) -> Any:
    return parse((HERE / name).read_bytes())


def leads_to(uri: Uri) -> tuple[str, int]:
    """The address that a URI with an address in it is reached at."""
    found: list[Any] = []
    resolved: Deferred[Any] = Resolver(None).resolve(uri)
    resolved.addCallback(found.extend)
    return found[0].host, found[0].port


# RFC 4475


def test_wsinv() -> None:
    request = read("rfc4475/wsinv.dat")
    assert isinstance(request, Request)
    assert request.parsed_uri.params == {b"unknownparam": None}
    assert [(via.transport, via.host, via.branch) for via in request.vias] == [
        (b"UDP", b"192.0.2.2", b"390skdjuw"),
        (b"TCP", b"spindle.example.com", b"z9hG4bK9ikj8"),
        (b"UDP", b"192.168.255.111", b"z9hG4bK30239"),
    ]
    assert (request.cseq.number, request.cseq.method, request.max_forwards) == (9, b"INVITE", 68)
    assert (request.from_tag, request.to_tag, len(request.body)) == (b"98asjd8", b"1918181833n", 150)
    assert request.from_.name == 'J Rosenberg \\"'
    assert request.contacts[0].name == 'Quoted string ""'
    assert request.contacts[0].params == {b"newparam": b"newvalue", b"secondparam": None, b"q": b"0.33"}
    assert request.routes[0].uri.params == {b"lr": None, b"unknownwith": b"value", b"unknown-no-value": None}
    assert request.first(b"subject") == b""
    assert request.first(b"newfangledheader") == b"newfangled value continued newfangled value"


def test_wsinv_leaves_a_proxy_with_the_unknown_header_unchanged() -> None:
    forwarded = read("rfc4475/wsinv.dat").edited({b"via": [b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"], b"route": []})
    assert b"\r\nUnknownHeaderWithUnusualValue: ;;,,;;,;\r\n" in forwarded.render()


def test_intmeth() -> None:
    request = read("rfc4475/intmeth.dat")
    assert request.method == request.cseq.method == b"!interesting-Method0123456789_*+`.%indeed'~"
    assert request.branch == b"z9hG4bK-.!%66*_+`'~"
    assert request.parsed_uri.user == b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert request.parsed_uri.password == b"&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert request.to.display == b'"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f"'
    assert request.from_.display == b"token1~` token2'+_ token3*%!.-"
    assert request.from_.params[b"fromparam''~+*_!.-%"] == '"работающий"'.encode()
    assert request.from_tag == b"_token~1'+`*%!-."
    assert request.call_id == b"intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert request.first(b"extensionheader-!.%*+_`'~") == "\ufeff大停電".encode()
    assert request.max_forwards == 255


def test_esc01() -> None:
    request = read("rfc4475/esc01.dat")
    assert (request.parsed_uri.username, request.parsed_uri.address) == ("sips:user@example.com", "example.net")
    assert (request.to.uri.username, request.from_.uri.username) == ("user", "I have spaces")
    contact = request.contacts[0].uri
    assert contact.loose, "lr, whatever of it is escaped"
    assert same(contact, Uri.parse(b"sip:caller@host5.example.net;lr;name=value%2541")), "undone once"
    assert not same(contact, Uri.parse(b"sip:caller@host5.example.net;lr;name=valueA")), "and not twice"


def test_escnull() -> None:
    request = read("rfc4475/escnull.dat")
    assert request.to.uri.username == request.from_.uri.username == "null-%00-null"
    assert [contact.uri.username for contact in request.contacts] == ["%00", "%00%00"]
    assert not same(*(contact.uri for contact in request.contacts))


def test_esc02() -> None:
    request = read("rfc4475/esc02.dat")
    assert request.method == b"RE%47IST%45R"
    assert (request.to.name, request.from_.name) == ("%Z%45", "%Z%45")
    assert [contact.uri.username for contact in request.contacts] == ["alias1", "alias3"]


def test_lwsdisp() -> None:
    sender = read("rfc4475/lwsdisp.dat").from_
    assert (sender.name, sender.uri.username, sender.tag) == ("caller", "caller", b"323")


def test_longreq() -> None:
    request = read("rfc4475/longreq.dat")
    assert request.to.name == "I have a user name of " + "extreme" * 10 + " proportion"
    assert request.to.uri.params == {
        b"unknownparam1": b"very" + b"long" * 20 + b"value",
        b"longparam" + b"name" * 25: b"shortvalue",
        b"very" + b"long" * 25 + b"parameternamewithnovalue": None,
    }
    assert request.from_tag == b"12" + b"982" * 50 + b"424"
    assert request.from_.params[b"unknownheaderparam" + b"name" * 20] == b"unknowheaderparam" + b"value" * 15
    assert request.from_.params[b"unknownvalueless" + b"paramname" * 10] is None
    assert request.call_id == b"longreq.one" + b"really" * 20 + b"longcallid"
    assert [via.host for via in request.vias[:-1]] == [b"sip%d.example.com" % number for number in range(33, 0, -1)]
    assert request.vias[-1].branch == b"very" + b"long" * 50 + b"branchvalue"
    assert request.contacts[0].uri.user == b"amazinglylongcallername" * 5
    assert len(request.body) == 150


def test_dblreq() -> None:
    request = read("rfc4475/dblreq.dat")
    assert (request.method, request.body) == (b"REGISTER", b"")
    assert b"INVITE" not in request.render()


def test_semiuri() -> None:
    assert read("rfc4475/semiuri.dat").parsed_uri.username == "user;par=u@example.net"


def test_transports() -> None:
    vias = read("rfc4475/transports.dat").vias
    assert [via.transport for via in vias] == [b"UDP", b"SCTP", b"TLS", b"UNKNOWN", b"TCP"]
    assert [via.host for via in vias] == [b"t%d.example.com" % number for number in range(1, 6)]


def test_mpart01() -> None:
    request = read("rfc4475/mpart01.dat")
    assert (len(request.body), request.body.endswith(b"--7a9cbec02ceef655--\r\n")) == (553, True)
    assert b"\0" in request.body


def test_unreason() -> None:
    response = read("rfc4475/unreason.dat")
    assert isinstance(response, Response)
    assert response.status == 200
    assert response.reason.decode() == "= 2**3 * 5**2 но сто девяносто девять - простое"


def test_noreason() -> None:
    response = read("rfc4475/noreason.dat")
    assert (response.status, response.reason) == (100, b"")
    assert response.render().startswith(b"SIP/2.0 100 \r\n")
    without = parse((HERE / "rfc4475/noreason.dat").read_bytes().replace(b"100 \r\n", b"100\r\n"))
    assert without.render().startswith(b"SIP/2.0 100 \r\n"), "liberal in what comes, strict in what goes"


def test_badbranch_names_no_transaction() -> None:
    data = (HERE / "rfc4475/badbranch.dat").read_bytes()
    other = data.replace(b"Call-ID: ", b"Call-ID: another")
    assert parse(data).via.branch == b"z9hG4bK"
    assert server_key(parse(data)) == server_key(parse(data))  # type: ignore[arg-type]
    assert server_key(parse(data)) != server_key(parse(other))  # type: ignore[arg-type]


def test_the_parameter_of_cparam01_is_the_headers_that_of_cparam02_the_uris() -> None:
    [first], [second] = (read(f"rfc4475/cparam0{number}.dat").contacts for number in (1, 2))
    assert (first.params, first.uri.params) == ({b"unknownparam": None}, {})
    assert (second.params, second.uri.params) == ({}, {b"unknownparam": None})


def test_regescrt() -> None:
    [contact] = read("rfc4475/regescrt.dat").contacts
    assert contact.uri.headers == b"Route=%3Csip:sip.example.com%3E"
    assert contact.uri.render() == b"sip:user@example.com?Route=%3Csip:sip.example.com%3E"


def test_inv2543() -> None:
    request = read("rfc4475/inv2543.dat")
    assert (request.branch, request.from_tag, request.max_forwards) == (b"", None, None)
    assert not request.has(b"content-length")
    assert request.body.startswith(b"v=0\r\n")
    assert request.body.endswith(b"m=audio 49217 RTP/AVP 0\r\n"), "all that the datagram has"
    again = read("rfc4475/inv2543.dat")
    assert server_key(request) == server_key(again), "its retransmission is one"


# RFC 5118


def test_references_with_and_without_a_port() -> None:
    for name, host, port in (
        ("ipv6-good", "2001:db8::10", None),
        ("port-ambiguous", "2001:db8::10:5070", None),
        ("port-unambiguous", "2001:db8::10", 5070),
    ):
        request = read(f"rfc5118/{name}")
        assert (request.parsed_uri.address, request.parsed_uri.port) == (host, port), name
        assert request.via.host == b"[2001:db8::9:1]"
        assert request.contacts[0].uri.host == b"[2001:db8::1]"


def test_received_is_read_with_and_without_brackets_and_written_without() -> None:
    for name, received in (("with", b"[2001:db8::9:255]"), ("no", b"2001:db8::9:255")):
        request = read(f"rfc5118/via-received-param-{name}-delim")
        assert request.via.received == received
        assert request.via.host == b"[2001:db8::9:1]"
        stamp(request, b"2001:db8::9:255", 5060)
        assert b";received=2001:db8::9:255" in request.render()
        assert b"received=[" not in request.render()


def places(name: str) -> list[tuple[str, int]]:
    described = sdp.parse(read(name).body)
    found = [described.rtp_place(media) for media in described.media]
    return [(place.host, place.port) for place in found if place is not None]


def test_addresses_in_sdp_have_no_brackets() -> None:
    assert places("rfc5118/ipv6-in-sdp") == [("2001:db8::20", 6000), ("2001:db8::20", 6024)]


def test_each_medium_has_an_address_of_its_own() -> None:
    assert places("rfc5118/mult-ip-in-sdp") == [("192.0.2.1", 22334), ("2001:db8::1", 6024)]


def test_both_families_in_the_vias() -> None:
    request = read("rfc5118/mult-ip-in-header")
    assert [(via.transport, via.host, via.port) for via in request.vias] == [
        (b"UDP", b"[2001:db8::9:1]", 6050),
        (b"UDP", b"192.0.2.1", None),
        (b"TCP", b"[2001:db8::9:255]", None),
    ]
    assert request.vias[2].received == b"192.0.2.200"


def test_ipv4_mapped_addresses_are_those_of_ipv4() -> None:
    request = read("rfc5118/ipv4-mapped-ipv6")
    assert [(via.host, via.port) for via in request.vias] == [
        (b"[::ffff:192.0.2.10]", 19823),
        (b"[::ffff:192.0.2.2]", None),
    ]
    assert leads_to(request.contacts[0].uri) == ("192.0.2.2", 5060)
    [place, _] = places("rfc5118/ipv4-mapped-ipv6")
    assert str(sdp.literal(place[0])) == "192.0.2.2"


@pytest.mark.parametrize("name", ["ipv6-bug-abnf-3-colons", "ipv6-correct-abnf-2-colons"])
def test_a_colon_too_many_is_ignored(name: str) -> None:
    request = read(f"rfc5118/{name}")
    assert leads_to(request.parsed_uri) == ("2001:db8::192.0.2.1", 5060)
