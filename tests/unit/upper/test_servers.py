"""Which upper server is which."""

from __future__ import annotations

from ipaddress import ip_network

from sbc.sip.uri import Uri
from sbc.upper.servers import UpperServer, UpperServers


def server(name, uri, domain, priority=0, weight=1, trust=()):
    return UpperServer(name, Uri.parse(uri), domain, priority, weight, tuple(ip_network(each) for each in trust))


PBX = server("pbx", b"sip:192.0.2.10:5070", b"pbx.example.com")
SPARE = server(
    "spare", b"sip:spare.example.net;transport=tcp", b"pbx.example.com", priority=10, trust=("198.51.100.0/24",)
)


def test_a_source_is_known_by_its_address_on_any_port_or_by_a_trusted_range():
    servers = UpperServers([SPARE, PBX])
    assert servers.by_source("192.0.2.10") is PBX
    assert servers.by_source("198.51.100.77") is SPARE
    assert servers.by_source("203.0.113.1") is None
    assert servers.by_source("not an address") is None


def test_addresses_that_a_name_resolves_to_replace_the_old_ones():
    servers = UpperServers([PBX, SPARE])
    servers.located(SPARE, [("203.0.113.5", 5060)])
    assert servers.by_source("203.0.113.5") is SPARE
    servers.located(SPARE, [("203.0.113.6", 5060)])
    assert servers.by_source("203.0.113.5") is None
    assert servers.is_address(SPARE, "203.0.113.6", 5060)
    assert not servers.is_address(SPARE, "203.0.113.6", 5061)


def test_of_servers_of_one_domain_the_preferred_one():
    servers = UpperServers([SPARE, PBX])
    assert servers.by_domain(b"PBX.example.com") is PBX
    assert servers.by_domain(b"spare.example.net") is SPARE
    assert servers.by_domain(b"other.example") is None
    assert servers.preferred() is PBX
    assert servers["spare"].transport == b"TCP"


def test_without_any_server():
    servers = UpperServers([])
    assert servers.preferred() is None
    assert servers.get("pbx") is None


def test_servers_of_one_domain_stand_in_for_each_other_and_share_a_home():
    servers = UpperServers([SPARE, PBX])
    assert servers.fellows(PBX) == (SPARE, PBX)
    assert servers.home(PBX) is SPARE, "the first in the file, whatever the priorities"
    assert servers.of_domain(b"other.example") == ()


def test_other_servers_from_now_on():
    servers = UpperServers([PBX, SPARE])
    servers.located(SPARE, [("203.0.113.5", 5060)])
    moved = server("pbx", b"sip:192.0.2.20", b"pbx.example.com")
    servers.configure([moved, SPARE])
    assert servers.by_source("192.0.2.10") is None
    assert servers.by_source("192.0.2.20") is moved
    assert servers.by_source("203.0.113.5") is SPARE, "what has not changed is still known"
    servers.configure([moved])
    assert servers.by_source("203.0.113.5") is None
    assert servers.get("spare") is None
