"""URIs."""

from __future__ import annotations

import pytest

from sbc.sip import ParseError, Uri, same
from sbc.sip.uri import escape_user


@pytest.mark.parametrize(
    "raw",
    [
        b"sip:example.com",
        b"sip:alice@example.com",
        b"sips:alice:secret@example.com:5061;transport=tcp;lr?Subject=hi&To=x%40y",
        b"sip:+49-30;ext=5@example.com;user=phone",
        b"sip:user;par=u%40example.net@example.com",
        b"sip:alice@[2001:db8::1]",
        b"sip:[::ffff:192.0.2.1]:5060;lr",
        b"tel:+49301234;phone-context=example.com",
        b"urn:service:sos",
        b"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
        b"sip:%00@example.com",
        b"sip:a@host_with_underscore",
    ],
)
def test_what_is_parsed_is_rendered_again(raw: bytes) -> None:
    assert bytes(Uri.parse(raw)) == raw


def test_parts() -> None:
    uri = Uri.parse(b"SIPS:alice:pw@Example.COM:5061;Transport=TCP;lr?X=y")
    assert uri == Uri(b"sips", b"alice", b"pw", b"Example.COM", 5061, {b"transport": b"TCP", b"lr": None}, b"X=y")
    assert (uri.secure, uri.is_sip, uri.loose, uri.transport, uri.address) == (True, True, True, b"tcp", "example.com")
    tel = Uri.parse(b"tel:+49;phone-context=x")
    assert (tel.user, tel.host, tel.is_sip, tel.params) == (b"+49", b"", False, {b"phone-context": b"x"})
    assert Uri.parse(b"http://a/b").host == b"//a/b"
    assert Uri.parse(b"sip:[2001:DB8::1]").address == "2001:db8::1"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"sip",
        b"sip:",
        b"sip:@host",
        b"sip:a@",
        b"sip:a@b@c",
        b"sip:a@b:0x1",
        b"sip:a@b:99999",
        b"sip:2001:db8::10",
        b"sip:a@[::1",
        b"sip:a@[]",
        b"sip:a b@c",
        b"sip:a@b; lr",
        b"<sip:a@b>",
        b'sip:"a"@b',
        b"1sip:a@b",
        b":a@b",
        b"sip:a@b;;lr",
        b"sip:a@b\x00",
        b"sip:a@ex%41mple.com",
        b"mailto:",
    ],
)
def test_what_is_no_uri(raw: bytes) -> None:
    with pytest.raises(ParseError):
        Uri.parse(raw)


def test_replace_makes_another() -> None:
    uri = Uri.parse(b"sip:alice@example.com;lr")
    other = uri.replace(host=b"192.0.2.1", port=5070, params={**uri.params, b"x": None})
    assert bytes(uri) == b"sip:alice@example.com;lr"
    assert bytes(other) == b"sip:alice@192.0.2.1:5070;lr;x"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"sip:alice@h", "alice"),
        (b"sip:%61lice@h", "alice"),
        (b"sip:J%C3%BCrgen@h", "Jürgen"),
        (b"sip:a%40b@h", "a@b"),
        (b"sip:h", ""),
        (b"sip:null-%00-null@h", "null-%00-null"),
        (b"sip:50%25@h", "50%25"),
        (b"sip:%ff@h", "%FF"),
        (b"sip:broken%4@h", "broken%254"),
    ],
)
def test_user_names_as_text(raw: bytes, name: str) -> None:
    assert Uri.parse(raw).username == name
    if name:
        assert Uri.parse(b"sip:%b@h" % escape_user(name)).username == name


def test_equality_of_rfc_3261_section_19_1_4() -> None:
    def equal(one: bytes, other: bytes) -> bool:
        forward = same(Uri.parse(one), Uri.parse(other))
        assert forward == same(Uri.parse(other), Uri.parse(one))
        return forward

    assert equal(b"sip:%61lice@atlanta.com;transport=TCP", b"sip:alice@AtLanTa.CoM;Transport=tcp")
    assert equal(b"sip:carol@chicago.com", b"sip:carol@chicago.com;newparam=5")
    assert equal(b"sip:carol@chicago.com;security=on", b"sip:carol@chicago.com;newparam=5")
    assert equal(
        b"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        b"sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    )
    assert equal(
        b"sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        b"sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    )
    assert not equal(b"sip:ALICE@AtLanTa.CoM", b"sip:alice@AtLanTa.CoM")
    assert not equal(b"sip:bob@biloxi.com", b"sip:bob@biloxi.com:5060")
    assert not equal(b"sip:bob@biloxi.com", b"sip:bob@biloxi.com;transport=udp")
    assert not equal(b"sip:bob@biloxi.com:6000", b"sip:bob@biloxi.com")
    assert not equal(b"sip:carol@chicago.com;security=on", b"sip:carol@chicago.com;security=off")
    assert not equal(b"sip:carol@chicago.com", b"sip:carol@chicago.com?Subject=next%20meeting")
    assert not equal(b"sip:bob@phone21.boxesbybob.com", b"sip:bob@192.0.2.4")
    assert not equal(b"sip:bob@h", b"sips:bob@h")
    assert not equal(b"sip:bob@h", b"sip:bob@h;user=phone")


def test_needless_escapes_in_the_names_of_parameters_are_undone() -> None:
    uri = Uri.parse(b"sip:a@b;%6C%72;t%72ansport=t%63p;%3B=1;x%2=2")
    assert uri.params == {b"lr": None, b"transport": b"t%63p", b"%3b": b"1", b"x%2": b"2"}
    assert (uri.loose, uri.transport) == (True, b"tcp")
    assert Uri.parse(uri.render()) == uri
