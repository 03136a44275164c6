"""What each kind takes and what it says to the rest."""

from ipaddress import ip_network
from typing import Any

import pytest

from sbc.settings import (
    Address,
    Duration,
    Either,
    FilePath,
    Flag,
    HostPort,
    Integer,
    Kind,
    List,
    Networks,
    Number,
    PortRange,
    Ports,
    SipUri,
    Text,
    Words,
)

AUTO = Words({"auto": -1, "off": 0, "on": 1})


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (Flag(), "ON", True),
        (Flag(), 0, False),
        (Flag(), True, True),
        (AUTO, "Auto", "auto"),
        (AUTO, -1, "auto"),
        (AUTO, "1", "on"),
        (AUTO, False, "off"),
        (Integer(1, 5), 5, 5),
        (Number(0.0), 1, 1.0),
        (Duration(), 40, 40.0),
        (Duration(default_unit="d"), 2, 172800.0),
        (Duration(), "1.5h", 5400.0),
        (Duration(), "250 ms", 0.25),
        (Duration(), "30d", 2592000.0),
        (Text(), "", ""),
        (FilePath(), "var/sbc.db", "var/sbc.db"),
        (SipUri(), "sip:pbx.example.com;transport=udp", "sip:pbx.example.com;transport=udp"),
        (SipUri(), "pbx.example.com:5070", "sip:pbx.example.com:5070"),
        (SipUri(), "sips:[2001:db8::1]:5061", "sips:[2001:db8::1]:5061"),
        (SipUri(optional=True), "", ""),
        (HostPort(), "127.0.0.1:8080", Address("127.0.0.1", 8080)),
        (HostPort(8080), "::1", None),
        (HostPort(8080), "[::1]", Address("::1", 8080)),
        (HostPort(), "localhost:0", Address("localhost", 0)),
        (PortRange(), "20000-29999", Ports(20000, 29999)),
        (Networks(), ["198.51.100.7/24", "::1"], (ip_network("198.51.100.0/24"), ip_network("::1/128"))),
        (List(Text()), ["a", "b"], ("a", "b")),
        (Either(AUTO, Duration(default_unit="d")), "3d", 259200.0),
        (Either(AUTO, Duration(default_unit="d")), 0, "off"),
        (Either(AUTO, Duration(default_unit="d")), 7, 604800.0),
    ],
)
def test_reads_and_shows_back(kind: Kind[Any], raw: object, value: object) -> None:
    if value is None:
        with pytest.raises(ValueError):
            kind.read(raw)
        return
    assert kind.read(raw) == value
    assert kind.read_text(kind.show(value)) == value
    import tomllib

    assert kind.read(tomllib.loads(f"x = {kind.toml(value)}")["x"]) == value


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Flag(), "yes"),
        (Flag(), 2),
        (Flag(), 1.0),
        (AUTO, 7),
        (AUTO, "maybe"),
        (AUTO, []),
        (Integer(1, 5), 6),
        (Integer(), True),
        (Integer(), "5"),
        (Number(), float("nan")),
        (Number(0, 1), 2),
        (Duration(), "40x"),
        (Duration(), -1),
        (Duration(), True),
        (Duration(), "inf"),
        (Duration(), "nan"),
        (Duration(1, 10), "11s"),
        (Text(required=True), ""),
        (Text(), "a\nb"),
        (Text(maximum=3), "abcd"),
        (SipUri(), ""),
        (SipUri(), "sip:"),
        (SipUri(), "sip:a b"),
        (SipUri(), "sip:host:port"),
        (HostPort(), "localhost"),
        (HostPort(), "300.1.1.1:80"),
        (HostPort(), "127.0.0.1:65536"),
        (HostPort(), "[127.0.0.1]:80"),
        (PortRange(), "2-1"),
        (PortRange(), "0-5"),
        (PortRange(), "1-70000"),
        (PortRange(), "²-³"),
        (Networks(), ["10.0.0.0/33"]),
        (Networks(), "10.0.0.0/8"),
        (List(Text(), maximum=1), ["a", "b"]),
    ],
)
def test_refuses(kind: Kind[Any], raw: object) -> None:
    with pytest.raises(ValueError, match=r"^(must|is longer|has more)"):
        kind.read(raw)


def test_numbers_as_text() -> None:
    assert Integer().read_text(" 5 ") == 5
    assert Number().read_text("0.5") == 0.5
    assert List(Integer()).read_text("1, 2,") == (1, 2)
    with pytest.raises(ValueError):
        Integer().read_text("x")
