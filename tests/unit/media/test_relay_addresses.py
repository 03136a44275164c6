"""Where packets may be sent."""

from __future__ import annotations

import pytest

from sbc.media.addresses import canonical, destination
from sbc.media.sdp import Place

PUBLIC = "8.8.8.8"


def sent_to(host: str, port: int = 4000, *, signalled: str = PUBLIC, local: str = "9.9.9.9") -> tuple[str, int] | None:
    return destination(Place(host, port), signalled=signalled, local=local)


def test_a_public_party_is_sent_to_where_it_says() -> None:
    assert sent_to(PUBLIC) == (PUBLIC, 4000)
    assert sent_to("1.1.1.1") == ("1.1.1.1", 4000)
    assert sent_to("::ffff:8.8.8.8") == (PUBLIC, 4000)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "224.0.0.1", "239.1.2.3", "255.255.255.255", "240.0.0.1", "169.254.169.254",
     "::1", "::", "2001:4860::1", "phone.example.com", "", "1.2.3", "10.0.0.5", "192.168.1.5", "172.16.0.1",
     "100.64.0.1",
    ],
)  # fmt: skip
def test_it_is_waited_for_when_it_says_something_else(host: str) -> None:
    assert sent_to(host) is None


@pytest.mark.parametrize("host", ["::1", "::", "ff02::1", "fe80::1", "fd00::1", PUBLIC, "::ffff:127.0.0.1"])
def test_the_same_over_ipv6(host: str) -> None:
    assert sent_to(host, signalled="2001:4860::2", local="2001:4860::9") is None


def test_an_ipv6_party() -> None:
    assert sent_to("2001:4860:0::1", signalled="2001:4860::2", local="2001:4860::9") == ("2001:4860::1", 4000)


def test_inside_one_internal_network() -> None:
    assert sent_to("10.0.0.5", signalled="10.0.0.7", local="10.0.0.1") == ("10.0.0.5", 4000)
    assert sent_to("169.254.1.1", signalled="10.0.0.7", local="10.0.0.1") is None


def test_loopback_only_when_the_relay_or_the_signalling_is_on_it() -> None:
    assert sent_to("127.0.0.3", signalled="127.0.0.3", local="127.0.0.2") == ("127.0.0.3", 4000)
    assert sent_to("127.0.0.3", signalled="127.0.0.3", local="10.0.0.1") == ("127.0.0.3", 4000)
    assert sent_to("127.0.0.3", signalled="10.0.0.3", local="10.0.0.1") is None


@pytest.mark.parametrize("port", [0, 53, 123, 1023, 5060, 5061])
def test_ports_of_services(port: int) -> None:
    assert sent_to(PUBLIC, port) is None


def test_nowhere() -> None:
    assert destination(None, signalled=PUBLIC, local="9.9.9.9") is None


def test_addresses_are_compared_as_the_kernel_spells_them() -> None:
    assert canonical("::ffff:1.2.3.4") == "1.2.3.4"
    assert canonical("2001:DB8:0:0::1") == "2001:db8::1"
    assert canonical("fe80::1%eth0") == "fe80::1"
    assert canonical("name") == "name"
