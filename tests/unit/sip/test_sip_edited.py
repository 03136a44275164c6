"""`Message.edited` is `replace` for many names at once, and leaves the message alone."""

import itertools

import pytest

from sbc.sip.errors import LocalError
from sbc.sip.message import Request, parse

LINES = (
    b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
    b"Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK2",
    b"Record-Route: <sip:a;lr>",
    b"From: <sip:a@b>;tag=1",
    b"To: <sip:c@d>",
    b"Call-ID: x",
    b"record-route: <sip:b;lr>",
    b"CSeq: 1 INVITE",
    b"X-Kept:  as it   came",
    b"Contact: <sip:a@192.0.2.1>",
)


def invite() -> Request:
    message = parse(b"\r\n".join((b"INVITE sip:c@d SIP/2.0", *LINES, b"Content-Length: 2\r\n\r\nhi")))
    assert isinstance(message, Request)
    return message


VALUES = ((), (b"one",), (b"one", b"two"))
NAMES = (b"via", b"record-route", b"route", b"contact", b"x-new")


@pytest.mark.parametrize("values", list(itertools.combinations_with_replacement(VALUES, 2)))
def test_the_same_as_one_replace_after_the_other(values):
    for pair in itertools.permutations(NAMES, 2):
        message, expected = invite(), invite()
        changes = dict(zip(pair, values, strict=True))
        for name, lines in changes.items():
            expected.replace(name, lines)
        assert message.edited(changes).render() == expected.render()


def test_the_message_stays_what_it_was():
    message = invite()
    before = message.render()
    assert (message.from_tag, message.via.branch, message.contacts[0].uri.host) == (b"1", b"z9hG4bK1", b"192.0.2.1")
    twin = message.edited({b"from": (b"<sip:z@y>;tag=9",), b"via": (b"SIP/2.0/UDP h;branch=z9hG4bK9",), b"contact": ()})
    assert (twin.from_tag, twin.via.branch, twin.contacts) == (b"9", b"z9hG4bK9", [])
    assert message.render() == before
    assert (message.from_tag, message.via.branch) == (b"1", b"z9hG4bK1")


def test_what_was_read_before_a_change_is_not_remembered_after_it():
    message = invite()
    assert (message.to_tag, message.first(b"to"), message.max_forwards) == (None, b"<sip:c@d>", None)
    message.set(b"to", b"<sip:c@d>;tag=2")
    message.set(b"max-forwards", b"69")
    assert (message.to_tag, message.first(b"to"), message.max_forwards) == (b"2", b"<sip:c@d>;tag=2", 69)


def test_no_line_end_gets_in():
    with pytest.raises(LocalError):
        invite().edited({b"x-new": (b"a\r\nVia: b",)})
