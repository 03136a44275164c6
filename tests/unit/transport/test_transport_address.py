"""Addresses in text."""

from ipaddress import ip_network

import pytest

from sbc.transport.address import (
    Address,
    Advertised,
    advertised,
    bracketed,
    normal_host,
    parse_listen,
    source_of,
    split_host_port,
    within,
)
from sbc.transport.flow import Listener


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("udp:0.0.0.0:5060", Address(b"UDP", "0.0.0.0", 5060)),
        ("tcp:127.0.0.1:0", Address(b"TCP", "127.0.0.1", 0)),
        ("TLS:[::]", Address(b"TLS", "::", 5061)),
        ("ws://192.0.2.1/", Address(b"WS", "192.0.2.1", 80)),
        ("wss:[2001:db8::5]:8443", Address(b"WSS", "2001:db8::5", 8443)),
    ],
)
def test_a_listener_uri_names_transport_address_and_port(text: str, address: Address) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text", ["", "sctp:1.2.3.4", "udp", "udp:pbx.example.com", "udp:1.2.3.4:99999", "tcp:[::1", "udp:1.2.3.4:x"]
)
def test_what_cannot_be_bound_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_listen(text)


def test_hosts_with_and_without_ports() -> None:
    assert split_host_port("sbc.example.com") == ("sbc.example.com", None)
    assert split_host_port("203.0.113.5:5070") == ("203.0.113.5", 5070)
    assert split_host_port("[2001:db8::1]:5070") == ("2001:db8::1", 5070)
    assert split_host_port("2001:db8::1") == ("2001:db8::1", None)


def test_one_peer_has_one_spelling() -> None:
    assert normal_host("::ffff:192.0.2.1") == "192.0.2.1"
    assert normal_host("fe80::1%eth0") == "fe80::1"
    assert normal_host("192.0.2.1") == "192.0.2.1"
    assert bracketed("2001:db8::1") == "[2001:db8::1]"


def test_a_source_is_an_ipv4_address_or_an_ipv6_network_of_a_customer() -> None:
    assert source_of("192.0.2.1") == "192.0.2.1"
    assert source_of("2001:db8:1:2:3::4") == source_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert source_of("2001:db8:1:3::1") != source_of("2001:db8:1:2::1")


def test_networks() -> None:
    networks = (ip_network("198.51.100.0/24"), ip_network("2001:db8::/32"))
    assert within("198.51.100.7", networks)
    assert within("2001:db8::7", networks)
    assert not within("198.51.101.7", networks)
    assert not within("not an address", networks)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", Advertised()),
        ("203.0.113.5", Advertised(four=("203.0.113.5", None))),
        ("[2001:db8::5]:5062", Advertised(six=("2001:db8::5", 5062))),
        ("2001:db8::5,203.0.113.5:5062", Advertised(six=("2001:db8::5", None), four=("203.0.113.5", 5062))),
        ("sbc.example.com:5061", Advertised(name=("sbc.example.com", 5061))),
    ],
)
def test_what_is_advertised_is_told_by_family(text, told):
    assert advertised(text) == told


@pytest.mark.parametrize(
    "text", ["203.0.113.5, 203.0.113.6", "sbc.example.com, 203.0.113.5", "::1, a.example, 1.2.3.4"]
)
def test_no_family_has_two_addresses(text):
    with pytest.raises(ValueError, match="more than one"):
        advertised(text)


def listener(dual, advertise=None, four=None):
    host, port = advertise or (None, None)
    made = Listener(0, b"UDP", "::", 5060, advertise_host=host, advertise_port=port, advertise_four=four)
    made.dual = dual
    made.bound(5060, "2001:db8::1", "192.0.2.1")
    return made


def test_a_listener_of_both_families_has_a_face_for_each():
    both = listener(True)
    assert both.facing("2001:db8::99").uri_host == b"[2001:db8::1]:5060"
    assert both.facing("192.0.2.99").uri_host == b"192.0.2.1:5060"
    assert both.facing("192.0.2.99").whole is both.whole is both
    told = listener(True, ("2001:db8::5", None), ("203.0.113.5", 5070))
    assert [face.uri_host for face in told.faces] == [b"[2001:db8::5]:5060", b"203.0.113.5:5070"]
    alone = listener(False)
    assert alone.facing("192.0.2.99") is alone
    assert alone.faces == (alone,)
