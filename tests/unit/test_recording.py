"""What the push room is told of the configuration."""

from __future__ import annotations

from sbc.recording import own_addresses
from sbc.sections import SECTIONS
from sbc.settings import load

LISTENS = """
[[listen]]
uri = "udp:0.0.0.0:5060"
advertise = "203.0.113.5"
[[listen]]
uri = "tcp:198.51.100.7:5060"
[[listen]]
uri = "tcp:[2001:db8::7]:5061"
advertise = "sbc.example.com:5061"
[[listen]]
uri = "udp:[2001:db8::8]:5060"
"""


def test_no_subscription_may_lead_to_what_peers_are_told_of_us() -> None:
    configuration = load(LISTENS, SECTIONS, path="sbc.toml")
    assert own_addresses(configuration) == {"203.0.113.5", "198.51.100.7", "sbc.example.com", "2001:db8::8"}
