"""Whose request this is and where it may go."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from sbc.proxy.route import ToUpper, ToUser, caller_key, choose, loosen, names_us, to_uppers
from sbc.registrar.flows import Resident
from sbc.sip.errors import RemoteError
from sbc.sip.message import parse
from sbc.sip.uri import Uri
from sbc.upper.servers import UpperServer, UpperServers

PBX = UpperServer("pbx", Uri.parse(b"sip:192.0.2.10:5070"), b"pbx.example.com", 0, 1, (ip_network("198.51.100.0/24"),))
SPARE = UpperServer("spare", Uri.parse(b"sip:192.0.2.11"), b"pbx.example.com", 10, 1, ())
SERVERS = UpperServers([PBX])
OURS = frozenset((b"203.0.113.5",))
ALICE = Resident("alice", "pbx.example.com", "pbx")


def invite(uri, vias=("192.0.2.10",)):
    lines = [
        f"INVITE {uri} SIP/2.0",
        *(f"Via: SIP/2.0/UDP {via};branch=z9hG4bK{at}" for at, via in enumerate(vias)),
        "From: <sip:alice@pbx.example.com>;tag=1",
        "To: <sip:bob@pbx.example.com>",
        "Call-ID: c",
        "CSeq: 1 INVITE",
        "Content-Length: 0\r\n\r\n",
    ]
    return parse("\r\n".join(lines).encode())


def way(request, source=("192.0.2.10", 5070), resident=None):
    return choose(request, source=source, resident=lambda: resident, servers=SERVERS, ours=OURS)


def test_the_upper_server_calls_a_user_by_the_name_it_knows():
    found = way(invite("sip:abcdefghijklmnopqrstuvwx@203.0.113.5"))
    assert isinstance(found, ToUser)
    assert found.token == "abcdefghijklmnopqrstuvwx"
    assert found.fallback is None


def test_a_trunk_calls_a_user_by_its_own_name():
    found = way(invite("sip:bob@pbx.example.com"), source=("198.51.100.9", 40_000))
    assert (found.token, found.username, found.domain) == (None, "bob", "pbx.example.com")


def test_a_phone_calls_through_its_upper_server():
    assert way(invite("sip:bob@pbx.example.com"), ("192.0.2.77", 4000)) == ToUpper(PBX)
    assert way(invite("sip:bob@203.0.113.5"), ("192.0.2.77", 4000)) == ToUpper(PBX)


def test_a_registered_phone_is_a_phone_wherever_it_is():
    assert way(invite("sip:bob@pbx.example.com"), ("192.0.2.10", 9999), ALICE) == ToUpper(PBX)


OTHER = UpperServer("other", Uri.parse(b"sip:192.0.2.20"), b"other.example", 0, 1, ())


@pytest.mark.parametrize(
    ("lookup", "own", "others", "foreign"),
    [
        ("auto", "pbx", "other", "pbx"),
        ("fallback", "pbx", "other", "pbx"),
        ("always", "pbx", "pbx", "pbx"),
        ("no", "pbx", "other", 403),
    ],
)
def test_what_the_server_counts_that_a_phone_is_registered_at(lookup, own, others, foreign):
    """`routing.upper_server_lookup`, for calls to its own domain, another server's, and one that is no server's."""

    def goes(domain, resident=ALICE):
        servers = UpperServers([PBX, OTHER])
        try:
            found = choose(
                invite(f"sip:bob@{domain}"), source=("192.0.2.77", 4000), resident=lambda: resident, servers=servers,
                ours=OURS, lookup=lookup,
            )  # fmt: skip
        except RemoteError as refused:
            return refused.status
        return found.server.name

    assert goes("pbx.example.com") == own
    assert goes("other.example") == others
    assert goes("foreign.example") == foreign
    assert goes("foreign.example", None) == 403, "never for a stranger"


def test_only_a_registered_phone_may_call_elsewhere():
    assert way(invite("sip:bob@other.example"), ("192.0.2.77", 4000), ALICE) == ToUpper(PBX)
    with pytest.raises(RemoteError) as refused:
        way(invite("sip:bob@other.example"), ("192.0.2.77", 4000))
    assert refused.value.status == 403


def test_an_unregistered_phone_on_the_upper_servers_host_is_let_through_unless_it_is_the_server():
    request = invite("sip:9404@pbx.example.com")
    assert way(request, ("192.0.2.10", 9999)).fallback is PBX
    assert way(request, ("192.0.2.10", 5070)).fallback is None, "what came from the server does not go back to it"
    passed = invite("sip:9404@pbx.example.com", ("192.0.2.10", "203.0.113.5"))
    assert way(passed, ("192.0.2.10", 9999)).fallback is None, "nor what we sent to it"


@pytest.mark.parametrize(("uri", "status"), [("tel:+15551234", 416), ("sip:203.0.113.5", 404)])
def test_what_cannot_be_routed(uri, status):
    with pytest.raises(RemoteError) as refused:
        way(invite(uri))
    assert refused.value.status == status


def test_a_request_uri_that_names_us_names_the_servers_domain_upward():
    [candidate] = to_uppers(invite("sip:bob@203.0.113.5:5060"), [PBX, SPARE], "bob", OURS)
    assert [other.target.name for other in candidate.reserve] == [SPARE.name]
    assert candidate.target.uri == b"sip:bob@pbx.example.com"
    [candidate] = to_uppers(invite("sip:bob@pbx.example.com;x=y"), [PBX], "bob", OURS)
    assert candidate.target.uri == b"sip:bob@pbx.example.com;x=y"


def test_who_is_meant():
    assert names_us(invite("sip:203.0.113.5"), OURS)
    assert not names_us(invite("sip:bob@203.0.113.5"), OURS)


def test_the_user_decides_which_of_equal_servers_is_first():
    request = invite("sip:bob@pbx.example.com")
    assert caller_key(request, PBX, None) == "alice@pbx.example.com"
    assert caller_key(request, PBX, Resident("carol", "pbx.example.com", "pbx")) == "carol@pbx.example.com"
    request.set(b"from", b"<sip:198.51.100.1>;tag=1")
    assert caller_key(request, PBX, None) == "c"


@pytest.mark.parametrize(
    ("uri", "routes", "true", "left"),
    [
        ("sip:203.0.113.5:5060;lr", ["<sip:r;lr>, <sip:bob@h;x=1>"], b"sip:bob@h;x=1", [b"<sip:r;lr>"]),
        ("sip:203.0.113.5;lr", ['"B" <sip:bob@h>'], b"sip:bob@h", []),
        ("sip:203.0.113.5;lr", [], b"sip:203.0.113.5;lr", []),
        ("sip:203.0.113.5", ["<sip:bob@h>"], b"sip:203.0.113.5", [b"<sip:bob@h>"]),
        ("sip:tok@203.0.113.5;lr", ["<sip:bob@h>"], b"sip:tok@203.0.113.5;lr", [b"<sip:bob@h>"]),
        ("sip:192.0.2.9;lr", ["<sip:bob@h>"], b"sip:192.0.2.9;lr", [b"<sip:bob@h>"]),
    ],
)
def test_what_a_strict_router_did_is_undone(uri, routes, true, left):
    request = invite(uri)
    for route in routes:
        request.add(b"route", route.encode())
    loosen(request, OURS)
    assert request.uri == true
    assert request.each(b"route") == left
