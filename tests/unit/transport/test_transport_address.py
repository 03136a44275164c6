"""Addresses in text."""

from ipaddress import ip_network

import pytest

from sbc.transport.address import Address, bracketed, normal_host, parse_listen, source_of, split_host_port, within


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
