"""Which headers cross."""

from __future__ import annotations

from sbc.proxy.header_rules import KEEP_ALL, HeaderRules
from sbc.sip.message import parse

MESSAGE = parse(
    b"MESSAGE sip:b@h SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:a@h>;tag=1\r\nt: <sip:b@h>\r\ni: c\r\n"
    b"CSeq: 1 MESSAGE\r\nX-Secret : 1\r\nUser-Agent: Phone\r\nSubject: hi\r\nl: 0\r\n\r\n"
)


def names(rules):
    return set(MESSAGE.edited(rules.changes(MESSAGE)).names())


def test_everything_crosses_where_nothing_is_said():
    assert names(KEEP_ALL) == set(MESSAGE.names())


def test_what_is_stripped_does_not():
    left = names(HeaderRules(strip=["x-secret", "USER-AGENT"]))
    assert b"x-secret" not in left
    assert b"user-agent" not in left
    assert b"subject" in left


def test_an_allow_list_lets_nothing_else_pass():
    left = names(HeaderRules(allow=["Subject"]))
    assert b"subject" in left
    assert not left & {b"x-secret", b"user-agent"}
    assert {b"via", b"from", b"to", b"call-id", b"cseq"} <= left


def test_a_stripped_header_is_stripped_although_allowed():
    assert b"subject" not in names(HeaderRules(strip=["Subject"], allow=["Subject"]))


def test_what_calls_need_cannot_be_stripped():
    assert names(HeaderRules(strip=["Via", "CSeq"])) == set(MESSAGE.names())
