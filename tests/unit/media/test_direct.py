"""When `relay = "auto"` leaves media alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sbc.media.direct import Party, direct
from sbc.media.sdp import parse

PHONE = Party("198.51.100.7", "198.51.100.7", "203.0.113.5")
PBX = Party("192.0.2.9", "192.0.2.9", "203.0.113.5", server=True)


def said(host: str, *more: str, port: int = 4000) -> bytes:
    family = "IP6" if ":" in host else "IP4"
    lines = ["v=0", f"o=- 1 1 IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0", f"m=audio {port} RTP/AVP 0"]
    return "\r\n".join([*lines, *more, ""]).encode()


def test_two_who_are_where_they_say() -> None:
    body = said("198.51.100.7")
    # documentation addresses count as internal ones; both are of one kind
    assert direct(parse(body), PHONE, PBX)
    assert direct(parse(said("192.0.2.9")), PBX, PHONE)


@pytest.mark.parametrize(
    ("why", "body", "sender", "receiver"),
    [
        ("its media is elsewhere", said("198.51.100.8"), PHONE, PBX),
        ("its Contact is elsewhere", said("198.51.100.7"), replace(PHONE, stated="10.0.0.7"), PBX),
        ("the receiver's Contact is elsewhere", said("192.0.2.9"), PBX, replace(PHONE, stated="10.0.0.7")),
        ("the receiver's Contact is a name", said("192.0.2.9"), PBX, replace(PHONE, stated="phone.invalid")),
        ("nothing is known of the receiver", said("192.0.2.9"), PBX, replace(PHONE, stated="")),
        ("a browser calls", said("198.51.100.7"), replace(PHONE, web=True), PBX),
        ("a browser is called", said("192.0.2.9"), PBX, replace(PHONE, web=True)),
        ("two networks", said("198.51.100.7"), PHONE, replace(PBX, shown="10.0.0.1")),
        ("ICE", said("198.51.100.7", "a=ice-ufrag:abcd"), PHONE, PBX),
        ("the other family", said("198.51.100.7"), PHONE, replace(PBX, source="2001:db8::9")),
        ("media of the other family", said("2001:db8::9"), PBX, PHONE),
        ("a public server, a private phone", said("8.8.8.8"), Party("8.8.8.8", "8.8.8.8", "x", server=True),
         Party("10.0.0.7", "10.0.0.7", "x")),
        ("a public server with private media", said("10.0.0.9"), Party("8.8.8.8", "8.8.8.8", "x", server=True),
         Party("9.9.9.9", "9.9.9.9", "x")),
        ("a name", said("media.example.com"), replace(PBX), PHONE),
        ("loopback and a network", said("127.0.0.1"), Party("127.0.0.1", "127.0.0.1", "x", server=True),
         Party("10.0.0.7", "10.0.0.7", "x")),
    ],
)  # fmt: skip
def test_everybody_else_is_relayed(why: str, body: bytes, sender: Party, receiver: Party) -> None:
    assert not direct(parse(body), sender, receiver), why


def test_a_server_may_have_its_media_on_another_machine() -> None:
    server, phone = Party("8.8.8.8", "8.8.8.8", "x", server=True), Party("9.9.9.9", "9.9.9.9", "x")
    assert direct(parse(said("8.8.4.4")), server, phone)


def test_held_media_is_nowhere() -> None:
    assert direct(parse(said("0.0.0.0")), PHONE, PBX)
