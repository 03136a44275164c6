"""The `[[listen]]` and `[transport]` sections."""

import pytest

from sbc.settings import ConfigurationErrors, example, load
from sbc.transport.limits import Limits
from sbc.transport.settings import DEFAULT_LISTENS, ListenSettings, TransportSettings

SECTIONS = (ListenSettings, TransportSettings)


def test_listeners_as_an_operator_writes_them() -> None:
    text = """
[[listen]]
uri = "udp:0.0.0.0:5060"
advertise = "203.0.113.5"
side = "client"

[[listen]]
uri = "wss:[::]:443"
certificate = "sbc.pem"
path = "/sip"
origins = ["https://phone.example.com"]
proxies = ["10.0.0.0/8"]
"""
    udp, wss = load(text, SECTIONS, path="sbc.toml").each(ListenSettings)
    assert (udp.uri, udp.advertise, udp.side) == ("udp:0.0.0.0:5060", "203.0.113.5", "client")
    assert (wss.path, wss.origins, wss.side) == ("/sip", ("https://phone.example.com",), "both")
    assert [str(network) for network in wss.proxies] == ["10.0.0.0/8"]


@pytest.mark.parametrize(
    "lines",
    [
        'uri = "udp:pbx.example.com"',
        'uri = "sctp:0.0.0.0"',
        'uri = "tls:0.0.0.0"',
        'uri = "ws:0.0.0.0"\npath = "sip"',
        'uri = "udp:0.0.0.0"\nproxies = ["10.0.0.0/8"]',
        'uri = "udp:0.0.0.0"\nadvertise = "sip:me@here"',
        'uri = "udp:0.0.0.0"\nadvertise = "here:99999"',
        'uri = "udp:0.0.0.0"\nside = "left"',
        'uri = "udp:0.0.0.0"\n[transport]\nnameservers = ["dns.example.com"]',
    ],
)
def test_mistakes_are_told(lines: str) -> None:
    with pytest.raises(ConfigurationErrors):
        load(f"[[listen]]\n{lines}\n", SECTIONS, path="sbc.toml")


def test_name_servers() -> None:
    text = '[transport]\nnameservers = ["192.0.2.53", "[2001:db8::53]:5353"]'
    settings = load(text, SECTIONS, path="sbc.toml")[TransportSettings]
    assert settings.dns_servers() == [("192.0.2.53", 53), ("2001:db8::53", 5353)]


def test_the_defaults_are_the_limits_defaults() -> None:
    assert load("", SECTIONS, path="sbc.toml")[TransportSettings].limits() == Limits()
    assert [listen.uri for listen in DEFAULT_LISTENS] == ["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]
    assert "first_message" in example(SECTIONS)
