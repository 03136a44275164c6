"""What a phone hears of outbound (RFC 5626 §6)."""

import pytest

from sbc.registrar.answers import accepted
from sbc.sip.build import respond
from sbc.sip.message import parse

CONTACT = b'<sip:bob@192.0.2.7:5061;ob>;+sip.instance="<urn:uuid:1>";reg-id=1'
VIA = "Via: SIP/2.0/TLS 192.0.2.7:5061;branch=z9hG4bK{}"


def answered(contact=CONTACT, supported="path, outbound", hops=1):
    vias = "\r\n".join(VIA.format(number) for number in range(hops))
    request = parse(
        f"REGISTER sip:example.test SIP/2.0\r\n{vias}\r\nMax-Forwards: 70\r\nFrom: <sip:bob@example.test>;tag=1\r\n"
        f"To: <sip:bob@example.test>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nSupported: {supported}\r\n"
        f"Contact: {contact.decode()}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    return accepted(respond(request, 200), request, contact, (), chained=False)


def test_a_phone_that_asks_for_outbound_gets_it():
    assert list(answered().each(b"require")) == [b"outbound"]


@pytest.mark.parametrize(
    "more",
    [{"supported": "path"}, {"contact": b"<sip:bob@192.0.2.7:5061>"}, {"hops": 2}],
    ids=["not supported", "no flow named", "a proxy between"],
)
def test_others_do_not(more):
    assert not answered(**more).has(b"require")
