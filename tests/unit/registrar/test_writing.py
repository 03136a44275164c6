"""A phone's REGISTER as the upper server gets to see it."""

from __future__ import annotations

from sbc.registrar.writing import upward
from sbc.sip.message import parse


def register(*lines):
    more = "".join(f"{line}\r\n" for line in lines)
    return parse(
        "REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.8:5060;branch=z9hG4bK2\r\n"
        "Via: SIP/2.0/UDP 192.0.2.7:5061;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:bob@example.test>;tag=1\r\n"
        f"To: <sip:bob@example.test>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n{more}"
        "Contact: <sip:bob@192.0.2.7:5061>\r\nContent-Length: 0\r\n\r\n".encode()
    )


def seen(request):
    return upward(
        request,
        via=b"SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK9",
        domain=b"example.test",
        ours=frozenset((b"203.0.113.5",)),
        contacts=[b"<sip:opaque@203.0.113.5>"],
        expires=600,
        path=None,
    )


def test_the_way_to_the_phone_is_between_the_phone_and_us():
    up = seen(register("Path: <sip:edge.example.net;lr;ob>", "Require: path"))
    assert not up.has(b"path")
    assert not up.has(b"require"), "what we do for the phone is not asked of the upper server"
    assert len(up.vias) == 1


def test_what_only_the_upper_server_can_do_is_asked_of_it():
    up = seen(register("Require: path, outbound, gruu"))
    assert list(up.each(b"require")) == [b"gruu"]
