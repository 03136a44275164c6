"""What a registrar gives besides time."""

from __future__ import annotations

from sbc.sip.build import make_request, respond
from sbc.upper.given import MAX_GIVEN, Given, given, service_route

CONTACT = b"sip:opaque@203.0.113.5:5060"


def response(*headers):
    request = make_request(
        b"REGISTER",
        b"sip:example.com",
        via=b"SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK1",
        from_=b"<sip:bob@example.com>;tag=1",
        to=b"<sip:bob@example.com>",
        call_id=b"c",
        cseq=1,
    )
    return respond(request, 200, headers=headers)


def test_all_of_it():
    said = response(
        (b"Service-Route", b"<sip:a.example.com;lr>, <sip:b.example.com;lr>"),
        (b"P-Associated-URI", b"<sip:bob@example.com>"),
        (b"P-Associated-URI", b"<tel:+49301>"),
        (b"Contact", b'<sip:other@203.0.113.5>;pub-gruu="sip:other@example.com;gr=1"'),
        (b"Contact", b'<sip:opaque@203.0.113.5>;pub-gruu="sip:bob@example.com;gr=2";expires=60'),
    )
    assert given(said, CONTACT) == Given(
        "<sip:a.example.com;lr>, <sip:b.example.com;lr>",
        "<sip:bob@example.com>, <tel:+49301>",
        ';pub-gruu="sip:bob@example.com;gr=2"',
    )


def test_nothing_of_it():
    assert given(response(), CONTACT) == Given()
    assert given(response((b"Contact", b"<<nonsense")), CONTACT) == Given()


def test_a_service_route_that_cannot_be_read_is_none():
    assert service_route(response((b"Service-Route", b"<sip:a.example.com;lr>, nonsense"))) == ()


def test_what_no_server_means():
    uris = b", ".join(b"<sip:%d@example.com>" % number for number in range(MAX_GIVEN // 10))
    assert given(response((b"P-Associated-URI", uris)), CONTACT).associated == ""
