"""Where clients may make us send to, and how many calls they may leave ringing."""

from ipaddress import ip_network

import pytest

from sbc.security.guard import Guard
from sbc.security.settings import SecuritySettings
from sbc.security.slots import Slots
from sbc.security.targets import Targets
from tests.unit.security.test_security_bans import Notebook


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "10.1.2.3",
        "192.168.1.1",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "8.8.8.1",
        "pbx.example.com",
        "",
    ],
)
def test_inner_and_own_addresses_are_out_of_reach(host: str) -> None:
    assert not Targets((), own=("8.8.8.1",)).allowed(host)


def test_public_and_listed_addresses_can_be_reached() -> None:
    targets = Targets((ip_network("10.1.0.0/16"),), own=("10.1.0.5",))
    assert targets.allowed("8.8.8.8")
    assert targets.allowed("2001:4860:4860::8888")
    assert targets.allowed("10.1.2.3")
    assert not targets.allowed("10.2.2.3")
    assert not targets.allowed("10.1.0.5")


def test_a_source_leaves_only_so_many_calls_ringing() -> None:
    slots = Slots(2)
    assert [slots.take("a"), slots.take("a"), slots.take("a"), slots.take("b")] == [True, True, False, True]
    slots.give_back("a")
    assert slots.take("a")
    for key in ("a", "a", "b"):
        slots.give_back(key)
    assert slots.held("a") == 0
    with pytest.raises(KeyError):
        slots.give_back("a")


def test_scanners_are_known_by_their_user_agent() -> None:
    guard = Guard(SecuritySettings(), Notebook())
    assert guard.scanner(b"friendly-scanner")
    assert guard.scanner(b"SIPVicious OSS v0.3")
    assert not guard.scanner(b"MyPhone/4.2 (iOS)")
    assert not guard.scanner(None)
