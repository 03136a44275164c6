"""When `relay = "auto"` leaves media alone."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from sbc.media.direct import Party, direct
from sbc.media.sdp import parse

PHONE = Party("10.0.0.7", "10.0.0.7", "10.0.0.1")
#: It has learnt from our responses where its packets come from, and says so since.
MOVED = replace(PHONE, translated=True)
PBX = Party("10.0.0.9", "10.0.0.9", "10.0.0.1", server=True)


def said(host: str, *more: str, port: int = 4000) -> bytes:
    family = "IP6" if ":" in host else "IP4"
    lines = ["v=0", f"o=- 1 1 IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0", f"m=audio {port} RTP/AVP 0"]
    return "\r\n".join([*lines, *more, ""]).encode()


def at(host: str, *, server: bool = False) -> Party:
    return Party(host, host, "10.0.0.1", server=server)


def test_a_phone_and_a_server_in_one_local_network() -> None:
    assert direct(parse(said("10.0.0.7")), PHONE, PBX)
    six, server = Party("fd00::7", "fd00::7", "x"), Party("fd00::9", "fd00::9", "x", server=True)
    assert direct(parse(said("fd00::7")), six, server)


def test_two_phones_in_one_local_network_whoever_calls() -> None:
    assert direct(parse(said("10.0.0.9")), PBX, PHONE)
    assert direct(parse(said("10.0.0.8")), at("10.0.0.8"), PHONE)
    assert direct(parse(said("10.0.0.8")), PBX, PHONE), "the server passes on what a phone of its network offered"
    assert direct(parse(said("fd00::8")), at("fd00::8"), at("fd00::7"))


EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def test_networks_that_the_operator_knows_to_reach_each_other() -> None:
    ours = (ip_network("10.0.0.0/8"), ip_network("172.16.0.0/12"))
    away = at("172.17.0.2", server=True)
    assert direct(parse(said("10.9.0.7")), at("10.9.0.7"), PBX, ours)
    assert direct(parse(said("10.9.0.7")), at("10.9.0.7"), away, ours)
    assert direct(parse(said("172.17.0.2")), away, at("10.9.0.7"), ours)
    assert not direct(parse(said("10.9.0.7")), at("10.9.0.7"), at("192.168.0.9", server=True), ours)
    assert not direct(parse(said("10.9.0.7")), replace(at("10.9.0.7"), stated="10.9.0.8"), PBX, ours), (
        "NAT all the same"
    )


@pytest.mark.parametrize(
    ("why", "body", "sender", "receiver"),
    [
        ("NAT, by the Contact", said("8.8.8.7"), replace(PHONE, source="8.8.8.7"), PBX),
        ("NAT, by the media", said("10.0.0.8"), PHONE, PBX),
        ("NAT, by the Contact of who is called", said("8.8.8.8"), at("8.8.8.8"), replace(PHONE, source="9.9.9.9")),
        ("NAT, by what was said before", said("8.8.8.8"), replace(at("8.8.8.8"), translated=True), PBX),
        ("the same of who is called", said("8.8.8.8"), PBX, replace(at("8.8.8.8"), translated=True)),
        ("two families", said("8.8.8.8"), at("8.8.8.8"), at("2620:fe::9")),
        ("a browser", said("8.8.8.8"), at("8.8.8.8"), replace(at("9.9.9.9"), web=True)),
    ],
)
def test_even_where_everybody_is_said_to_reach_everybody(why: str, body: bytes, sender: Party, receiver: Party) -> None:
    assert not direct(parse(body), sender, receiver, EVERYWHERE), why


def test_else_there_everybody_is_left_alone() -> None:
    assert direct(parse(said("8.8.8.8")), at("8.8.8.8"), at("9.9.9.9"), EVERYWHERE)
    assert direct(parse(said("8.8.8.8")), at("8.8.8.8"), PBX, EVERYWHERE)


@pytest.mark.parametrize(
    ("why", "body", "sender", "receiver"),
    [
        ("its media is elsewhere", said("10.0.0.8"), PHONE, PBX),
        ("its Contact is elsewhere", said("10.0.0.7"), replace(PHONE, stated="10.0.0.8"), PBX),
        ("its Contact is a name", said("10.0.0.7"), replace(PHONE, stated="phone.invalid"), PBX),
        ("nothing is known of its Contact", said("10.0.0.7"), replace(PHONE, stated=""), PBX),
        ("a phone is called whose Contact is elsewhere", said("10.0.0.9"), PBX, replace(PHONE, stated="192.168.1.7")),
        ("a phone is called that has said before that it is elsewhere", said("10.0.0.9"), PBX, MOVED),
        ("a phone that calls has", said("10.0.0.7"), MOVED, PBX),
        ("a phone is called that is in another network", said("10.0.0.9"), PBX, at("192.168.1.7")),
        ("a phone behind NAT is called that wrote its outer address into its Contact", said("203.0.113.9"),
         at("203.0.113.9", server=True), at("203.0.113.70")),
        ("a phone is called by one behind NAT", said("10.0.0.8"), replace(at("10.0.0.8"), stated="192.168.1.7"), PHONE),
        ("a phone is called for one in another network", said("192.168.1.7"), PBX, PHONE),
        ("a phone may have its public address from STUN", said("8.8.8.7"), at("8.8.8.7"), at("8.8.8.9", server=True)),
        ("as may one of IPv6", said("2620:fe::7"), at("2620:fe::7"), at("2620:fe::9", server=True)),
        ("a phone behind carrier grade NAT", said("100.64.3.7"), at("100.64.3.7"), at("10.0.0.9", server=True)),
        ("two phones behind carrier grade NAT", said("100.64.3.7"), at("100.64.3.7"), at("100.64.3.9")),
        ("a phone on a VPN", said("10.8.0.7"), at("10.8.0.7"), PBX),
        ("a server in a container", said("10.0.0.7"), PHONE, at("172.17.0.2", server=True)),
        ("a browser calls", said("10.0.0.7"), replace(PHONE, web=True), PBX),
        ("two networks", said("10.0.0.7"), PHONE, replace(PBX, shown="192.168.0.1")),
        ("ICE", said("10.0.0.7", "a=ice-ufrag:abcd"), PHONE, PBX),
        ("the other family", said("10.0.0.7"), PHONE, replace(PBX, source="fd00::9")),
        ("media of the other family", said("fd00::7"), PHONE, PBX),
        ("a name", said("media.example.com"), PHONE, PBX),
        ("servers of two networks", said("8.8.8.8"), at("8.8.8.8", server=True), at("9.9.9.9", server=True)),
        ("loopback and a network", said("127.0.0.1"), at("127.0.0.1"), PBX),
    ],
)  # fmt: skip
def test_everybody_else_is_relayed(why: str, body: bytes, sender: Party, receiver: Party) -> None:
    assert not direct(parse(body), sender, receiver), why


def test_a_server_may_have_its_media_on_another_machine() -> None:
    assert direct(parse(said("10.0.0.20")), at("10.0.0.8", server=True), PBX)


def test_held_media_is_nowhere() -> None:
    assert direct(parse(said("0.0.0.0")), PHONE, PBX)
