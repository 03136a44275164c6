"""What a phone hears of outbound, of the proxies before it and of its GRUUs (RFC 5626, 3327, 5627)."""

from types import SimpleNamespace

import pytest

from sbc.registrar.answers import accepted, gruus, refused
from sbc.registrar.outbound import Outbound, flow_timer, outbound
from sbc.sip.build import respond
from sbc.sip.errors import RemoteError
from sbc.sip.message import parse
from sbc.sip.uri import Uri

CONTACT = b'<sip:bob@192.0.2.7:5061;ob>;+sip.instance="<urn:uuid:1>";reg-id=1'
VIA = "Via: SIP/2.0/TLS 192.0.2.7:5061;branch=z9hG4bK{}"
CORE, EDGE = "<sip:core.example.net;lr>", "<sip:token@edge.example.net;lr;ob>"
PBX = SimpleNamespace(domain=b"pbx.internal", uri=Uri.parse(b"sip:10.0.0.5:5080"))


def register(contact=CONTACT, supported="path, outbound", hops=1, paths=(), to="<sip:bob@example.test>"):
    vias = "\r\n".join(VIA.format(number) for number in range(hops))
    path = "".join(f"Path: {value}\r\n" for value in paths)
    return parse(
        f"REGISTER sip:example.test SIP/2.0\r\n{vias}\r\nMax-Forwards: 70\r\nFrom: <sip:bob@example.test>;tag=1\r\n"
        f"To: {to}\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nSupported: {supported}\r\n{path}"
        f"Contact: {contact.decode()}\r\nContent-Length: 0\r\n\r\n".encode()
    )


def answered(timer=0, **said):
    request = register(**said)
    wish = outbound(request, strict=True)
    return accepted(respond(request, 200), request, CONTACT, (), chained=False, outbound=wish, timer=timer)


def test_a_phone_that_asks_for_outbound_gets_it():
    answer = answered(timer=120)
    assert list(answer.each(b"require")) == [b"outbound"]
    assert answer.first(b"flow-timer") == b"120"


@pytest.mark.parametrize(
    "more",
    [{"supported": "path"}, {"contact": b"<sip:bob@192.0.2.7:5061>"}],
    ids=["not supported", "no flow named"],
)
def test_others_do_not(more):
    answer = answered(timer=120, **more)
    assert not answer.has(b"require")
    assert not answer.has(b"flow-timer")


def test_behind_a_proxy_that_keeps_flows_the_proxy_says_how_often_it_wants_to_hear():
    answer = answered(timer=120, hops=3, paths=(CORE, EDGE))
    assert list(answer.each(b"require")) == [b"outbound"]
    assert not answer.has(b"flow-timer")


@pytest.mark.parametrize("paths", [(), (CORE,), (EDGE, CORE)], ids=["no path", "no ob", "ob of another hop"])
def test_a_first_hop_that_does_not_is_told(paths):
    request = register(hops=2, paths=paths)
    with pytest.raises(RemoteError) as refused:
        outbound(request, strict=True)
    assert refused.value.status == 439
    assert outbound(request, strict=False) is Outbound.NONE


def test_a_path_that_is_no_address_is_refused():
    with pytest.raises(RemoteError) as refused:
        outbound(register(hops=2, paths=("nonsense",)), strict=True)
    assert refused.value.status == 400


def test_the_path_comes_back_to_a_phone_that_understands_it():
    assert answered(hops=2, paths=(CORE, EDGE)).lines(b"path") == [CORE.encode(), EDGE.encode()]
    assert not answered(supported="outbound", hops=2, paths=(CORE, EDGE)).has(b"path")


def test_over_udp_a_flow_is_to_be_kept_open_more_often():
    assert flow_timer(120.0, reliable=True) == 120
    assert flow_timer(120.0, reliable=False) == 25
    assert flow_timer(0.0, reliable=False) == 0


def given(*contacts):
    return respond(register(), 200, headers=[(b"Contact", contact) for contact in contacts])


def test_the_gruus_of_the_phone_itself_come_back_by_the_domain_that_it_knows():
    response = given(
        b'<sip:other@203.0.113.5>;pub-gruu="sip:bob@pbx.internal;gr=urn:uuid:2"',
        b'<sip:opaque@203.0.113.5>;pub-gruu="sip:bob@pbx.internal;gr=urn:uuid:1"'
        b';temp-gruu="sip:tgruu.7hs==@10.0.0.5:5080;gr"',
    )
    request = register(to="<sip:bob@sbc.example.com:5070>")
    assert gruus(response, b"sip:opaque@203.0.113.5", request, PBX) == {
        b"pub-gruu": b'"sip:bob@sbc.example.com:5070;gr=urn:uuid:1"',
        b"temp-gruu": b'"sip:tgruu.7hs==@sbc.example.com:5070;gr"',
    }


def test_a_gruu_of_another_domain_stays():
    response = given(b'<sip:opaque@203.0.113.5>;pub-gruu="sip:bob@example.org;gr=urn:uuid:1"')
    found = gruus(response, b"sip:opaque@203.0.113.5", register(), PBX)
    assert found == {b"pub-gruu": b'"sip:bob@example.org;gr=urn:uuid:1"'}


def test_an_app_that_knows_another_domain_hears_what_its_digest_is_for():
    request = register()
    challenge = respond(request, 401, headers=[(b"WWW-Authenticate", b'Digest realm="pbx", nonce="n"')])
    assert refused(challenge, request, b"pbx.internal").first(b"x-sy.authuri") == b"sip:pbx.internal"
    assert not refused(challenge, request, b"example.test").has(b"x-sy.authuri"), "it knows that itself"
    assert not refused(respond(request, 403), request, b"pbx.internal").has(b"x-sy.authuri")
