"""Servers that clients choose, and those that they may not."""

from __future__ import annotations

import pytest

from sbc.sip.errors import RemoteError
from sbc.upper.selection import Choice, Selection, named

TAKEN = frozenset((b"pbx.example.com",))


def chosen(listed, *choice):
    return Selection(listed).chosen(Choice(*choice), TAKEN)


def refused(listed, *choice):
    with pytest.raises(RemoteError) as problem:
        chosen(listed, *choice)
    return problem.value.status


def test_any_server_where_nothing_is_listed():
    server = chosen([], "SIP.Example.org:5070")
    assert (server.name, server.domain, server.guarded) == ("sip:sip.example.org:5070", b"sip.example.org", True)
    assert named(server.name, b"") == server, "its name is enough to find it again"
    assert chosen([], "<sip:192.0.2.9;transport=TCP;x=y>").name == "sip:192.0.2.9;transport=tcp"
    assert chosen([], "[2001:db8::1]:5060").uri.host == b"[2001:db8::1]"


def test_only_what_is_listed():
    listed = ["*.example.org", "192.0.2.0/24", "2001:db8::/32"]
    assert chosen(listed, "sip.example.org").domain == b"sip.example.org"
    assert chosen(listed, "192.0.2.9:5080").uri.port == 5080
    assert chosen(listed, "[2001:db8::1]").domain == b"[2001:db8::1]"
    assert refused(listed, "sip.example.net") == 403
    assert refused(listed, "198.51.100.1") == 403
    assert refused(listed, "example.org.evil.example") == 403


def test_nobody_takes_over_the_name_of_another_domain():
    assert refused([], "evil.example", "", "sip.example.org") == 403
    assert refused([], "sip.example.org", "evil.example", "") == 403
    assert refused([], "pbx.example.com", "evil.example") == 403
    assert refused(["*.example.org"], "sip.example.org", "", "pbx.example.com") == 403, "not even who is listed"
    assert chosen(["proxy.example.org"], "sip.example.org", "proxy.example.org").domain == b"sip.example.org"
    assert chosen(["192.0.2.9"], "192.0.2.9", "", "logical.example").domain == b"logical.example"


@pytest.mark.parametrize("text", ["", "a b", "sip:", "host:port", "sip:host:99999"])
def test_what_is_no_address(text):
    assert refused([], text) == 400


def test_a_name_that_is_no_chosen_one():
    for name in ("pbx", "sip:user@host", "https://host"):
        with pytest.raises((ValueError, RemoteError)):
            named(name, b"")


def test_a_list_that_cannot_be_read():
    with pytest.raises(ValueError):
        Selection(["*.*.*.*"])
